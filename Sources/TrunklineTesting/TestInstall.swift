package import Foundation
private import Glibc
package import PostgresDriver
internal import RabbitDriver
internal import Synchronization
package import TestKit
package import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations
package import TrunklineSimulator

/// An install of its own for one test: a database, a vhost, a simulator and as many worker processes as wanted, all real.
///
/// Ends every process that it started, by its id. Needs what `./dev test` sets up; where that is missing it throws, for a
/// skipped integration test is a failure.
package final class TestInstall: Sendable {
    /// Why a test cannot run or did not get where it wanted.
    package typealias Failure = KitError

    package let databaseURL: String
    package let amqpURL: String
    package let simulator: SimulatorServer
    /// Logs of the processes, the master key, and whatever a test wants to keep.
    package let folder: URL
    /// Broker and database of its own, when it was made with them.
    package let servers: PrivateServers?
    /// Beside AMQP, for the broker of this install.
    package let broker: BrokerControl
    private let ownDatabase: TestDatabase
    let session: Mutex<PostgresSession>

    /// A session for whatever a test wants to know. Lost with the database.
    package var database: PostgresSession { session.withLock { $0 } }

    private let name: String
    let shards: Int
    let workers = Mutex<[WorkerHandle]>([])
    let gateways = Mutex<[GatewayHandle]>([])
    private static let masterKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

    /// The vhost that belongs to this install.
    package var vhost: String { name }

    /// The base URL that lines of this install use.
    package var lineURL: String { simulator.baseURL + "/api/v1" }

    /// Runs `body` with an install of `shards` shards and lines `line-01`… of the simulator, and takes it down. With
    /// `ownServers` broker and database are its own too, to be crashed; with `standby` there is a second database that
    /// streams from the first, and ``databaseURL`` names both.
    package static func with<Result>(
        shards: Int = 4,
        lines: Int = 2,
        pace: String = "unlimited",
        journal: Bool = false,
        ownServers: Bool = false,
        standby: Bool = false,
        _ body: (TestInstall) async throws -> Result
    ) async throws -> Result {
        await Places.installs.enter()
        let result: Swift.Result<Result, any Error>
        var started: PrivateServers?
        do {
            if ownServers || standby { started = try await PrivateServers.start(standby: standby) }
            let install = try await TestInstall(
                shards: shards,
                lines: lines,
                pace: pace,
                journal: journal,
                servers: started
            )
            do {
                result = .success(try await body(install))
            } catch {
                install.keepLogs(because: "\(error)")
                result = .failure(error)
            }
            await install.takeDown()
        } catch {
            // An install that could not be made takes nothing down.
            await started?.remove()
            result = .failure(error)
        }
        await Places.installs.leave()
        return try result.get()
    }

    private init(shards: Int, lines: Int, pace: String, journal: Bool, servers: PrivateServers?) async throws {
        self.shards = shards
        self.servers = servers
        name = "t" + String(UInt64.random(in: 0...UInt64.max), radix: 36)
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("trunkline-\(name)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try (Self.masterKey + "\n").write(
            to: folder.appendingPathComponent("master.key"),
            atomically: true,
            encoding: .utf8
        )

        // On servers of its own an install is made as an operator makes one, by the program's commands.
        let template = servers == nil ? try await Self.template(shards: shards).name() : nil
        ownDatabase = try await TestDatabase.make(named: name, on: servers?.databaseURL, template: template)
        databaseURL = servers?.url(ofDatabase: ownDatabase.name) ?? ownDatabase.url
        session = Mutex(try await PostgresSession.open(url: databaseURL, applicationName: "trunkline test"))

        broker = try servers?.control ?? BrokerControl.shared()
        amqpURL = try TestEnvironment.url(try servers?.amqpURL ?? TestEnvironment.brokerURL(), naming: name)
        try await broker.makeVirtualHost(name)

        var options = SimulatorOptions()
        options.port = 0
        options.lines = lines
        if journal { options.journal = folder.appendingPathComponent("journal.ndjson").path }
        simulator = try await SimulatorServer.start(options)

        guard servers == nil else {
            try await trunkline(["migrate", "--shards", "\(shards)"]).requireSuccess()
            try await trunkline(["topology", "apply"]).requireSuccess()
            for id in options.lineIDs { try await addLine(id, token: "ezw_line_\(id)", pace: pace) }
            return
        }
        try await BrokerSession.withSession(url: amqpURL, connectionName: "trunkline test") {
            // Nobody kills the shared broker.
            _ = try await $0.apply(shards: shards, outlivesCrash: false)
        }
        let interval = try Pace.interval(parsing: pace)
        let applied = try PaceChange(interval: interval).applied(to: .standard)
        try await addLines(options.lineIDs) { _ in applied }
    }

    private static let templates = Mutex<[Int: TemplateDatabase]>([:])

    /// A migrated database without lines.
    private static func template(shards: Int) -> TemplateDatabase {
        templates.withLock { templates in
            if let known = templates[shards] { return known }
            let new = TemplateDatabase { url in
                try await PostgresSession.withSession(url: url, applicationName: "trunkline test") { session in
                    _ = try await Migrations.migrate(session, shards: shards)
                }
            }
            templates[shards] = new
            return new
        }
    }

    /// Adds a line by the program's own command.
    package func addLine(_ id: String, workspace: String = "acme", token: String, pace: String, more: [String] = [])
        async throws
    {
        try await trunkline(
            [
                "line", "add", id, "--workspace", workspace, "--token-env", "TEST_TOKEN", "--base-url", lineURL,
                "--pace", pace, "--no-check",
            ] + more,
            environment: ["TEST_TOKEN": token]
        ).requireSuccess()
    }

    /// Adds lines of the simulator at once, without the program.
    package func addLines(_ ids: [String], pace: (String) -> Pace) async throws {
        let key = try MasterKey(base64: Self.masterKey)
        try await Operator.with(databaseURL: databaseURL, name: "trunkline test") { install in
            for id in ids {
                _ = try await install.addLine(
                    try LineID(id),
                    workspace: try WorkspaceID("acme"),
                    carrier: EZWhatsAppCarrier(),
                    baseURL: try EZWhatsAppCarrier().address(lineURL, mayBePrivate: true),
                    token: try .sealed(Array(("ezw_line_" + id).utf8), of: EZWhatsAppCarrier(), key),
                    pace: pace(id)
                )
            }
        }
    }

    /// Adds unlimited lines of the simulator at once, without the program.
    package func addLines(_ ids: [String], concurrency: (String) -> Int = { _ in 16 }) async throws {
        try await addLines(ids) { Pace(interval: .zero, concurrency: concurrency($0), recipientGap: .zero) }
    }

    /// Adds a destination of a carrier that the program may not know, without the program.
    package func addDestination(_ id: String, of carrier: any Carrier, url: String, secret: String) async throws {
        let key = try MasterKey(base64: Self.masterKey)
        try await Operator.with(databaseURL: databaseURL, name: "trunkline test") { install in
            _ = try await install.addDestination(
                try DestinationID(id),
                workspace: try WorkspaceID("acme"),
                carrier: carrier,
                url: url,
                mayBePrivate: true,
                secret: try .sealed(Array(secret.utf8), of: carrier, key)
            )
        }
    }

    /// Adds a source, by the program's own command.
    package func addSource(_ id: String, kind: String = "custom", country: String? = nil) async throws {
        try await trunkline(
            ["source", "add", id, "--kind", kind, "--workspace", "acme", "--secret-env", "TEST_SECRET"]
                + (country.map { ["--country", $0] } ?? []),
            environment: ["TEST_SECRET": "a-bearer-token-of-\(id)"]
        ).requireSuccess()
    }

    /// Puts rules into force, by the program's own command.
    package func apply(rules: String) async throws {
        let file = folder.appendingPathComponent("rules.yaml")
        try rules.write(to: file, atomically: true, encoding: .utf8)
        try await trunkline(["apply", "-f", file.path]).requireSuccess()
    }

    /// Gives a destination another secret, without the program.
    package func changeDestination(_ id: String, of carrier: any Carrier, secret: String) async throws {
        let key = try MasterKey(base64: Self.masterKey)
        try await Operator.with(databaseURL: databaseURL, name: "trunkline test") { install in
            _ = try await install.changeDestination(
                try DestinationID(id),
                DestinationChanges(secret: try .sealed(Array(secret.utf8), of: carrier, key)),
                carriers: [carrier]
            )
        }
    }

    // MARK: The program

    package typealias Outcome = Command.Outcome

    /// Runs a command of the built program.
    @discardableResult
    package func trunkline(
        _ arguments: [String],
        input: String? = nil,
        environment: [String: String] = [:]
    ) async throws -> Outcome {
        try await Command.run(
            try TestEnvironment.program(),
            arguments,
            environment: self.environment(environment),
            input: input
        )
    }

    func environment(_ more: [String: String]) -> [String: String] {
        var environment = ProcessInfo.processInfo.environment
        environment["TRUNKLINE_DATABASE_URL"] = databaseURL
        environment["TRUNKLINE_AMQP_URL"] = amqpURL
        environment["TRUNKLINE_MASTER_KEY"] = nil
        environment["TRUNKLINE_MASTER_KEY_FILE"] = folder.appendingPathComponent("master.key").path
        return environment.merging(more) { $1 }
    }

    private func keepLogs(because reason: String) {
        let logs =
            workers.withLock { $0 }.map { ($0.log.lastPathComponent, $0.logText) }
            + gateways.withLock { $0 }.map { ($0.log.lastPathComponent, $0.logText) }
        let kept = logs.map { "\($0): \($1.suffix(2_000))" }.joined(separator: "\n")
        FileHandle.standardError.write(Data("[\(name)] \(reason)\n\(kept)\n".utf8))
    }

    private func takeDown() async {
        for worker in workers.withLock({ $0 }) { worker.kill() }
        for gateway in gateways.withLock({ $0 }) { gateway.kill() }
        try? await simulator.stop()
        await database.close()
        if let servers {
            await servers.remove()
        } else {
            try? await ownDatabase.drop()
            try? await broker.deleteVirtualHost(name)
        }
        try? FileManager.default.removeItem(at: folder)
    }
}
