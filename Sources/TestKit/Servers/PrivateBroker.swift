internal import Foundation
internal import Glibc

/// A RabbitMQ of somebody's own, on a free port that it keeps over a restart, to be frozen, starved and killed.
package struct PrivateBroker: Sendable {
    /// Holds everything of it.
    package let folder: String
    private let dev: String

    /// - Parameters:
    ///   - folder: absolute; need not exist.
    ///   - dev: the script of the checkout.
    package init(folder: String, dev: String) {
        self.folder = folder
        self.dev = dev
    }

    /// Runs `body` with a broker that has just been started, and takes it away.
    package static func with<Value>(_ body: (PrivateBroker) async throws -> Value) async throws -> Value {
        let folder = temporaryFolder("broker")
        let broker = PrivateBroker(folder: folder, dev: try TestEnvironment.dev())
        let result: Result<Value, any Error>
        do {
            try await broker.start()
            result = .success(try await body(broker))
        } catch {
            result = .failure(error)
        }
        try await broker.remove()
        try? FileManager.default.removeItem(atPath: folder)
        return try result.get()
    }

    package func start() async throws { try await run("start") }
    package func stop() async throws { try await run("stop") }
    package func restart() async throws { try await run("restart") }
    /// SIGKILL.
    package func kill() async throws { try await run("kill") }
    /// Stops it, frozen or not, and removes what it wrote.
    package func remove() async throws { try await run("remove") }

    private func run(_ action: String) async throws { try await runDev(dev, ["broker", action, folder]) }

    /// To the broker itself.
    package func signal(_ signal: Int32) throws(KitError) {
        guard let pid = text(of: folder + "/broker.pid").split(separator: " ").first.flatMap({ pid_t($0) }),
            Glibc.kill(pid, signal) == 0
        else { throw KitError("no broker is running in \(folder)") }
    }

    /// Of its virtual host `/`.
    package var url: String {
        get throws(KitError) { try variable("TRUNKLINE_INSTANCE_AMQP_URL", inFile: folder + "/env") }
    }

    package var control: BrokerControl { BrokerControl(folder: folder) }

    /// Whether it has written the names of its quorum queues.
    ///
    /// RabbitMQ keeps them in a table that it writes half a second to a second after the last change, unlike the messages. A
    /// queue that was declared right before a SIGKILL comes back as another, empty one without a leader.
    package var hasWrittenQueueNames: Bool {
        let data = folder + "/broker/data"
        let all = FileManager.default.enumerator(atPath: data)?.compactMap { $0 as? String } ?? []
        // Beside them 4.x keeps a group of its own for coordination, in another folder.
        let quorum = all.filter { $0.contains("/quorum/") }
        let tables = quorum.filter { $0.hasSuffix("/names.dets") }
            .compactMap { FileManager.default.contents(atPath: data + "/" + $0) }
        let queues = quorum.filter { $0.hasSuffix("/config") }.compactMap { $0.split(separator: "/").dropLast().last }
        return !queues.isEmpty
            && queues.allSatisfy { queue in tables.contains { $0.range(of: Data(queue.utf8)) != nil } }
    }

    /// Waits until a SIGKILL would lose no queue.
    package func waitUntilQueueNamesAreWritten() async throws {
        try await eventually("the queues' names on disk", every: .milliseconds(50)) { hasWrittenQueueNames }
    }
}

/// A path for a folder of a test; nothing is there yet.
package func temporaryFolder(_ purpose: String) -> String {
    FileManager.default.temporaryDirectory.resolvingSymlinksInPath().path + "/" + freshName(purpose)
}

/// In a task of its own: servers must be removed even when whoever wanted them was cancelled.
func runDev(_ dev: String, _ arguments: [String]) async throws {
    _ = try await Task {
        try await Command.run(dev, arguments).requireSuccess("./dev \(arguments.prefix(2).joined(separator: " "))")
    }.value
}
