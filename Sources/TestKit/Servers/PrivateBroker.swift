internal import Foundation
internal import Glibc

/// A RabbitMQ of somebody's own, on a free port that it keeps over a restart, to be frozen, starved and killed.
package struct PrivateBroker: Sendable {
    /// Holds everything of it.
    package let folder: String
    let checkout: Checkout

    /// - Parameters:
    ///   - folder: absolute; need not exist.
    ///   - checkout: whose secrets and certificates it has, and who notes that it runs.
    package init(folder: String, checkout: Checkout) {
        self.folder = folder
        self.checkout = checkout
    }

    var record: ProcessRecord { ProcessRecord(folder + "/broker.pid") }
    /// Erlang's, which the broker would start itself, and leave behind.
    var portMapper: ProcessRecord { ProcessRecord(folder + "/epmd.pid") }
    /// Its data, configuration and log, and the home of its user.
    var home: String { folder + "/broker" }

    /// Runs `body` with a broker that has just been started, and takes it away.
    package static func with<Value>(_ body: (PrivateBroker) async throws -> Value) async throws -> Value {
        let folder = temporaryFolder("broker")
        let broker = PrivateBroker(folder: folder, checkout: try Checkout.underTest())
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

    // MARK: Starting and ending

    /// Starts it, and writes `env` in its folder; one that runs already is waited for.
    package func start() async throws {
        try await launch()
        try ServerFolder(folder, checkout).writeEnvironment()
    }

    package func stop() async throws {
        try await shielded {
            try await record.end(SIGTERM, within: .seconds(60))
            try await portMapper.end(SIGTERM, within: .seconds(5))
            checkout.forget(.broker, folder)
        }
    }

    package func restart() async throws {
        try await stop()
        try await start()
    }

    /// SIGKILL.
    package func kill() async throws {
        guard record.isAlive else { throw KitError("no broker is running in \(folder)") }
        try await record.kill()
    }

    /// Stops it, frozen or not, and removes what it wrote.
    package func remove() async throws {
        try await shielded {
            // Nothing of it is to be kept: it need not end in order.
            try await record.end(SIGKILL, within: .seconds(10))
            try await stop()
            PortLeases.release(of: folder)
            removeFiles(home, folder + "/rabbitmqctl", folder + "/erl_call", folder + "/env")
        }
    }

    /// To the broker itself.
    package func signal(_ signal: Int32) throws(KitError) {
        guard let pid = record.pid, Glibc.kill(pid, signal) == 0 else {
            throw KitError("no broker is running in \(folder)")
        }
    }

    /// Of its virtual host `/`.
    package var url: String {
        get throws { try url(virtualHost: "%2f") }
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
