import Foundation
import TestKit
import Testing

/// A broker of the test's own, to be frozen, starved and killed.
struct PrivateBroker: Sendable {
    let directory: String
    private let dev: String

    static func with(_ body: (PrivateBroker) async throws -> Void) async throws {
        let directory = FileManager.default.temporaryDirectory.resolvingSymlinksInPath()
            .appendingPathComponent(freshName("broker")).path
        let broker = PrivateBroker(directory: directory, dev: try environment("TRUNKLINE_TEST_DEV"))
        let failure: (any Error)?
        do {
            try await broker.start()
            try await body(broker)
            failure = nil
        } catch {
            failure = error
        }
        // A frozen broker does not end.
        try? broker.signal(SIGCONT)
        try await run(broker.dev, ["broker", "remove", directory])
        try? FileManager.default.removeItem(atPath: directory)
        if let failure { throw failure }
    }

    func start() async throws { try await run(dev, ["broker", "start", directory]) }
    func kill() async throws { try await run(dev, ["broker", "kill", directory]) }

    /// Waits until the names of the quorum queues are on disk.
    func namesAreOnDisk() async throws {
        try await eventually("the queues' names on disk") {
            hasWrittenQueueNames(brokerData: directory + "/broker/data")
        }
    }

    func url(port: UInt16? = nil) throws -> String {
        try brokerURL(port: try port ?? self.port())
    }

    func port() throws -> UInt16 {
        let text = try String(contentsOfFile: directory + "/amqp.port", encoding: .utf8)
        return try #require(UInt16(text.trimmingCharacters(in: .whitespacesAndNewlines)))
    }

    func signal(_ signal: Int32) throws {
        let record = try String(contentsOfFile: directory + "/broker.pid", encoding: .utf8)
        let pid = try #require(record.split(separator: " ").first.flatMap { pid_t($0) })
        try #require(Foundation.kill(pid, signal) == 0)
    }

    func control(_ arguments: String...) async throws { try await run(directory + "/rabbitmqctl", arguments) }
}
