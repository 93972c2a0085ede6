public import Foundation
internal import PostgresDriver
internal import TestKit

/// A broker and a database of a test's own, by `./dev broker` and `./dev database`, to be killed and started again.
public struct PrivateServers: Sendable {
    /// Holds both.
    public let folder: URL
    private let dev: String
    public let databaseURL: String
    /// Of the standby, when it was asked for one.
    public let standbyURL: String?
    public let amqpURL: String
    public let rabbitControl: String

    /// Starts both on free ports; they keep their ports over a restart. With `standby` another database streams from the
    /// first, asynchronously.
    public static func start(standby: Bool = false) async throws -> PrivateServers {
        let dev = try TestInstall.environment("TRUNKLINE_TEST_DEV")
        let folder = FileManager.default.temporaryDirectory.resolvingSymlinksInPath()
            .appendingPathComponent("trunkline-servers-\(UInt64.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let broker = folder.appendingPathComponent("broker").path
        let database = folder.appendingPathComponent("database").path
        try await TestInstall.run(dev, ["broker", "start", broker]).requireSuccess()
        try await TestInstall.run(dev, ["database", "start", database]).requireSuccess()
        let copy = folder.appendingPathComponent("standby").path
        if standby { try await TestInstall.run(dev, ["database", "standby", copy, database]).requireSuccess() }
        return PrivateServers(
            folder: folder,
            dev: dev,
            databaseURL: try variable("TRUNKLINE_INSTANCE_DATABASE_URL", database),
            standbyURL: standby ? try variable("TRUNKLINE_INSTANCE_DATABASE_URL", copy) : nil,
            amqpURL: try variable("TRUNKLINE_INSTANCE_AMQP_URL", broker),
            rabbitControl: try variable("TRUNKLINE_INSTANCE_RABBITMQCTL", broker)
        )
    }

    private static func variable(_ name: String, _ folder: String) throws -> String {
        let text = try String(contentsOfFile: folder + "/env", encoding: .utf8)
        let prefix = "export \(name)="
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(prefix) }) else {
            throw TestInstall.Failure("\(name) is not in \(folder)/env")
        }
        return line.dropFirst(prefix.count).trimmingCharacters(in: CharacterSet(charactersIn: "'\""))
    }

    /// `./dev broker COMMAND`: start, stop, restart, kill.
    public func broker(_ command: String) async throws {
        try await TestInstall.run(dev, ["broker", command, folder.appendingPathComponent("broker").path])
            .requireSuccess()
    }

    /// `./dev database COMMAND`: start, stop, restart, crash.
    public func database(_ command: String) async throws {
        try await TestInstall.run(dev, ["database", command, folder.appendingPathComponent("database").path])
            .requireSuccess()
    }

    /// The URL of a database on whichever of the servers is the primary.
    public func url(ofDatabase name: String) -> String {
        func authority(_ url: String) -> Substring {
            let rest = url[url.range(of: "://")!.upperBound...]
            return rest[..<(rest.firstIndex(of: "/") ?? rest.endIndex)]
        }
        guard let standbyURL else { return "postgresql://\(authority(databaseURL))/\(name)" }
        let second = authority(standbyURL).split(separator: "@").last ?? ""
        return "postgresql://\(authority(databaseURL)),\(second)/\(name)?target_session_attrs=read-write"
    }

    /// Makes commits wait for the standby, and waits until they do.
    public func makeStandbySynchronous() async throws {
        try await PostgresSession.withSession(url: databaseURL, applicationName: "trunkline test") { session in
            try await session.script("alter system set synchronous_standby_names = 'standby'")
            try await session.query("select pg_reload_conf()")
            while try await session.query("select from pg_stat_replication where sync_state = 'sync'").count == 0 {
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    /// Makes the standby a primary.
    public func promoteStandby() async throws {
        try await TestInstall.run(dev, ["database", "promote", folder.appendingPathComponent("standby").path])
            .requireSuccess()
    }

    /// Whether the broker has written its quorum queues' names: sooner a SIGKILL would lose them.
    public func brokerKnowsItsQueues() -> Bool {
        hasWrittenQueueNames(brokerData: folder.appendingPathComponent("broker/broker/data").path)
    }

    /// Stops both and removes what they wrote.
    func remove() async {
        for (kind, name) in [("broker", "broker"), ("database", "standby"), ("database", "database")] {
            guard kind == name || standbyURL != nil else { continue }
            _ = try? await TestInstall.run(dev, [kind, "remove", folder.appendingPathComponent(name).path])
        }
        try? FileManager.default.removeItem(at: folder)
    }
}
