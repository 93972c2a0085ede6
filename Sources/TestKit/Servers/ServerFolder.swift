/// A folder with a private broker or a private database, or both.
struct ServerFolder: Sendable {
    let folder: String
    let checkout: Checkout

    init(_ folder: String, _ checkout: Checkout) {
        self.folder = folder
        self.checkout = checkout
    }

    var broker: PrivateBroker { PrivateBroker(folder: folder, checkout: checkout) }
    var database: PrivateDatabase { PrivateDatabase(folder: folder, checkout: checkout) }

    /// Writes what they offer to `env`.
    func writeEnvironment() throws {
        func id(_ record: ProcessRecord) -> String { record.pid.map(String.init) ?? "" }
        var file = EnvironmentFile()
        let (broker, database) = (broker, database)
        if !text(of: broker.record.file).isEmpty {
            file.set("TRUNKLINE_INSTANCE_AMQP_URL", try broker.url)
            file.set("TRUNKLINE_INSTANCE_AMQPS_URL", try broker.urlWithTLS())
            file.set("TRUNKLINE_INSTANCE_BROKER_PID", id(broker.record))
            file.set("TRUNKLINE_INSTANCE_EPMD_PID", id(broker.portMapper))
        }
        if !text(of: database.record.file).isEmpty {
            file.set("TRUNKLINE_INSTANCE_DATABASE_URL", try database.url)
            file.set("TRUNKLINE_INSTANCE_DATABASE_PID", id(database.record))
        }
        try file.write(to: folder + "/env")
    }
}
