internal import EventLoop
internal import Foundation
internal import PostgresDriver
internal import Synchronization
internal import TestKit

/// Everything real that a run plays with: servers, simulator, workers, and the proxies between them.
final class Stage: Sendable {
    static let shards = 16
    let options: ChaosOptions
    let plan: LoadPlan
    let servers: Servers
    let simulator: SimulatorProcess
    let workers: [FleetProcess]
    let gateways: [FleetProcess]
    /// Between the workers and the API.
    let api: FaultProxy
    /// Between producers and the broker.
    let producer: FaultProxy
    /// Between `trunkline enqueue` and PostgreSQL.
    let rows: FaultProxy
    let producerLog: LineLog<ProducerRecord>
    let faultLog: LineLog<FaultRecord>
    private let loops: [EventLoop]
    private let environment: [String: String]
    private let key = Mutex("")
    private let session = Mutex<PostgresSession?>(nil)

    static let workspace = "chaos"
    static let masterKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

    private init(
        options: ChaosOptions,
        plan: LoadPlan,
        servers: Servers,
        simulator: SimulatorProcess,
        environment: [String: String]
    ) throws {
        self.options = options
        self.plan = plan
        self.servers = servers
        self.simulator = simulator
        self.environment = environment
        producerLog = try LineLog(path: options.folder + "/producer.ndjson")
        let faultLog = try LineLog<FaultRecord>(path: options.folder + "/faults.ndjson")
        self.faultLog = faultLog
        let calls = EventLoop(name: "proxy-api")
        let rest = EventLoop(name: "proxy-servers")
        loops = [calls, rest]
        for loop in loops { loop.start() }
        api = try FaultProxy(to: simulator.port, speech: .http, on: calls) { event in
            var record = FaultRecord(.flow, begin: event.at, hits: 1)
            record.word = event.kind.rawValue
            record.part = .api
            record.ports = [event.serverPort]
            faultLog.append(record)
        }
        producer = try FaultProxy(to: servers.brokerPort, speech: .amqp, on: rest)
        rows = try FaultProxy(to: servers.databasePort, speech: .postgres, on: rest)
        func fleet(_ role: FleetProcess.Role, _ count: Int) throws -> [FleetProcess] {
            try (0..<count).map { index in
                let database = try FaultProxy(to: servers.databasePort, speech: .postgres, on: rest)
                let broker = try FaultProxy(to: servers.brokerPort, speech: .amqp, on: rest)
                var environment = environment
                if options.hasProxies {
                    environment["TRUNKLINE_DATABASE_URL"] = servers.databaseURL(port: database.port)
                    environment["TRUNKLINE_AMQP_URL"] = servers.brokerURL(port: broker.port)
                }
                if role == .worker { environment["TRUNKLINE_METRICS_LISTEN"] = "127.0.0.1:0" }
                return FleetProcess(
                    role,
                    number: index + 1,
                    database: database,
                    broker: broker,
                    program: options.program,
                    environment: environment,
                    log: options.folder + "/\(role.rawValue)-\(index + 1).log"
                )
            }
        }
        workers = try fleet(.worker, options.workers)
        gateways = try fleet(.gateway, options.gateways)
    }

    /// What callers of the gateways show.
    var apiKey: String { key.withLock { $0 } }

    /// Sets everything up, without workers running.
    static func setUp(_ options: ChaosOptions, say: @Sendable (String) -> Void) async throws -> Stage {
        try FileManager.default.createDirectory(atPath: options.folder, withIntermediateDirectories: true)
        let plan = LoadPlan(options)
        var servers = Servers(folder: options.folder, checkout: options.checkout)
        do {
            say("starting RabbitMQ, PostgreSQL and the simulator")
            try await servers.start()
            let key = options.folder + "/master.key"
            try (masterKey + "\n").write(toFile: key, atomically: true, encoding: .utf8)
            var environment = cleanEnvironment
            environment["TRUNKLINE_MASTER_KEY_FILE"] = key
            environment["TRUNKLINE_DATABASE_URL"] = servers.databaseURL(port: servers.databasePort)
            environment["TRUNKLINE_AMQP_URL"] = servers.brokerURL(port: servers.brokerPort)
            let simulator = try await SimulatorProcess.start(
                program: options.program,
                folder: options.folder,
                lines: plan.lines.count,
                seed: options.seed,
                environment: environment
            )
            let stage = try Stage(
                options: options,
                plan: plan,
                servers: servers,
                simulator: simulator,
                environment: environment
            )
            try await stage.prepare(say)
            return stage
        } catch {
            await servers.remove()
            throw error
        }
    }

