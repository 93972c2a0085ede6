internal import Foundation
internal import TestKit

/// The run's own RabbitMQ and PostgreSQL, by `./dev broker` and `./dev database`.
struct Servers: Sendable {
    static let name = "chaos"
    let folder: String
    let dev: String
    let program: Program

    /// Ports stay over a restart.
    private(set) var databasePort: UInt16 = 0
    private(set) var brokerPort: UInt16 = 0
    private(set) var rabbitControl = ""
    /// User and password.
    private var databaseLogin = ""
    private var brokerLogin = ""

    init(folder: String, dev: String, program: Program) {
        self.folder = folder
        self.dev = dev
        self.program = program
    }

    private var environment: [String: String] { Program.cleanEnvironment }

    /// Starts both, with a database and a virtual host for the product.
    mutating func start() async throws {
        async let broker: Void = broker("start")
        async let database: Void = database("start")
        _ = try await (broker, database)
        databasePort = try port("TRUNKLINE_INSTANCE_DATABASE_URL", "database")
        brokerPort = try port("TRUNKLINE_INSTANCE_AMQP_URL", "broker")
        databaseLogin = try login("TRUNKLINE_INSTANCE_DATABASE_URL", "database")
        brokerLogin = try login("TRUNKLINE_INSTANCE_AMQP_URL", "broker")
        rabbitControl = try variable("TRUNKLINE_INSTANCE_RABBITMQCTL", "broker")
        try await rabbit(["add_vhost", Self.name])
        try await rabbit(["set_permissions", "-p", Self.name, "guest", ".*", ".*", ".*"])
    }

    func broker(_ action: String) async throws { try await command("broker", action) }
    func database(_ action: String) async throws { try await command("database", action) }

    /// Stops both and removes what they wrote.
    func remove() async {
        for kind in ["broker", "database"] { try? await command(kind, "remove") }
    }

    private func command(_ kind: String, _ action: String) async throws {
        // In a task of its own: servers must be removed even when the run was cancelled.
        let (program, dev, environment, path) = (program, dev, environment, "\(folder)/\(kind)")
        try await Task { [program] in
            _ = try await program.run(dev, [kind, action, path], environment: environment)
                .requireSuccess("./dev \(kind) \(action)")
        }.value
    }

    @discardableResult
    func rabbit(_ arguments: [String]) async throws -> String {
        try await program.run(rabbitControl, ["-q"] + arguments, environment: environment, limit: .seconds(60))
            .requireSuccess("rabbitmqctl \(arguments.first ?? "")").output
    }

    func databaseURL(port: UInt16) -> String { "postgresql://\(databaseLogin)@127.0.0.1:\(port)/\(Self.name)" }
    func administrationURL() -> String { "postgresql://\(databaseLogin)@127.0.0.1:\(databasePort)/postgres" }
    func brokerURL(port: UInt16) -> String { "amqp://\(brokerLogin)@127.0.0.1:\(port)/\(Self.name)" }

    private func port(_ name: String, _ kind: String) throws -> UInt16 {
        guard let port = URLComponents(string: try variable(name, kind))?.port else {
            throw ChaosError("\(name) has no port")
        }
        return UInt16(port)
    }

    private func login(_ name: String, _ kind: String) throws -> String {
        guard let parts = URLComponents(string: try variable(name, kind)), let user = parts.user,
            let password = parts.password
        else { throw ChaosError("\(name) has no user and password") }
        return "\(user):\(password)"
    }

    private func variable(_ name: String, _ kind: String) throws -> String {
        let path = "\(folder)/\(kind)/env"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("export \(name)=") }) else {
            throw ChaosError("\(name) is not in \(path)")
        }
        return line.dropFirst("export \(name)=".count).trimmingCharacters(in: CharacterSet(charactersIn: "'"))
    }

    /// Whether the broker has written its quorum queues' names: sooner a SIGKILL would lose them.
    func brokerKnowsItsQueues() -> Bool { hasWrittenQueueNames(brokerData: folder + "/broker/broker/data") }
}
