import PostgresDriver
import TrunklineLedgerModel

@testable import TrunklineEngine

/// A statement on its way.
final class SimStatement {
    let name: String
    /// Its effect; yields what hands the answer over.
    let execute: (LedgerModel) -> () -> Void
    /// Told when it failed.
    let fail: (PostgresError) -> Void
    /// Its effect is committed.
    var isExecuted = false

    init(_ name: String, fail: @escaping (PostgresError) -> Void, _ execute: @escaping (LedgerModel) -> () -> Void) {
        self.name = name
        self.fail = fail
        self.execute = execute
    }
}

/// The server's side of a connection.
final class SimSession {
    enum Remains { case nothing, someOfIt }

    let pid: Int32
    private let database: SimDatabase
    private let world: World
    private let process: SimProcess
    private weak var connection: SimConnection?
    private var isOpen = true
    /// The client's socket is gone, and the server does not know it yet.
    private var isOrphan = false
    private var lastArrival: World.Time = 0
    private var freeAt: World.Time = 0
    private var lastReply: World.Time = 0
    /// Not executed yet, in order.
    private var queue: [SimStatement] = []
    /// A transaction that its frozen client keeps open.
    private var isStuck = false

    init(_ database: SimDatabase, _ process: SimProcess, _ connection: SimConnection) {
        self.database = database
        self.connection = connection
        self.process = process
        world = database.world
        database.lastPid += 1
        pid = database.lastPid
        database.sessions[pid] = self
    }

    /// Whether it waits for its client.
    var isWaiting: Bool { queue.isEmpty && !isStuck }

    // MARK: Statements

    func submit(_ statement: SimStatement) {
        guard isOpen, !isOrphan else { return }
        lastArrival = max(lastArrival, world.now + latency())
        let start = max(lastArrival, freeAt, database.stalledUntil)
        freeAt = start + world.any(200...4_000)
        queue.append(statement)
        world.at(freeAt) { [self] in executeNext() }
    }

    private func latency() -> World.Time { world.chance(0.02) ? world.any(5_000...120_000) : world.any(100...2_000) }

    private func executeNext() {
        guard isOpen, !isStuck, let statement = queue.first else { return }
        if database.stalledUntil > world.now {
            return world.at(database.stalledUntil + world.any(0...50_000)) { [self] in executeNext() }
        }
        queue.removeFirst()
        execute(statement)
    }

    /// libpq does not read any more, the server cannot write, and a transaction stays open with the fence rows that it
    /// locked.
    func stick() {
        let owned = database.model.shards.indices.filter { database.model.shards[$0].owner == connection?.boot }.map {
            Int32($0)
        }
        guard isOpen, !isOrphan, !owned.isEmpty else { return }
        world.hit(.frozenLocks, "worker \(process.number)")
        isStuck = true
        database.locked.append((Set(owned), self))
    }

    /// The client reads again.
    func goOn() {
        guard isOpen, isStuck else { return }
        isStuck = false
        database.locked.removeAll { $0.session === self }
        // The queue still holds it, with all that came behind it.
        for _ in queue { world.after(world.any(100...2_000)) { [self] in executeNext() } }
    }

    private func execute(_ statement: SimStatement) {
        let deliver: () -> Void
        if world.chance(database.errorRate), statement.name != "shard_count" {
            world.hits[.statementError] += 1
            let state = world.any(of: ["55P03", "40P01", "57014"])
            world.trace("\(statement.name) failed with \(state)")
            deliver = { statement.fail(PostgresError(code: .server, sqlState: state, message: "simulated")) }
        } else {
            deliver = statement.execute(database.model)
            statement.isExecuted = true
            world.trace("worker \(process.number) \(statement.name)\(isOrphan ? " (orphan)" : "")")
        }
        if isOrphan {
            world.hit(.lateEffect, "worker \(process.number): \(statement.name)")
            return
        }
        if world.chance(database.replyLossRate) {
            end(executing: .nothing)
            return
        }
        lastReply = max(lastReply, world.now + latency())
        world.at(lastReply) { [self, weak connection] in
            guard isOpen, !isOrphan, let connection else { return }
            connection.wire.toClient { [process, weak connection] in
                process.input { connection?.completed(statement, deliver) }
            }
        }
    }

