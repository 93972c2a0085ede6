import Logging
import TrunklineCore
import TrunklineIntegrations
import TrunklineLedgerModel

@testable import TrunklineEngine

/// One seed: workers as they are, in a world that goes wrong.
final class Simulation {
    struct Report: Sendable {
        let seed: UInt64
        let violations: [String]
        let log: [String]
        let hits: [Int]
        let digest: UInt64
        let events: Int
        /// Virtual time at the end.
        let length: World.Time
    }

    let world: World
    let scenario: Scenario
    let database: SimDatabase
    let broker: SimBroker
    let api: SimAPI
    var processes: [SimProcess] = []
    private var connections: [(process: SimProcess, connection: SimConnection)] = []
    private var wires: [(process: SimProcess, wire: SimWire)] = []
    private let turnedOff: Set<Mechanism>
    private let rules: Rules
    private var workLeft: Int
    private let logger: Logger

    /// How long after the last fault everything must have ended.
    private static let patience: World.Time = 1_500 * World.second

    init(seed: UInt64, turnedOff: Set<Mechanism>, weakness: LedgerModel.Weakness?, isVerbose: Bool) {
        world = World(seed: seed)
        world.isVerbose = isVerbose
        self.turnedOff = turnedOff
        scenario = Scenario(world)
        database = SimDatabase(world: world, shardCount: scenario.shardCount, lines: scenario.lines)
        broker = SimBroker(world: world, shardCount: scenario.shardCount)
        api = SimAPI(world: world, remembersKeys: scenario.remembersKeys)
        workLeft = scenario.work.count
        database.model.weakness = weakness
        for line in scenario.lines { api.lines[line.id] = .init() }
        api.rates = scenario.api
        database.errorRate = scenario.errorRate
        database.replyLossRate = scenario.replyLossRate
        rules = Rules(world: world, scenario: scenario, database: database, api: api)
        let world = world
        logger = Logger(label: "simulation") { _ -> any LogHandler in
            isVerbose ? SimLog(world) : SwiftLogNoOpLogHandler()
        }
    }

    static func run(
        seed: UInt64,
        turnedOff: Set<Mechanism> = [],
        weakness: LedgerModel.Weakness? = nil,
        isVerbose: Bool = false
    ) -> Report {
        let simulation = Simulation(seed: seed, turnedOff: turnedOff, weakness: weakness, isVerbose: isVerbose)
        return simulation.run()
    }

    private func run() -> Report {
        for _ in 0..<scenario.workers {
            world.after(world.any(0...1_500_000)) { [self] in startWorker() }
        }
        for line in scenario.lines {
            world.trace(
                "\(line.id): shard \(line.hash % Int64(scenario.shardCount)), \(line.interval) ms, \(line.concurrency) at once, gap \(line.gap) ms"
            )
        }
        planWork()
        planTrouble()
        world.at(scenario.quietFrom) { [self] in becomeQuiet() }
        world.run(until: scenario.quietFrom + Self.patience) { world.now > scenario.quietFrom && isDone }
        if world.violations.isEmpty { rules.checkEnd(isDone: isDone, broker: broker) }
        let report = Report(
            seed: world.seed,
            violations: world.violations,
            log: world.log,
            hits: world.hits.all,
            digest: world.digest,
            events: world.eventCount,
            length: world.now
        )
        for process in processes { process.die() }
        world.end()
        return report
    }

    private var isDone: Bool {
        workLeft == 0 && database.jobs.allSatisfy { $0.isParked } && broker.isEmpty
    }

    // MARK: Workers