    private func prepare(_ say: (String) -> Void) async throws {
        try await trunkline(["migrate", "--shards", "\(Self.shards)"]).requireSuccess("trunkline migrate")
        try await trunkline(["topology", "apply"]).requireSuccess("trunkline topology apply")
        say("adding \(plan.lines.count) lines and \(plan.destinations.count) destinations")
        let apiPort = options.hasProxies ? api.port : simulator.port
        for line in plan.lines {
            try await trunkline(
                [
                    "line", "add", line.id, "--workspace", Self.workspace, "--token-env", "CHAOS_TOKEN", "--base-url",
                    "http://127.0.0.1:\(apiPort)/api/v1", "--no-check",
                ] + line.pace.arguments(.line),
                environment: ["CHAOS_TOKEN": "ezw_line_\(line.id)"]
            ).requireSuccess("trunkline line add \(line.id)")
        }
        for destination in plan.destinations {
            try await trunkline(
                ["destination", "add", destination.id, "--kind", "webhook", "--workspace", Self.workspace]
                    + Self.address(of: destination, port: apiPort) + destination.pace.arguments(.destination),
                environment: secret(of: destination)
            ).requireSuccess("trunkline destination add \(destination.id)")
        }
        if !gateways.isEmpty {
            let made = try await trunkline(["apikey", "create", "--workspace", Self.workspace, "--scope", "send"])
                .requireSuccess("trunkline apikey create")
            key.withLock { $0 = made.output.trimmingCharacters(in: .whitespacesAndNewlines) }
        }
        try await servers.broker.waitUntilQueueNamesAreWritten()
    }

    /// Arguments that lead a destination to the simulator, or where else; with ``secret(of:)``.
    static func address(of destination: LoadPlan.Lane, port: UInt16) -> [String] {
        [
            "--url", "http://127.0.0.1:\(port)/hooks/\(destination.id)", "--allow-private-network", "--secret-env",
            "CHAOS_SECRET",
        ]
    }

    /// What the simulator wants a destination's events to be signed with, as a variable for the command.
    func secret(of destination: LoadPlan.Lane) async throws -> [String: String] {
        ["CHAOS_SECRET": try await simulator.secret(ofHook: destination.id)]
    }

    /// Ends everything that was started, whatever state it is in.
    func tearDown() async {
        for process in workers + gateways { process.send(SIGKILL) }
        await simulator.stop()
        await closeSession()
        for proxy in [api, producer, rows] + (workers + gateways).flatMap({ [$0.database, $0.broker] }) { proxy.stop() }
        for loop in loops {
            loop.stop()
            loop.join()
        }
        await servers.remove()
    }

    // MARK: Commands

    /// Runs a command of the built program, past all proxies unless `environment` says otherwise.
    func trunkline(
        _ arguments: [String],
        input: String? = nil,
        environment more: [String: String] = [:],
        limit: Duration = .seconds(120)
    ) async throws -> Command.Outcome {
        try await Command.run(
            options.program,
            arguments,
            environment: environment.merging(more) { $1 },
            input: input,
            limit: limit
        )
    }

    /// This process's environment without anything that would lead a command to another install.
    static var cleanEnvironment: [String: String] {
        ProcessInfo.processInfo.environment.filter { name, _ in
            !name.hasPrefix("TRUNKLINE_") || name.hasPrefix("TRUNKLINE_DEV_")
        }
    }

    /// The environment of a producer, whose connections go through the proxies.
    var producerEnvironment: [String: String] {
        [
            "TRUNKLINE_DATABASE_URL": servers.databaseURL(port: rows.port),
            "TRUNKLINE_AMQP_URL": servers.brokerURL(port: producer.port),
        ]
    }

    // MARK: Looking

    /// Asks the database, on a new session when the last one was lost.
    func query(_ sql: String) async throws -> PostgresRows {
        if session.withLock({ $0 }) == nil {
            let opened = try await PostgresSession.open(
                url: servers.databaseURL(port: servers.databasePort),
                applicationName: "chaos looks",
                settings: [("statement_timeout", "60000")]
            )
            session.withLock { $0 = opened }
        }
        do {
            guard let session = session.withLock({ $0 }) else { throw ChaosError("no session") }
            return try await session.query(sql)
        } catch {
            await closeSession()
            throw error
        }
    }

    private func closeSession() async {
        let old = session.withLock { session -> PostgresSession? in
            defer { session = nil }
            return session
        }
        await old?.close()
    }

    /// The connections to the API that a worker has, and how many calls are in the air on them.
    func calls(of worker: FleetProcess) async -> (ports: [UInt16], inTheAir: Int) {
        guard let pid = worker.pid else { return ([], 0) }
        let own = SocketOwners.ports(of: pid, to: api.port)
        let flows = await api.openFlows().filter { own.contains($0.clientPort) }
        return (flows.map(\.serverPort), flows.count { $0.hasCallInTheAir })
    }
}