    // MARK: The end

    /// The server ends the session, or the network does; the client learns of it a little later.
    ///
    /// - Parameter remains: whether what had arrived may still be executed although nobody reads the answer.
    func end(executing remains: Remains) {
        guard isOpen, !isOrphan else { return }
        world.hits[.breakBefore] += queue.isEmpty ? 0 : 1
        database.locked.removeAll { $0.session === self }
        isStuck = false
        database.lastTrouble = world.now
        if remains == .someOfIt, !queue.isEmpty {
            isOrphan = true
            queue = Array(queue.prefix(Int(world.any(1...Int64(queue.count)))))
            let delay = world.chance(0.5) ? 0 : world.any(0...2_000_000)
            for _ in queue { world.after(delay + world.any(0...5_000)) { [self] in executeNext() } }
            world.after(delay + 50_000) { [self] in forget() }
        } else {
            forget()
        }
        world.after(world.any(0...300_000)) { [process, weak connection, pid] in
            connection?.wire.toClient {
                process.input { connection?.lost(pid, "the server closed the connection") }
            }
        }
    }

    /// The client is gone: what it had sent is executed or not.
    func clientWent() {
        guard isOpen, !isOrphan else { return }
        database.locked.removeAll { $0.session === self }
        isStuck = false
        guard !queue.isEmpty, world.chance(0.5) else { return forget() }
        isOrphan = true
        for _ in queue { world.after(world.any(0...5_000)) { [self] in executeNext() } }
        world.after(10_000) { [self] in forget() }
    }

    private func forget() {
        isOpen = false
        queue = []
        database.sessions[pid] = nil
    }
}

/// What lies between one worker and the database. Dead in a direction, it keeps what is said, as TCP does, until it is whole.
final class SimWire {
    private var dead: (toServer: Bool, toClient: Bool) = (false, false)
    private var waiting: (toServer: [() -> Void], toClient: [() -> Void]) = ([], [])

    var isDead: Bool { dead.toServer || dead.toClient }

    func toServer(_ body: @escaping () -> Void) { dead.toServer ? waiting.toServer.append(body) : body() }
    func toClient(_ body: @escaping () -> Void) { dead.toClient ? waiting.toClient.append(body) : body() }

    func die(toServer: Bool, toClient: Bool) { dead = (toServer, toClient) }

    func heal() {
        dead = (false, false)
        let late = waiting
        waiting = ([], [])
        for body in late.toServer + late.toClient { body() }
    }
}

/// The client's side: what the worker sees as its connection.
final class SimConnection: ModelSession {
    private enum Phase { case idle, connecting, ready, waiting, closed }

    private let process: SimProcess
    private let world: World
    private let database: SimDatabase
    let boot: BootID
    let wire: SimWire
    private var phase = Phase.idle
    private var lastNews: ContinuousClock.Instant?
    private var session: SimSession?
    private var inFlight: [SimStatement] = []
    private var failures = 0
    var onConnect: ((PostgresBackend) -> Void)?
    var onDisconnect: ((PostgresError) -> Void)?
    var onConnectFailure: ((PostgresError) -> Void)?
    /// Told of the jobs that a claim, and of the keys that a take, is about to begin.
    var onBegin: ((_ claims: [Int64], _ takes: [String]) -> Void)?

    init(_ process: SimProcess, _ database: SimDatabase, boot: BootID, wire: SimWire) {
        self.process = process
        self.wire = wire
        self.database = database
        self.boot = boot
        world = process.world
        process.whenDead { [weak self] in self?.hangUp() }
    }

    /// The server learns of it when the wire lets it.
    private func hangUp() {
        if let session { wire.toServer { session.clientWent() } }
    }

