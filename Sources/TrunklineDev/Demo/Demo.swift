internal import Foundation
internal import TestKit

/// The whole way in about a minute: orders of a CSV and of two shops' webhooks become notices, sent once each by two worker
/// processes of which one is killed halfway, as is one of two gateways; and what becomes of orders is told to two destinations
/// of which one is down for a while.
///
/// It does only what a user of Trunkline could type: it is an example, too.
package struct Demo: Sendable {
    private let rooms: Rooms
    private let program: String

    /// - Parameter program: the built trunkline.
    package init(_ rooms: Rooms, program: String) {
        self.rooms = rooms
        self.program = program
    }

    private static let orders = DemoProof.Orders.demo
    private static let lines = ["acme", "bolt"].flatMap { workspace in
        (1...10).map { "\(workspace)-" + ($0 < 10 ? "0\($0)" : "\($0)") }
    }

    /// That are to be sent.
    private static let notices = orders.notices + webhooks

    var checkout: Checkout { rooms.checkout }
    var folder: String { rooms.demo }
    private var servers: ProductServers { ProductServers(folder: folder, checkout: checkout) }
    private var environment: [String: String] {
        ProcessInfo.processInfo.environment
            .merging(EnvironmentFile.variables(of: servers.environmentFile)) { $1 }
    }

    /// - Throws: ``KitError`` when a step fails, or a figure of the proof is not as it must be.
    package func run() async throws {
        // What an earlier demo left.
        try await rooms.clearDemo()
        removeFiles(folder)
        try makeFolder(folder + "/processes")
        try await servers.startSayingSo(checkout)
        let simulator = try await prepare()
        let began = ContinuousClock.now
        try await startWorker(1)
        try await startWorker(2)
        try await enqueueEvents(simulator)
        let enqueued = try await enqueue()
        let setup = try await openShops()
        async let posting = post(setup)
        try await killWorker(simulator)
        let posted = try await posting
        try await waitUntilDrained(simulator)
        let seconds = max(1, (ContinuousClock.now - began).components.seconds)
        Terminal.log(
            "Drained after \(seconds) s: \(Int64(Self.notices) / seconds) notices a second, as the lines' pace allows"
        )
        try await prove(enqueued, posted)
    }

    /// What keeps running, and how to look at it.
    package func lookAround() {
        guard FileManager.default.fileExists(atPath: servers.environmentFile) else { return }
        Terminal.say(
            """

            Everything is still running. To look around:
                source .dev/demo/env
                \(checkout.relative(program)) status
                \(checkout.relative(program)) line list
                psql "$TRUNKLINE_DATABASE_URL"
                .dev/demo/rabbitmqctl -p trunkline list_queues
                curl -s http://127.0.0.1:\(PortLeases.held("simulator", of: folder).map { "\($0)" } ?? "PORT")/__sim/report
            Logs and the simulator's journal are in .dev/demo/. ./dev down stops it all.
            """
        )
    }

    // MARK: Steps

    /// Returns the simulator's port.
    private func prepare() async throws -> UInt16 {
        Terminal.log("Preparing the database, the queues, \(Self.lines.count) lines and two destinations")
        try await step("migrate", ["migrate", "--shards", "16"])
        try await step("topology", ["topology", "apply"])
        let port = try await PortLeases().port("simulator", of: folder)
        try await start(
            "simulator",
            ["simulate", "ezwhatsapp", "--listen", "127.0.0.1:\(port)", "--journal", folder + "/journal.ndjson"]
                + ["--set", "openTokens=true"]
        )
        try await eventually("the simulator; see .dev/demo/simulator.log", within: .seconds(20)) {
            PortLeases.isListening(port)
        }
        // As slow as a real line, so that there are always calls in the air.
        try await ask(port, "POST", "faults", #"{"kind":"latency","minMs":150,"maxMs":350}"#)
        let token = folder + "/token"
        for line in Self.lines + Self.shops.map(\.line) {
            try writePrivately("ezw_line_\(line)", to: token)
            try await step(
                "lines",
                ["line", "add", line, "--workspace", String(line.prefix { $0 != "-" }), "--token-file", token]
                    + ["--base-url", "http://127.0.0.1:\(port)/api/v1", "--pace", "5/s", "--concurrency", "4"]
                    + ["--recipient-gap", "0"]
            )
        }
        removeFiles(token)
        try await addDestinations(port)
        return port
    }

    /// A command of the product, with what it says in a log.
    func step(_ name: String, _ arguments: [String]) async throws {
        let log = "\(folder)/\(name).log"
        let child = try ChildProcess(program, arguments, environment: environment, output: log, errors: log)
        guard await end(of: child) == 0 else { throw failure(name) }
    }

    /// A command of the product; returns what it prints.
    func say(_ arguments: [String]) async throws -> String {
        try await Command.run(program, arguments, environment: environment)
            .requireSuccess("trunkline \(arguments.prefix(2).joined(separator: " "))").output
    }

    func failure(_ name: String) -> KitError {
        Terminal.say(tail(of: "\(folder)/\(name).log"))
        return KitError("the demo stopped; see .dev/demo/\(name).log.")
    }

    func start(_ name: String, _ arguments: [String]) async throws {
        try await record(name).start(program, arguments, environment: environment, log: "\(folder)/\(name).log")
    }

    func record(_ name: String) -> ProcessRecord { ProcessRecord("\(folder)/processes/\(name).pid") }

    private func startWorker(_ number: Int) async throws {
        try await start("worker-\(number)", ["worker"])
        let pid = record("worker-\(number)").pid
        Terminal.note("worker \(number) is process \(pid.map { "\($0)" } ?? "that has ended")")
    }

    private func enqueue() async throws -> DemoProof.Enqueued {
        Terminal.log("Enqueuing the orders of demo/orders.csv")
        // Its progress is for whoever watches; where nobody does, what it says is shown at its end.
        let errors = Terminal.isInteractive ? "/dev/stderr" : folder + "/enqueue.log"
        let child = try ChildProcess(
            program,
            ["enqueue", checkout.root + "/demo/orders.csv", "--map", checkout.root + "/demo/orders.yaml", "--json"],
            environment: environment,
            output: folder + "/enqueue.json",
            errors: errors
        )
        let status = await end(of: child)
        Terminal.write(text(of: folder + "/enqueue.log").utf8, to: 2)
        // Rows with something wrong are an answer, 3, not a failure.
        guard status == 0 || status == 3 else { throw KitError("enqueue failed with exit code \(status); see above.") }
        return try DemoProof.Enqueued(output: text(of: folder + "/enqueue.json"))
    }

    private func end(of child: ChildProcess) async -> Int32 {
        await withTaskCancellationHandler {
            await child.end()
        } onCancel: {
            child.send(SIGTERM)
        }
    }

    private func killWorker(_ simulator: UInt16) async throws {
        while try await messages(simulator) < Self.orders.notices * 2 / 5 {
            try await progress(simulator)
            try await Task.sleep(for: .seconds(1))
        }
        // Held answers: every call that is in the air now stays there until the worker is gone. What had been answered before
        // gets a second to be recorded, so that the proof below can demand that no answer was wasted.
        try await ask(simulator, "POST", "answers/hold")
        // Of 20 lines with up to 4 calls each; enough for both workers to have many.
        try await eventually("calls in the air to kill a worker in", within: .seconds(30), every: .milliseconds(50)) {
            try await number("count", of: ask(simulator, "GET", "inflight?waiting=hold")) >= 40
        }
        try await Task.sleep(for: .seconds(1))
        let worker = record("worker-1")
        guard let pid = worker.pid else { throw failure("worker-1") }
        try await worker.kill()
        try await ask(simulator, "POST", "answers/release")
        endProgress()
        Terminal.log(
            "Killed worker 1 (SIGKILL to process \(pid)) with calls in the air; the others take over, and it starts again"
        )
        try await startWorker(1)
    }

    private func waitUntilDrained(_ simulator: UInt16) async throws {
        let deadline = ContinuousClock.now + .seconds(300)
        while true {
            let left = try await unfinished()
            try await progress(simulator)
            guard left > 0 else { break }
            guard ContinuousClock.now < deadline else {
                throw KitError(
                    "\(left) jobs are still unfinished after 300 s; trunkline why JOB says why. Logs: .dev/demo/."
                )
            }
            try await Task.sleep(for: .seconds(1))
        }
        endProgress()
    }

    // MARK: Looking

    @discardableResult
    func ask(_ port: UInt16, _ method: String, _ path: String, _ body: String = "") async throws -> String {
        try await SmallRequest.send(method, "/__sim/" + path, body, to: port)
    }

    private func messages(_ simulator: UInt16) async throws -> Int {
        try number("messages", of: await ask(simulator, "GET", "report"))
    }

    private func number(_ name: String, of document: String) throws -> Int {
        guard let number = try Self.member(name, of: document) as? Int else {
            throw KitError("the simulator does not say \(name)")
        }
        return number
    }

    /// With what the simulator's answer about a hook says that it is signed.
    static func secret(of hook: String) throws -> String {
        guard let secret = try member("secret", of: hook) as? String else {
            throw KitError("the simulator does not say with what a hook is signed")
        }
        return secret
    }

    private static func member(_ name: String, of document: String) throws -> Any? {
        (try JSONSerialization.jsonObject(with: Data(document.utf8)) as? [String: Any])?[name]
    }

    private struct Status: Decodable { let backlog: [String: Int] }

    private func unfinished() async throws -> Int {
        let said = try await say(["status", "--json"])
        return try JSONDecoder().decode(Status.self, from: Data(said.utf8)).backlog.values.reduce(0, +)
    }

    private func progress(_ simulator: UInt16) async throws {
        let sent = try await messages(simulator)
        if Terminal.isInteractive {
            let words = String(repeating: " ", count: max(0, 5 - "\(sent)".count)) + "\(sent)"
            Terminal.write("\r\u{1B}[K    \(words) of \(Self.notices) sent".utf8, to: 2)
        } else if Moment.wall / 1_000_000 % 5 == 0 {
            Terminal.note("\(sent) of \(Self.notices) sent")
        }
    }

    private func endProgress() {
        if Terminal.isInteractive { Terminal.write("\n".utf8, to: 2) }
    }

    // MARK: Proving

    private struct Check: Decodable {
        struct Totals: Decodable { let sent: Int }
        struct Finding: Decodable {}
        let totals: Totals
        let findings: [Finding]
    }

    private func prove(_ enqueued: DemoProof.Enqueued, _ posted: Posted) async throws {
        let said = try await Command.run(program, ["check", "--json"], environment: environment)
        try writePrivately(said.output, to: folder + "/check.json")
        if said.status != 0 { Terminal.note("trunkline check found something; see .dev/demo/check.json") }
        let check = try JSONDecoder().decode(Check.self, from: Data(said.output.utf8))
        let orders = [checkout.root + "/demo/keys.py", checkout.root + "/demo/orders.csv", folder + "/enqueue.json"]
        let keys = try await Command.run("/usr/bin/python3", orders).requireSuccess("demo/keys.py").output
        try writePrivately(keys, to: folder + "/keys.txt")
        let journal = try DemoJournal(text(of: folder + "/journal.ndjson"))
        try writePrivately(journal.sent.sorted().map { $0 + "\n" }.joined(), to: folder + "/sent.txt")
        let proof = DemoProof(
            orders: Self.orders,
            shops: DemoProof.Shops(webhooks: Self.webhooks, posted: posted.posted, keys: Set(posted.keys)),
            journal: journal,
            keys: Set(keys.split(separator: "\n").map(String.init)),
            enqueued: enqueued,
            events: Self.events,
            sentByCheck: check.totals.sent,
            findings: check.findings.count
        )
        Terminal.write(proof.table.utf8, to: 1)
        if !proof.hasCallInTheAir {
            Terminal.note("no call was in the air when the worker was killed: this run proves less than it should.")
        }
        if posted.again == 0 {
            Terminal.note("no post failed when the gateway was killed: this run proves less than it should.")
        }
        if !proof.wasSomebodyDown { Terminal.note("no event was turned away: this run proves less than it should.") }
        guard proof.failures == 0 else {
            throw KitError(
                "\(proof.failures) figures are not as they must be; everything is in .dev/demo/ until the next demo."
            )
        }
        Terminal.log("All as it must be: every notice and every event once.")
    }
}
