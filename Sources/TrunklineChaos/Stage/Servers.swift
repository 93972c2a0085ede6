internal import Foundation
internal import TestKit

/// The run's own RabbitMQ and PostgreSQL.
struct Servers: Sendable {
    static let name = "chaos"
    let broker: PrivateBroker
    let database: PrivateDatabase

    /// Ports stay over a restart.
    private(set) var databasePort: UInt16 = 0
    private(set) var brokerPort: UInt16 = 0
    /// User and password.
    private var databaseLogin = ""
    private var brokerLogin = ""

    init(folder: String, checkout: Checkout) {
        broker = PrivateBroker(folder: folder + "/broker", checkout: checkout)
        database = PrivateDatabase(folder: folder + "/database", checkout: checkout)
    }

    /// Starts both, with a database and a virtual host for the product.
    mutating func start() async throws {
        async let broker: Void = broker.start()
        async let database: Void = database.start()
        _ = try await (broker, database)
        (databaseLogin, databasePort) = try Self.loginAndPort(self.database.url)
        (brokerLogin, brokerPort) = try Self.loginAndPort(self.broker.url)
        try await control.makeVirtualHost(Self.name)
        try await TestDatabase.execute("create database \(Self.name)", on: administrationURL())
    }

    /// Whoever was told a port would call nobody on another one.
    func requireTheirPorts() throws {
        let ports = try (Self.loginAndPort(database.url).port, Self.loginAndPort(broker.url).port)
        guard ports == (databasePort, brokerPort) else {
            throw ChaosError("a private server came back on another port; nothing is proven by this run")
        }
    }

    /// Stops both and removes what they wrote.
    func remove() async {
        try? await broker.remove()
        try? await database.remove()
    }

    var control: BrokerControl { broker.control }

    /// The messages of each queue, ready or not, by its name.
    func messages() async throws -> [String: Int] {
        try await control.queues(of: Self.name).mapValues(\.messages)
    }

    func databaseURL(port: UInt16) -> String { "postgresql://\(databaseLogin)@127.0.0.1:\(port)/\(Self.name)" }
    func administrationURL() -> String { "postgresql://\(databaseLogin)@127.0.0.1:\(databasePort)/postgres" }
    func brokerURL(port: UInt16) -> String { "amqp://\(brokerLogin)@127.0.0.1:\(port)/\(Self.name)" }

    private static func loginAndPort(_ url: String) throws -> (login: String, port: UInt16) {
        guard let parts = URLComponents(string: url), let user = parts.user, let password = parts.password,
            let port = parts.port.flatMap({ UInt16($0) })
        else { throw ChaosError("a private server has no user, password and port") }
        return ("\(user):\(password)", port)
    }
}