    var silentSince: ContinuousClock.Instant? { inFlight.isEmpty ? nil : lastNews }

    var isConnected: Bool { phase == .ready }

    /// The server's side, while there is one: for whoever breaks it.
    var liveSession: SimSession? { phase == .ready ? session : nil }

    func connect() {
        guard phase == .idle else { return }
        tryToConnect()
    }

    private func tryToConnect() {
        phase = .connecting
        process.output { [self] in
            world.after(world.any(2_000...20_000)) { [self] in
                guard process.state != .dead else { return }
                if wire.isDead {
                    return world.after(5 * World.second) { [self] in
                        process.input { [self] in if phase == .connecting { tryLater() } }
                    }
                }
                if world.now < database.downUntil || world.now < database.stalledUntil {
                    return process.input { [self] in
                        guard phase == .connecting else { return }
                        tryLater()
                    }
                }
                let session = SimSession(database, process, self)
                process.input { [self] in
                    guard phase == .connecting else { return session.clientWent() }
                    self.session = session
                    phase = .ready
                    failures = 0
                    onConnect?(PostgresBackend(pid: session.pid, start: Int64(session.pid)))
                }
            }
        }
    }

    private func tryLater() {
        phase = .waiting
        failures += 1
        process.after(.milliseconds(world.any(100...min(3_000, 100 << Int64(min(failures, 5)))))) { [weak self] in
            guard let self, self.phase == .waiting else { return }
            self.tryToConnect()
        }
    }

    func take(_ request: TakeRequest, _ done: @escaping LedgerReply<[TakeAnswer]>) {
        let batch = request.batch
        onBegin?([], zip(batch.key, batch.fast).compactMap { key, isFast in isFast == true ? key : nil })
        perform("take", done) { .success($0.take(request)) }
    }

    func claim(_ request: ClaimRequest, _ done: @escaping LedgerReply<[ClaimAnswer]>) {
        onBegin?(request.jobs, [])
        perform("claim", done) { .success($0.claim(request)) }
    }

    func perform<Value>(
        _ name: String,
        _ done: @escaping LedgerReply<Value>,
        _ body: @escaping (LedgerModel) -> Result<Value, PostgresError>
    ) {
        guard phase == .ready, let session else {
            process.after(.zero) {
                done(.failure(PostgresError(code: .notConnected, message: "there is no connection to the database")))
            }
            return
        }
        let entry = SimStatement(name, fail: { done(.failure($0)) }) { model in
            let answer = body(model)
            return { done(answer) }
        }
        if inFlight.isEmpty { lastNews = world.instant }
        inFlight.append(entry)
        process.output { [wire] in wire.toServer { session.submit(entry) } }
    }

    func completed(_ statement: SimStatement, _ deliver: () -> Void) {
        guard let index = inFlight.firstIndex(where: { $0 === statement }) else { return }
        precondition(index == 0, "answers come in order")
        inFlight.removeFirst()
        lastNews = world.instant
        deliver()
    }

    func lost(_ pid: Int32, _ reason: String) {
        guard phase == .ready, session?.pid == pid else { return }
        fail(reason)
        session = nil
        tryLater()
        onDisconnect?(PostgresError(code: .connectionLost, message: reason))
    }

    private func fail(_ reason: String) {
        let failed = inFlight
        inFlight = []
        for statement in failed {
            if statement.isExecuted { world.hit(.lostReply, "worker \(process.number): \(statement.name)") }
            statement.fail(PostgresError(code: .connectionLost, message: reason, outcomeUnknown: true))
        }
    }

    func drop(_ reason: String) {
        guard phase == .ready, let session else { return }
        process.output { [wire] in wire.toServer { session.clientWent() } }
        lost(session.pid, reason)
    }

    func close() {
        guard phase != .closed else { return }
        phase = .closed
        if let session { process.output { [wire] in wire.toServer { session.clientWent() } } }
        session = nil
        fail("the connection was closed")
    }
}