    private func startWorker() {
        var random = world.newGenerator()
        let boot = Worker.newBoot(using: &random)
        let process = SimProcess(
            world: world,
            number: processes.count,
            boot: boot,
            wallSkew: world.any(-200_000...200_000)
        )
        processes.append(process)
        let caller = SimCaller(process, api, maximumCalls: Int(world.any(of: [3, 16, 64])))
        caller.onLeave = { [rules] call in rules.left(call) }
        let wire = SimWire()
        wires.append((process, wire))
        func connection() -> SimConnection {
            let connection = SimConnection(process, database, boot: BootID(bytes: boot), wire: wire)
            connection.onBegin = { [rules, unowned process] claims, takes in
                rules.begins(claims, takes, by: process)
            }
            connections.append((process, connection))
            return connection
        }
        var ports = WorkerPorts(
            loop: process,
            http: caller,
            control: connection(),
            intake: connection(),
            settler: connection(),
            broker: SimBrokerLink(process, broker),
            publisher: SimPublisher(process, broker, lossRate: scenario.wakeLoss),
            random: Chance(random)
        )
        ports.boot = boot
        #if Faults
            ports.turnedOff = turnedOff
            var passed: [Step: Int] = [:]
            let crashes = scenario.crashes.filter { $0.worker == process.number }
            ports.onStep = { [self, weak process] step, times in
                guard let process, process.isRunning else { return }
                let before = passed[step, default: 0]
                passed[step] = before + times
                guard world.now < scenario.quietFrom,
                    let crash = crashes.first(where: {
                        $0.step == step && $0.count > before && $0.count <= before + times
                    })
                else { return }
                reached(crash, process)
            }
        #endif
        var configuration = WorkerConfiguration(
            databaseURL: "",
            amqpURL: "",
            masterKey: SimDatabase.masterKey,
            host: "simulated",
            version: "0",
            carriers: .standard
        )
        configuration.timing = scenario.timing
        configuration.loadSlice = Int(world.any(of: [1, 2, 5_000]))
        world.write("worker \(process.number) starts")
        let worker = Worker(configuration: configuration, ports: ports, logger: logger) { [weak process] result in
            process?.world.write("worker \(process?.number ?? -1) ended: \(result)")
            process?.die()
        }
        process.worker = worker
        process.input { worker.start() }
    }

    private func reached(_ crash: Scenario.Crash, _ process: SimProcess) {
        if crash.isFreeze {
            // What a process that freezes after its last look does when it thaws is beyond any program: the key decides.
            guard crash.step != .carried || api.remembersKeys else { return }
            world.hit(
                .freezeAtStep,
                "worker \(process.number) at \(crash.step.rawValue), \(crash.freezeFor / 1_000_000) s"
            )
            freeze(process, for: crash.freezeFor)
        } else {
            let fault: Fault =
                switch crash.step {
                case .accepted: .crashAccepted
                case .taken: .crashTaken
                case .claimed: .crashClaimed
                case .carried: .crashCarried
                case .asked, .refreshed, .marked: preconditionFailure("no carrier here begins quietly")
                case .answered: .crashAnswered
                case .settled: .crashSettled
                case .acked: .crashAcked
                }
            world.hit(fault, "worker \(process.number)")
            process.die()
            if world.chance(0.7) { world.after(world.any(100_000...5_000_000)) { [self] in startWorker() } }
        }
    }

    private func freeze(_ process: SimProcess, for span: World.Time?) {
        let keepsLocks = world.chance(0.5)
        // The second of three is the one that takes and claims.
        let mine = connections.filter { $0.process === process }
        let intake = mine.count > 1 ? mine[1].connection.liveSession : nil
        process.onFreeze = { if keepsLocks { intake?.stick() } }
        process.onThaw = { intake?.goOn() }
        process.freeze()
        if let span { world.after(span) { process.thaw() } }
        // The broker hears nothing any more and gives its messages to others.
        world.after(15 * World.second) { [broker] in
            guard process.state == .frozen else { return }
            for link in broker.links where link.process === process { link.serverLost() }
        }
    }

    /// A job of now, rather one that is in the air.
    private var someKey: String? {
        let near = database.jobs.filter { $0.state == .sending }
        let rows = near.isEmpty || world.chance(0.5) ? database.jobs : near
        return rows.isEmpty ? nil : world.any(of: rows).key
    }

    private var someRunning: SimProcess? {
        let running = processes.filter(\.isRunning)
        return running.isEmpty ? nil : world.any(of: running)
    }

