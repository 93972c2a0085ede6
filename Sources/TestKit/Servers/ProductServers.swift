internal import Foundation

/// A broker and a database in one folder, with a virtual host and a database for the product, and a file `env` that names
/// everything: what `./dev up`, the demo and a run of tests have.
package struct ProductServers: Sendable {
    package let folder: String
    private let checkout: Checkout
    package let broker: PrivateBroker
    package let database: PrivateDatabase

    /// - Parameter folder: absolute; need not exist.
    package init(folder: String, checkout: Checkout) {
        self.folder = folder
        self.checkout = checkout
        broker = PrivateBroker(folder: folder, checkout: checkout)
        database = PrivateDatabase(folder: folder, checkout: checkout)
    }

    /// What shells and tests read.
    package var environmentFile: String { folder + "/env" }
    package var areRunning: Bool { broker.record.isAlive && database.record.isAlive }
    /// Of the last start.
    package var databasePort: UInt16? { PortLeases.held("database", of: folder) }
    package var brokerPort: UInt16? { PortLeases.held("amqp", of: folder) }

    private static let name = "trunkline"

    package func start() async throws {
        try makeFolder(folder)
        async let broker: Void = startBroker()
        async let database: Void = startDatabase()
        _ = try await (broker, database)
        var file = EnvironmentFile()
        file.set("TRUNKLINE_TEST_DATABASE_URL", try self.database.url)
        file.set("TRUNKLINE_TEST_AMQP_URL", try self.broker.url)
        file.set("TRUNKLINE_TEST_AMQPS_URL", try self.broker.urlWithTLS())
        file.set("TRUNKLINE_TEST_TLS_DIR", checkout.certificates.folder)
        file.set("TRUNKLINE_TEST_BROKER", folder)
        file.set("TRUNKLINE_TEST_DEV", checkout.root + "/dev")
        file.set("TRUNKLINE_DATABASE_URL", try self.database.url(database: Self.name))
        file.set("TRUNKLINE_AMQP_URL", try self.broker.url(virtualHost: Self.name))
        file.set("TRUNKLINE_MASTER_KEY_FILE", try checkout.masterKeyFile())
        try file.write(to: environmentFile)
    }

    private func startBroker() async throws {
        try await broker.launch()
        try await broker.control.makeVirtualHost(Self.name)
    }

    private func startDatabase() async throws {
        try await database.launch()
        try await TestDatabase.makeWhereMissing(Self.name, on: database.url)
        // Making and dropping databases waits for a checkpoint: the 5 s of every other database are not meant for it.
        try await TestDatabase.execute("alter database postgres set statement_timeout = 0", on: database.url)
    }

    /// Stops both, one even if the other does not end.
    package func stop() async throws {
        async let broker: Void = broker.stop()
        async let database: Void = database.stop()
        _ = try await (broker, database)
    }

    /// Stops both and removes what they wrote.
    package func remove() async throws {
        async let broker: Void = broker.remove()
        async let database: Void = database.remove()
        _ = try await (broker, database)
    }
}
