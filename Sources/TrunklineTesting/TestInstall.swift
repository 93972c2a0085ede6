public import Foundation
private import Glibc
public import PostgresDriver
internal import RabbitDriver
internal import Synchronization
public import TrunklineChaos
public import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations
public import TrunklineSimulator

/// An install of its own for one test: a database, a vhost, a simulator and as many worker processes as wanted, all real.
///
/// Ends every process that it started, by its id. Needs what `./dev test` sets up; where that is missing it throws, for a
/// skipped integration test is a failure.
public final class TestInstall: Sendable {
    /// Why a test cannot run or did not get where it wanted.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
        public init(_ description: String) { self.description = description }
    }

    public let databaseURL: String
    public let amqpURL: String
    public let simulator: SimulatorServer
    /// Logs of the processes, the master key, and whatever a test wants to keep.
    public let folder: URL
    /// Broker and database of its own, when it was made with them.
    public let servers: PrivateServers?
    private let session: Mutex<PostgresSession>
    private let rabbitControl: String

    /// A session for whatever a test wants to know. Lost with the database.
    public var database: PostgresSession { session.withLock { $0 } }

    private let name: String
    private let shards: Int
    private let workers = Mutex<[WorkerHandle]>([])
    private static let masterKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

    /// The vhost that belongs to this install.
    public var vhost: String { name }

    /// The base URL that lines of this install use.
    public var lineURL: String { simulator.baseURL + "/api/v1" }

    /// Runs `body` with an install of `shards` shards and lines `line-01`… of the simulator, and takes it down. With
    /// `ownServers` broker and database are its own too, to be crashed; with `standby` there is a second database that
    /// streams from the first, and ``databaseURL`` names both.
    public static func with<Result>(
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

    /// A variable of the test environment.
    public static func environment(_ name: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[name], !value.isEmpty else {
            throw Failure("\(name) is not set: run the tests with './dev test'")
        }
        return value
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

        let server = try servers?.databaseURL ?? Self.environment("TRUNKLINE_TEST_DATABASE_URL")
        let admin = try await PostgresSession.open(url: server, applicationName: "trunkline test")
        try await admin.script("create database \(name)")
        await admin.close()
        databaseURL =
            servers?.url(ofDatabase: name) ?? String(server[..<server.lastIndex(of: "/")!]) + "/" + name
        session = Mutex(try await PostgresSession.open(url: databaseURL, applicationName: "trunkline test"))

        let broker = try servers?.amqpURL ?? Self.environment("TRUNKLINE_TEST_AMQP_URL")
        amqpURL = String(broker[..<broker.lastIndex(of: "/")!]) + "/" + name
        rabbitControl = try servers?.rabbitControl ?? Self.environment("TRUNKLINE_TEST_RABBITMQCTL")
        _ = try await Self.run(rabbitControl, ["add_vhost", name]).requireSuccess()
        _ = try await Self.run(rabbitControl, ["set_permissions", "-p", name, "guest", ".*", ".*", ".*"])
            .requireSuccess()

        var options = SimulatorOptions()
        options.port = 0
        options.lines = lines
        if journal { options.journal = folder.appendingPathComponent("journal.ndjson").path }
        simulator = try await SimulatorServer.start(options)

        try await trunkline(["migrate", "--shards", "\(shards)"]).requireSuccess()
        try await trunkline(["topology", "apply"]).requireSuccess()
        for id in options.lineIDs { try await addLine(id, token: "ezw_line_\(id)", pace: pace) }
    }

    /// Adds a line by the program's own command.
    public func addLine(_ id: String, workspace: String = "acme", token: String, pace: String, more: [String] = [])
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

    /// Adds many unlimited lines of the simulator at once, without the program.
    public func addLines(_ ids: [String], concurrency: (String) -> Int = { _ in 16 }) async throws {
        let key = try MasterKey(base64: Self.masterKey)
        try await Operator.with(databaseURL: databaseURL, name: "trunkline test") { install in
            for id in ids {
                _ = try await install.addLine(
                    try LineID(id),
                    workspace: try WorkspaceID("acme"),
                    baseURL: try EZWhatsApp.BaseURL(lineURL),
                    token: .sealed(try EZWhatsApp.Token("ezw_line_" + id), key),
                    pace: Pace(interval: .zero, concurrency: concurrency(id), recipientGap: .zero)
                )
            }
        }
    }

    // MARK: The program

    /// What a command printed and how it ended.
    public struct Outcome: Sendable {
        public let status: Int32
        public let output: String
        public let errors: String

        /// Throws what the command said when it failed.
        @discardableResult
        public func requireSuccess() throws -> Outcome {
            guard status == 0 else { throw Failure("exit status \(status): \(errors)\(output)") }
            return self
        }
    }

    /// Runs a command of the built program.
    @discardableResult
    public func trunkline(
        _ arguments: [String],
        input: String? = nil,
        environment: [String: String] = [:]
    ) async throws -> Outcome {
        try await Self.run(try Self.binary(), arguments, input: input, environment: self.environment(environment))
    }

    private static func binary() throws -> String {
        if let path = ProcessInfo.processInfo.environment["TRUNKLINE_BINARY"] { return path }
        // Beside the test bundle, where `swift build` puts it.
        let path = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent(
            "trunkline"
        ).path
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw Failure("TRUNKLINE_BINARY is not set, and there is no trunkline beside the tests")
        }
        return path
    }

    private func environment(_ more: [String: String]) -> [String: String] {
        var environment = ProcessInfo.processInfo.environment
        environment["TRUNKLINE_DATABASE_URL"] = databaseURL
        environment["TRUNKLINE_AMQP_URL"] = amqpURL
        environment["TRUNKLINE_MASTER_KEY"] = nil
        environment["TRUNKLINE_MASTER_KEY_FILE"] = folder.appendingPathComponent("master.key").path
        return environment.merging(more) { $1 }
    }

    /// Runs a program and gathers what it prints.
    public static func run(
        _ path: String,
        _ arguments: [String],
        input: String? = nil,
        environment: [String: String]? = nil
    ) async throws -> Outcome {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "trunkline-run-\(UInt64.random(in: 0 ... .max))"
        )
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (output, errors, given) = (
            folder.appendingPathComponent("out"), folder.appendingPathComponent("err"),
            folder.appendingPathComponent("in")
        )
        if let input { try Data(input.utf8).write(to: given) }
        let child = try ChildProcess(
            path,
            arguments,
            environment: environment,
            input: input == nil ? nil : given.path,
            output: output.path,
            errors: errors.path
        )
        let status = try await child.end()
        return Outcome(
            status: status,
            output: String(decoding: (try? Data(contentsOf: output)) ?? Data(), as: UTF8.self),
            errors: String(decoding: (try? Data(contentsOf: errors)) ?? Data(), as: UTF8.self)
        )
    }

    // MARK: Workers

    /// A worker process of the built program.
    public final class WorkerHandle: Sendable {
        private let process: ChildProcess
        public let log: URL
        private let wasStruck: Mutex<Bool>

        fileprivate init(_ process: ChildProcess, log: URL, isSabotaged: Bool) {
            self.process = process
            self.log = log
            wasStruck = Mutex(isSabotaged)
        }

        /// It was killed or stood still, or ended otherwise than well: what it knew may be lost.
        var wasHarmed: Bool { wasStruck.withLock { $0 } || exitStatus.map { $0 != 0 } ?? false }

        public var pid: Int32 { process.pid }
        public var isRunning: Bool { process.isRunning }
        /// See ``ChildProcess/exitStatus``.
        public var exitStatus: Int32? { process.exitStatus }
        public func send(_ signal: Int32) {
            if [SIGKILL, SIGSTOP, SIGABRT].contains(signal) { wasStruck.withLock { $0 = true } }
            process.send(signal)
        }
        public func kill() { send(SIGKILL) }
        public func freeze() { send(SIGSTOP) }
        public func thaw() { send(SIGCONT) }
        /// Whether the kernel says that it is stopped.
        public var isFrozen: Bool {
            let text = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? ""
            guard let end = text.lastIndex(of: ")") else { return false }
            return text[text.index(end, offsetBy: 2)...].first == "T"
        }
        /// What it logged so far.
        public var logText: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }
    }

    /// Starts a worker; `environment` may name a crash point, a freeze point or a mechanism to turn off, `limit` is what
    /// `ulimit` is told in the shell that becomes the worker.
    public func startWorker(
        _ environment: [String: String] = [:],
        arguments: [String] = [],
        limit: String? = nil
    ) throws -> WorkerHandle {
        let log = folder.appendingPathComponent("worker-\(workers.withLock { $0.count }).log")
        let words = [try Self.binary(), "worker"] + arguments
        let process = try ChildProcess(
            limit == nil ? words[0] : "/bin/bash",
            limit.map { ["-c", "ulimit \($0) && exec \"$0\" \"$@\""] + words } ?? Array(words.dropFirst()),
            environment: self.environment(environment),
            output: log.path,
            errors: log.path
        )
        let sabotage = ["TRUNKLINE_CRASH_AT", "TRUNKLINE_FREEZE_AT", "TRUNKLINE_TURN_OFF"]
        let worker = WorkerHandle(process, log: log, isSabotaged: sabotage.contains { environment[$0] != nil })
        workers.withLock { $0.append(worker) }
        return worker
    }

    /// Starts the program with the files that it reads and writes, and with signals that it finds blocked. The caller ends it.
    public func start(
        _ arguments: [String],
        input: String,
        output: String,
        blocked: [Int32]
    ) throws -> ChildProcess {
        try ChildProcess(
            try Self.binary(),
            arguments,
            environment: environment([:]),
            input: input,
            output: output,
            errors: output,
            blocked: blocked
        )
    }

    // MARK: The broker

    /// Runs `rabbitmqctl` for this install's broker.
    @discardableResult
    public func rabbitmqctl(_ arguments: String...) async throws -> Outcome {
        try await Self.run(rabbitControl, ["--quiet"] + arguments).requireSuccess()
    }

    /// Takes away everything that the broker has of this install, and makes its virtual host again, empty.
    public func wipeBroker() async throws {
        try await rabbitmqctl("delete_vhost", vhost)
        try await makeVirtualHost()
    }

    /// Makes the install's virtual host.
    public func makeVirtualHost() async throws {
        try await rabbitmqctl("add_vhost", vhost)
        try await rabbitmqctl("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
    }

    /// The queues of this install, each with its ready messages and its consumers.
    public func queues() async throws -> [String: (messages: Int, consumers: Int)] {
        let rows = try await rabbitmqctl(
            "list_queues",
            "-p",
            vhost,
            "--no-table-headers",
            "name",
            "messages_ready",
            "consumers"
        ).output
        var queues: [String: (messages: Int, consumers: Int)] = [:]
        for row in rows.split(separator: "\n") {
            let cells = row.split(separator: "\t")
            guard cells.count == 3, let messages = Int(cells[1]), let consumers = Int(cells[2]) else { continue }
            queues[String(cells[0])] = (messages, consumers)
        }
        return queues
    }

    // MARK: Jobs

    /// A job that the simulator accepts.
    public static func job(
        _ key: String,
        line: String = "line-01",
        to: String = "+972501234567",
        body: String? = nil,
        sendBefore: Timestamp? = nil
    ) throws -> SendJob {
        try SendJob(
            line: LineID(line),
            key: IdempotencyKey(key),
            to: PhoneNumber(to),
            body: body ?? "Notice for \(key).",
            purpose: .order,
            sendBefore: sendBefore
        )
    }

    /// `count` jobs with keys `PREFIX.1`…, spread over persons and lines.
    public static func jobs(
        _ count: Int,
        prefix: String = "job",
        lines: [String] = ["line-01", "line-02"],
        persons: Int = 50
    ) throws -> [SendJob] {
        try (1...count).map { number in
            try job(
                "\(prefix).\(number)",
                line: lines[number % lines.count],
                to: "+97250" + String(1_000_000 + number % persons)
            )
        }
    }

    /// Publishes to the shards' queues and waits for every confirm.
    public func publish(_ jobs: [SendJob], routingKey: String? = nil) async throws {
        try await publish(
            raw: jobs.map { (routingKey ?? Route.shard(shard(ofLane: $0.line.laneName, of: shards)), $0.encode()) }
        )
    }

    /// Publishes bodies as they are.
    public func publish(raw messages: [(routingKey: String, body: [UInt8])]) async throws {
        let publisher = RabbitPublisher(
            configuration: try RabbitConfiguration(url: amqpURL, connectionName: "trunkline test")
        )
        let outcomes: [PublishOutcome] = await withCheckedContinuation { continuation in
            publisher.publish(
                messages.map { RabbitMessage(exchange: Route.exchange, routingKey: $0.routingKey, body: $0.body) }
            ) { continuation.resume(returning: $0) }
        }
        await publisher.shutdown()
        for outcome in outcomes where outcome != .confirmed { throw Failure("not confirmed: \(outcome)") }
    }

    // MARK: Looking

    /// Asks until `condition` holds; throws with `what` when the deadline passes first.
    public func wait(for what: String, within limit: Duration = .seconds(60), _ condition: () async throws -> Bool)
        async throws
    {
        let deadline = ContinuousClock.now + limit
        while try await !condition() {
            guard ContinuousClock.now < deadline else {
                throw Failure("not within \(limit): \(what)\n\(await situation())")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// Waits until `count` keys were sent and nothing unfinished is left.
    public func waitUntilSent(_ count: Int, within limit: Duration = .seconds(90)) async throws {
        try await wait(for: "\(count) jobs sent, none unfinished", within: limit) {
            let sent = try await self.number("select count(*) from trunkline.finished where state = 'sent'")
            let unfinished = try await self.number("select count(*) from trunkline.jobs")
            return sent >= Int64(count) && unfinished == 0
        }
    }

    /// The one number that a query yields; 0 when it yields none.
    public func number(_ sql: String) async throws -> Int64 {
        try await asking { session in
            let rows = try await session.query(sql, [])
            return rows.count == 0 ? 0 : rows.int8(0, 0) ?? 0
        }
    }

    /// The one text that a query yields.
    public func text(_ sql: String) async throws -> String? {
        try await asking { try await $0.query(sql, []).text(0, 0) }
    }

    /// Asks on the session, or on a new one when a crash of the database has ended it.
    private func asking<Value: Sendable>(_ question: (PostgresSession) async throws -> Value) async throws -> Value {
        do {
            return try await question(database)
        } catch let error as PostgresError where error.isConnectionLost {
            await database.close()
            let new = try await PostgresSession.open(url: databaseURL, applicationName: "trunkline test")
            session.withLock { $0 = new }
            return try await question(new)
        }
    }

    /// What is unfinished, who owns what, and the ends of the logs: for the words of a failure.
    public func situation() async -> String {
        let jobs =
            (try? await text(
                "select string_agg(state || ':' || coalesce(reason, '-') || ':' || n, ', ') from (select state, reason, count(*) as n from trunkline.jobs group by 1, 2) s"
            )) ?? nil
        let finished =
            (try? await text(
                "select string_agg(state || ':' || n, ', ') from (select state, count(*) as n from trunkline.finished group by 1) s"
            )) ?? nil
        let shards =
            (try? await text(
                "select string_agg(shard || '=' || coalesce(left(owner::text, 4), '-'), ' ') from trunkline.shards"
            )) ?? nil
        let logs = workers.withLock { $0 }.map { "--- \($0.log.lastPathComponent)\n" + $0.logText.suffix(3_000) }
            .joined(separator: "\n")
        return "unfinished: \(jobs ?? "none"); finished: \(finished ?? "none"); owners: \(shards ?? "none")\n\(logs)"
    }

    /// The questions that every fault test ends with: nothing lost, nothing twice, and the ledger adds up. Nor was a key asked
    /// for again after its answer had left, which an API with a memory would hide, unless a worker was killed or frozen, or,
    /// as `mayLoseAnswers` says, the test takes answers away on the wire.
    public func requireProof(sent count: Int, mayLoseAnswers: Bool = false) async throws {
        let report = simulator.report()
        let mayAskAgain = mayLoseAnswers || workers.withLock { $0 }.contains(where: \.wasHarmed)
        guard report.askedAgainAfterAnswer == 0 || mayAskAgain else {
            throw Failure("asked again after an answer: \(report.askedAgainKeys.prefix(10))")
        }
        guard report.sentTwice == 0 else { throw Failure("sent twice: \(report.sentTwiceKeys.prefix(10))") }
        guard report.total.messages == count else {
            throw Failure("the simulator has \(report.total.messages) messages, not \(count)")
        }
        let check = try await trunkline(["check", "--json"])
        guard check.status == 0 else { throw Failure("trunkline check: \(check.output)\(check.errors)") }
    }

    private func keepLogs(because reason: String) {
        let kept = workers.withLock { $0 }.map { "\($0.log.lastPathComponent): \($0.logText.suffix(2_000))" }.joined(
            separator: "\n"
        )
        FileHandle.standardError.write(Data("[\(name)] \(reason)\n\(kept)\n".utf8))
    }

    private func takeDown() async {
        for worker in workers.withLock({ $0 }) { worker.kill() }
        try? await simulator.stop()
        await database.close()
        if let servers {
            await servers.remove()
            try? FileManager.default.removeItem(at: folder)
            return
        }
        if let server = try? Self.environment("TRUNKLINE_TEST_DATABASE_URL"),
            let admin = try? await PostgresSession.open(url: server, applicationName: "trunkline test")
        {
            try? await admin.script("drop database if exists \(name) with (force)")
            await admin.close()
        }
        _ = try? await Self.run(rabbitControl, ["delete_vhost", name])
        try? FileManager.default.removeItem(at: folder)
    }
}