    // MARK: What happens

    private func planWork() {
        for work in scenario.work {
            world.at(work.at) { [self] in
                workLeft -= 1
                rules.sending(work)
                let shard = Int(scenario.lines[work.line].hash % Int64(scenario.shardCount))
                switch work.way {
                case .shard, .shardAgain: publish(work, Route.shard(shard))
                case .intake: publish(work, Route.send)
                case .bulk: publish(work, Route.bulk)
                case .row: accept(work, shard)
                }
            }
        }
    }

    /// The producer repeats until it has a confirm: the broker has it at least once.
    private func publish(_ work: Scenario.Work, _ route: String) {
        if world.now < broker.downUntil {
            workLeft += 1
            return world.at(broker.downUntil + world.any(0...500_000)) { [self] in
                workLeft -= 1
                publish(work, route)
            }
        }
        rules.answered(work)
        let body = work.job.encode()
        broker.publish(body, route: route)
        if work.way == .shardAgain { broker.publish(body, route: route) }
    }

    /// A row first: the gateway's way.
    private func accept(_ work: Scenario.Work, _ shard: Int) {
        if world.now < database.downUntil {
            workLeft += 1
            return world.at(database.downUntil + world.any(0...500_000)) { [self] in
                workLeft -= 1
                accept(work, shard)
            }
        }
        var batch = TakeBatch()
        batch.append(work.job, requestBytes: EZWhatsApp.textRequestBody(work.job), fast: false)
        _ = database.model.take(TakeRequest(batch: batch, owner: nil))
        rules.answered(work)
        if world.chance(scenario.wakeLoss) || world.now < broker.downUntil {
            world.hits[.wakeLost] += 1
        } else {
            broker.publish(WakeUp(job: JobID(1), attempt: AttemptNumber(0)).encode(), route: Route.shard(shard))
        }
    }

    private func sometime(_ count: Int, _ body: @escaping () -> Void) {
        for _ in 0..<count { world.at(world.any(1_000_000...scenario.quietFrom - World.second), body) }
    }

