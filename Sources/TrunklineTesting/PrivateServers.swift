private import Foundation
private import PostgresDriver
package import TestKit

/// A broker and a database of a test's own, to be killed and started again.
package struct PrivateServers: Sendable {
    package let broker: PrivateBroker
    package let database: PrivateDatabase
    package let databaseURL: String
    package let amqpURL: String
    private let standby: PrivateDatabase?
    /// Of the standby, when it was asked for one.
    package let standbyURL: String?
    /// Holds all of them.
    private let folder: String

    /// Starts both on free ports; they keep their ports over a restart. With `standby` another database streams from the
    /// first, asynchronously.
    static func start(standby: Bool) async throws -> PrivateServers {
        let checkout = try Checkout.underTest()
        let folder = temporaryFolder("servers")
        let broker = PrivateBroker(folder: folder + "/broker", checkout: checkout)
        let database = PrivateDatabase(folder: folder + "/database", checkout: checkout)
        let copy = standby ? PrivateDatabase(folder: folder + "/standby", checkout: checkout) : nil
        do {
            async let started: Void = broker.start()
            try await database.start()
            try await copy?.start(asStandbyOf: database)
            try await started
            return PrivateServers(
                broker: broker,
                database: database,
                databaseURL: try database.url,
                amqpURL: try broker.url,
                standby: copy,
                standbyURL: try copy?.url,
                folder: folder
            )
        } catch {
            try? await broker.remove()
            try? await copy?.remove()
            try? await database.remove()
            throw error
        }
    }

    var control: BrokerControl { broker.control }

    /// The URL of a database on whichever of the servers is the primary.
    package func url(ofDatabase name: String) -> String {
        func authority(_ url: String) -> Substring {
            let rest = url[url.range(of: "://")!.upperBound...]
            return rest[..<(rest.firstIndex(of: "/") ?? rest.endIndex)]
        }
        guard let standbyURL else { return "postgresql://\(authority(databaseURL))/\(name)" }
        let second = authority(standbyURL).split(separator: "@").last ?? ""
        return "postgresql://\(authority(databaseURL)),\(second)/\(name)?target_session_attrs=read-write"
    }

    /// Makes commits wait for the standby, and waits until they do.
    package func makeStandbySynchronous() async throws {
        try await PostgresSession.withSession(url: databaseURL, applicationName: "trunkline test") { session in
            try await session.script("alter system set synchronous_standby_names = 'standby'")
            try await session.query("select pg_reload_conf()")
            while try await session.query("select from pg_stat_replication where sync_state = 'sync'").count == 0 {
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    /// Makes the standby a primary.
    package func promoteStandby() async throws { try await standby?.promote() }

    /// Whether the broker has written its quorum queues' names: sooner a SIGKILL would lose them.
    package func brokerKnowsItsQueues() -> Bool { broker.hasWrittenQueueNames }

    /// Stops all of them and removes what they wrote.
    func remove() async {
        try? await broker.remove()
        try? await standby?.remove()
        try? await database.remove()
        try? FileManager.default.removeItem(atPath: folder)
    }
}