    private func planTrouble() {
        sometime(scenario.kills) { [self] in
            guard let process = someRunning else { return }
            world.hit(.kill, "worker \(process.number)")
            process.die()
            if world.chance(0.7) { world.after(world.any(100_000...5_000_000)) { [self] in startWorker() } }
        }
        sometime(scenario.freezes) { [self] in
            guard let process = someRunning else { return }
            let seconds: World.Time? = world.any(of: [1, 4, 8, 16, 24, 55, nil])
            world.hit(.freeze, "worker \(process.number) for \(seconds.map(String.init) ?? "ever") s")
            freeze(process, for: seconds.map { $0 * World.second })
        }
        sometime(scenario.drains) { [self] in
            guard let process = someRunning else { return }
            world.hit(.drain, "worker \(process.number)")
            process.drain()
        }
        sometime(scenario.joins) { [self] in
            world.hits[.join] += 1
            startWorker()
        }
        sometime(scenario.breaks) { [self] in
            let open = connections.compactMap(\.connection.liveSession)
            guard !open.isEmpty else { return }
            world.any(of: open).end(executing: world.chance(0.6) ? .someOfIt : .nothing)
        }
        sometime(scenario.databaseCrashes) { [self] in
            let span = world.any(200_000...4_000_000)
            world.hit(.databaseCrash, "for \(span / 1_000) ms")
            database.downUntil = world.now + span
            for session in connections.compactMap(\.connection.liveSession) { session.end(executing: .nothing) }
        }
        sometime(scenario.stalls) { [self] in
            let span = world.any(1_000_000...9_000_000)
            world.hit(.databaseStall, "for \(span / 1_000) ms")
            database.stalledUntil = world.now + span
            database.lastTrouble = world.now + span
        }
        for _ in 0..<scenario.clockJumps {
            // Most of all while attempts of one owner are watched by the next.
            let at = world.any(5_000_000...scenario.quietFrom - 2 * World.second)
            world.at(at) { [self] in someRunning?.drain() }
            world.at(at + world.any(0...4_000_000)) { jumpClock() }
        }
        func jumpClock() {
            let jump: Int64 = world.any(of: [-20_000_000, 8_000_000, 20_000_000])
            world.hit(.clockJump, "by \(jump / 1_000_000) s")
            database.clockOffset += jump
        }
        sometime(scenario.brokerCrashes) { [self] in broker.crash(for: world.any(200_000...4_000_000)) }
        sometime(scenario.brokerBreaks) { [self] in
            let links = broker.links.filter(\.isConnected)
            guard !links.isEmpty else { return }
            let link = world.any(of: links)
            if world.chance(0.5), let channel = link.someChannel {
                channel.breakAlone()
            } else {
                world.hit(.brokerBreak, "worker \(link.process.number)")
                link.serverLost()
            }
        }
        sometime(scenario.outages) { [self] in
            let line = world.any(of: scenario.lines).id
            api.set(line, world.any(of: [.transient, .human, .unclear]))
            world.after(world.any(500_000...25_000_000)) { [self] in api.set(line, .sendable) }
        }
        sometime(scenario.providerOutages) { [self] in
            world.hit(.providerOutage)
            api.isAway = true
            world.after(world.any(8_000_000...20_000_000)) { [self] in api.isAway = false }
        }
        sometime(scenario.holds) { [self] in
            let index = Int(world.any(0...Int64(scenario.lines.count - 1)))
            world.hit(.hold, scenario.lines[index].id)
            database.heldSince[scenario.lines[index].id] = world.now
            database.model.changeLane(index) { $0.isHeld = true }
            world.after(world.any(500_000...15_000_000)) { [self] in
                world.write("\(scenario.lines[index].id) resumed")
                database.model.changeLane(index) { $0.isHeld = false }
            }
        }
        // One worker's way to the database is dead, in one direction or both, while its way to the broker works.
        sometime(scenario.cuts) { [self] in
            let candidates = wires.filter { $0.process.isRunning && !$0.wire.isDead }
            guard !candidates.isEmpty else { return }
            let (process, wire) = world.any(of: candidates)
            let ways = world.any(of: [(true, true), (true, true), (true, false), (false, true)])
            let span = world.any(of: [2, 6, 12, 30]) * World.second
            world.hit(.wireDead, "worker \(process.number) for \(span / World.second) s, \(ways)")
            wire.die(toServer: ways.0, toClient: ways.1)
            process.databaseCuts.append((world.now, world.now + span))
            database.lastTrouble = max(database.lastTrouble, world.now + span)
            world.after(span) { wire.heal() }
        }
        sometime(scenario.cancels) { [self] in if let key = someKey { database.cancel(key) } }
        sometime(scenario.reschedules) { [self] in
            guard let key = someKey else { return }
            rules.rescheduled(key)
            database.reschedule(key, to: database.model.now + world.any(-1_000_000...8_000_000))
        }
    }

    /// From now on nothing goes wrong any more: what was accepted must end.
    private func becomeQuiet() {
        world.write("quiet from now on")
        api.rates = SimAPI.Rates()
        api.isAway = false
        database.errorRate = 0
        database.replyLossRate = 0
        for line in scenario.lines where api.lines[line.id]?.health != .sendable { api.set(line.id, .sendable) }
        for index in scenario.lines.indices where database.model.lanes[index].isHeld {
            database.model.changeLane(index) { $0.isHeld = false }
        }
        if !processes.contains(where: { $0.isRunning && !$0.isDraining }) { startWorker() }
    }
}

/// The worker's own log as part of the seed's.
private struct SimLog: LogHandler, @unchecked Sendable {
    // Unchecked: a worker logs on the thread of its world.
    let world: World
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info
    init(_ world: World) { self.world = world }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }
    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        world.write("  log: \(event.message) \(all.map { "\($0)=\($1)" }.joined(separator: " "))")
    }
}
