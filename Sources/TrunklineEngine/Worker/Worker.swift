internal import Glibc
internal import Logging
internal import PostgresDriver
internal import RabbitDriver
internal import TrunklineCore
internal import TrunklineIntegrations

/// One worker: take → claim → carry → settle, for the shards it owns. Lives on its loop's thread; nothing here blocks.
///
/// The files beside this one hold one aspect each: `Worker+Shards` (who owns what), `Worker+Take`, `Worker+Claim`,
/// `Worker+Carry` (call and preflight), `Worker+Settle`, `Worker+Lines`. PostgreSQL decides everything; what is in memory
/// is a copy that may be thrown away and loaded again at any time (`reload`).
///
/// Every turn of the loop ends in `pump`: what arrived while the previous statement was under way is the next batch.
final class Worker {
    typealias Instant = ContinuousClock.Instant

    /// Where a shard stands with this worker. Exits: loading → owned → leaving → (gone); any → (gone) when it is lost.
    enum ShardPhase {
        /// The fence is ours; its rows are being loaded.
        case loading
        /// Rows are loaded, the queue is consumed.
        case owned
        /// Being given up: nothing is claimed any more, what was delivered is taken and acknowledged, then it is released.
        case leaving
    }

    final class Shard {
        let number: Int32
        var fence: Int64
        var phase = ShardPhase.loading
        var queue: ConsumedQueue?
        /// Rises with every load, so that the reply of an outdated one is recognised.
        var generation: UInt64 = 0
        /// What was read so far, while it is being loaded.
        var loading: Loading?
        init(number: Int32, fence: Int64) {
            self.number = number
            self.fence = fence
        }
    }

    /// A line as configured. All lines of the install are known to every worker.
    struct Line {
        let id: String
        let lane: Int32
        let shard: Int32
        let revision: Int64
        let base: EZWhatsApp.BaseURL?
        let token: EZWhatsApp.Token?
        /// Why the line cannot be used as configured; nil when it can.
        let fault: String?
        let pace: Pace
        let dailyCap: Int32?
        let isRemoved: Bool
        let isHeld: Bool
        /// When the operator's hold ends by itself; nil: it does not.
        let holdEnds: Instant?

        func isOnHold(at now: Instant) -> Bool {
            isHeld && (holdEnds.map { $0 > now } ?? true)
        }
    }

    /// What the owner keeps of a lane with work.
    final class Lane {
        let number: Int32
        let shard: Int32
        var queue: LaneQueue
        var gate: Gate
        /// The gate's word and its number of probes as last written to lane_state; nil when that is not known.
        var writtenGate: Gate.Word?
        var writtenProbes = 0
        /// Since when the line is held, also by former owners, and whether that was said when it became long.
        var heldSince: Instant?
        var isHoldTold = false
        /// How the calls of the line went lately.
        var record = CallRecord()
        /// The line has sent what it may today; until its next midnight.
        var cappedUntil: Instant?
        var nextLook: Instant?
        init(number: Int32, shard: Int32, queue: LaneQueue, gate: Gate) {
            self.number = number
            self.shard = shard
            self.queue = queue
            self.gate = gate
        }

        func isCapped(at now: Instant) -> Bool { cappedUntil.map { $0 > now } ?? false }
    }

    /// An attempt of ours, from the commit of its claim to the commit of its settlement.
    struct Call {
        let job: Int64
        let attempt: Int32
        let tries: Int32
        let lane: Int32
        let line: String
        let person: Int64
        let place: Int64
        let jobClass: JobClass
        let isStamped: Bool
        var isSuspect = false
        let key: IdempotencyKey
        let request: [UInt8]
        let sendBefore: Int64?
        /// Until when it may go on, as far as the gate knew when it began.
        var gateOpenUntil: Instant
        /// Taken before the claim was sent: the lease counts from here.
        let claimSent: Instant
        var hasOutcome = false
    }

    /// A job that waits for its next try, as its wake-up from a tier finds it.
    struct RetryWait {
        let lane: Int32
        let person: Int64
        let attempt: Int32
    }

    /// Another worker's attempt that this owner waits for.
    struct ForeignAttempt {
        let attempt: Int32
        let lane: Int32
        let person: Int64
        /// Since when it was seen expired, without a break of the database connection.
        var expiredSince: Instant?
    }

    let configuration: WorkerConfiguration
    let timing: WorkerConfiguration.Timing
    let loop: any WorkerLoop
    let log: Logger
    /// Random per boot: names the owner in fences, leases and heartbeats.
    let boot: [UInt8]
    let bootText: String
    var bootID: BootID { BootID(bytes: boot) }
    let http: any HTTPCaller
    let control: any FleetLedger
    let intake: any JobLedger
    let settler: any OutcomeLedger
    let broker: any BrokerLink
    let publisher: any WakePublisher
    let upkeep: (any FleetUpkeep)?
    #if Faults
        private let onStep: ((Step, Int) -> Void)?
        private let turnedOff: Set<Mechanism>
    #endif
    var random: Chance
    let onStopped: (Result<Void, WorkerError>) -> Void

    // The fleet.
    var shardCount: Int32 = 0
    var fleet: Fleet<BootID>
    var backends: [ObjectIdentifier: PostgresBackend] = [:]
    /// When the last good renewal was *sent*.
    var renewedAt: Instant?
    var renewalUnderWay = false
    var renewalSent: Instant?
    var judgeIsFit = false
    var lookUnderWay = false
    var acquiring = false
    var shards: [Int32: Shard] = [:] { didSet { orderedShards = nil } }
    private var orderedShards: [Shard]?
    /// By number: whatever is done with several shards is done in one order, so that a simulated run can be repeated.
    var shardsInOrder: [Shard] {
        if let orderedShards { return orderedShards }
        let ordered = shards.values.sorted { $0.number < $1.number }
        orderedShards = ordered
        return ordered
    }
    var ownersSeen: [Int32: ShardRow] = [:]
    var lastUpkeep: Instant?
    var brokerHealth = BrokerHealth()
    /// Owners of shards that have no heartbeat row, and since when that was seen.
    var strangers: [BootID: Instant] = [:]

    // Lines and lanes.
    var lines: [String: Line] = [:]
    var lineOfLane: [Int32: String] = [:]
    var shardOfLane: [Int32: Int32] = [:]
    var lanesOfShard: [Int32: [Int32]] = [:]
    var lineRevision: Int64 = 0
    /// Lines whose rows are read again although nobody changed them.
    var linesToReread: Set<String> = []
    var linesLoaded = false
    var lanes: [Int32: Lane] = [:]
    /// Lanes to look at in this turn.
    var dueLanes: Set<Int32> = []
    /// Lanes that could use a call slot.
    var turns = Rotation<Int32>()
    /// Lanes with scheduled jobs whose time has come.
    var placing = Rotation<Int32>()
    var placeUnderWay = false
    /// Shards and new lines whose rows wait to be read, those whose rows are being read, and those that are read but for what
    /// their former owner did last.
    var loadsWaiting: [Loading] = []
    var loadsUnderWay: [ObjectIdentifier: Loading] = [:]
    var loadsRead: [Loading] = []
    var loadsReadSince: Instant?
    /// Lines that were added to a shard of ours, while their rows are being read.
    var newLanes: [Int32: Loading] = [:]
    var gateWrites: Set<Int32> = []
    /// Lanes whose calls got no answer twice and more.
    var suspectLanes: Set<Int32> = []
    /// Those of them that wait until another one's call has ended.
    var suspectsWithoutRoom: Set<Int32> = []
    /// By origin of the API.
    var budgets: [String: RetryBudget] = [:]
    /// Origins to which nothing may be sent.
    var openBreakers: Set<String> = []
    /// Origins whose one probe this worker makes or asks for.
    var probing: Set<String> = []
    /// What other workers counted at their last heartbeat.
    var peerCounts: [BootID: [String: CallCounts]] = [:]
    /// By origin of the API: whether calls are answered at all.
    var reaches: [String: Reach] = [:]
    /// What all workers, this one included, said of that at their last heartbeat.
    var reachWords: [BootID: [String: Reach.Word]] = [:]
    /// Who could not reach the API at the last look, although others could.
    var cutOff: Set<BootID> = []

    // The way of a job.
    var arrivals = Arrivals()
    var sharedQueues: [ConsumedQueue] = []
    /// Whether this worker holds subscriptions: see `Worker+Consuming`.
    var isConsuming = false
    var takeUnderWay = false
    var takeRetryAt: Instant?
    var adoptWanted = false
    var adoptUnderWay = false
    var unseen = UnseenHorizon()
    var lastSweep: Instant?
    var lastAudit: Instant?
    var lastHoldLook: Instant?
    var lastForgetting: Instant?
    var claimUnderWay = false
    var calls: [Int64: Call] = [:]
    /// The call that was begun last for a job of a lost worker.
    var suspectCall: Int64?
    var retryWaits: [Int64: RetryWait] = [:]
    /// Which of them are still to be looked at in the database.
    var retriesToCheck = Rotation<Int64>()
    /// Digests of messages that came back often and that this worker has noted as such.
    var notedSuspects: Set<[UInt8]> = []
    var foreign: [Int64: ForeignAttempt] = [:]
    var watchUnderWay = false
    /// What is not committed yet.
    var outcomes: [Settlement] = []
    var settleUnderWay = false
    var settleRetryAt: Instant?
    var reloadWanted = false
    /// Call slots that claims under way will use.
    var slotsPromised = 0
    /// Claimed calls that found no free slot.
    var waitingCalls: [Int64] = []
    /// When the machine last had nothing for a call, and this was said.
    var lastShortage: Instant?
    var takeHalvings = 0
    var settleLimit = 256
    /// Pauses that the other side asked for, until they are written.
    var pausesToKeep: [Int32: Instant] = [:]
    /// Words of statements that this program does not know, and how often they came.
    var unknownWords: [String: Int] = [:]

    // Servers that are away, wiped or silent.
    var watch = Watch()

    // The end.
    var isDraining = false
    var drainDeadline: Instant?
    var isStopped = false

    /// Must be called on the loop of `ports`.
    init(
        configuration: WorkerConfiguration,
        ports: WorkerPorts,
        logger: Logger,
        onStopped: @escaping (Result<Void, WorkerError>) -> Void
    ) {
        ports.loop.preconditionOnLoop()
        self.configuration = configuration
        self.timing = configuration.timing
        self.onStopped = onStopped
        loop = ports.loop
        http = ports.http
        control = ports.control
        intake = ports.intake
        settler = ports.settler
        broker = ports.broker
        publisher = ports.publisher
        upkeep = ports.upkeep
        #if Faults
            onStep = ports.onStep
            turnedOff = ports.turnedOff
        #endif
        var random = ports.random
        boot = ports.boot ?? Worker.newBoot(using: &random)
        self.random = random
        bootText = UUIDText.string(boot)
        var log = logger
        log[metadataKey: "worker"] = .string(String(bootText.prefix(8)))
        self.log = log
        fleet = Fleet(silenceLimit: configuration.timing.silenceLimit)
    }

    /// 16 bytes that no other boot of a worker has.
    static func newBoot(using random: inout some RandomNumberGenerator) -> [UInt8] {
        (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    // MARK: Faults

    /// Passes a step of a job's way; a test may end or freeze the worker there.
    func reached(_ step: Step, times: Int = 1) {
        #if Faults
            Faults.reached(step, times: times)
            if times > 0 { Faults.hang(at: step) }
            if times > 0 { onStep?(step, times) }
        #endif
    }

    /// Whether a test has turned the mechanism off.
    func poison(_ kind: PoisonKind, _ bytes: [UInt8]) { Faults.poison(kind, bytes) }

    func isOff(_ mechanism: Mechanism) -> Bool {
        #if Faults
            Faults.isOff(mechanism) || turnedOff.contains(mechanism)
        #else
            false
        #endif
    }

    /// Connects, and works until `drain` or `stopNow`.
    func start() {
        control.onConnect = { [weak self] backend in self?.controlConnected(backend) }
        control.onDisconnect = { [weak self] error in self?.controlLost(error) }
        intake.onConnect = { [weak self] backend in self?.intakeConnected(backend) }
        intake.onDisconnect = { [weak self] error in self?.intakeLost(error) }
        settler.onConnect = { [weak self] backend in self?.settlerConnected(backend) }
        settler.onDisconnect = { [weak self] error in self?.connectionLost(settler: error) }
        for session in [control, intake, settler] as [any LedgerSession] {
            session.onConnectFailure = { [weak self] error in self?.databaseFailed(error) }
        }
        broker.onConnect = { [weak self] in self?.brokerConnected() }
        broker.onDisconnect = { [weak self] error in self?.brokerLost(error) }
        broker.onConnectFailed = { [weak self] error in self?.log.warning("no broker", metadata: ["error": "\(error)"])
        }
        brokerHealth.started(at: loop.present)
        loop.beforeWait { [weak self] in self?.pump() }
        isConsuming = isOff(.giveBack)
        control.connect()
        intake.connect()
        settler.connect()
        broker.open()
        tick()
    }

    /// Runs twice a second: renewal, look, sweep. Everything else follows from events.
    private func tick() {
        guard !isStopped else { return }
        let now = loop.present
        renewIfDue(now)
        giveBackIfUnfit(now)
        lookAtSilentSessions(now)
        askBroker(now)
        lookAtReach(now)
        look(now)
        lookAtForeign(now)
        sweepIfDue(now)
        auditIfDue(now)
        lookAtLongHolds(now)
        lookAtQueues(now)
        upkeepIfDue(now)
        drainIfDue(now)
        // Jittered so that a fleet that was started together does not ask together.
        loop.after(timing.look * Double.random(in: 0.9...1.1, using: &random)) { [weak self] in self?.tick() }
    }

    /// Whether this worker may begin anything: its own renewal is young enough.
    func mayAct(at now: Instant) -> Bool {
        guard let renewedAt else { return false }
        return now - renewedAt < timing.actingLimit
    }

    /// Once per turn, before the wait.
    private func pump() {
        guard !isStopped else { return }
        let now = loop.present
        // Before arrivals: they get only what nobody waits for.
        lookAtDueLanes(now)
        takeArrivals(now)
        adoptIfWanted(now)
        placeScheduled(now)
        lookAtDueLanes(now)
        claimDue(now)
        writePauses(now)
        settleOutcomes(now)
        writeGates()
        acknowledge()
    }

    // MARK: Connections

    private func controlConnected(_ backend: PostgresBackend) {
        backends[ObjectIdentifier(control)] = backend
        renew(loop.present)
        readShardCount()
    }

    /// Every program must agree on it; a worker begins nothing before it knows.
    func readShardCount() {
        control.shardCount { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let count):
                guard let count, count > 0 else {
                    return self.stop(
                        .failure(WorkerError("the database has no number of shards: run 'trunkline migrate'"))
                    )
                }
                if self.shardCount != 0, self.shardCount != count {
                    return self.stop(.failure(WorkerError("the number of shards was changed: start the worker again")))
                }
                if self.shardCount == 0 {
                    self.shardCount = count
                    self.renew(loop.present)
                }
            case .failure(let error):
                if error.isConnectionLost { return }
                if error.isRetriable {
                    self.loop.after(.seconds(1)) { [weak self] in self?.readShardCount() }
                } else {
                    self.stop(.failure(WorkerError("the database is not usable: \(error)")))
                }
            }
        }
    }

    private func controlLost(_ error: PostgresError) {
        log.warning("database connection lost", metadata: ["connection": "control", "error": "\(error)"])
        backends[ObjectIdentifier(control)] = nil
        renewalUnderWay = false
        lookUnderWay = false
        acquiring = false
        judgeIsFit = false
    }

    private func intakeConnected(_ backend: PostgresBackend) {
        backends[ObjectIdentifier(intake)] = backend
        // Others must know the session that may come to hold our locks.
        renew(loop.present)
        if reloadWanted {
            reloadWanted = false
            for shard in shardsInOrder where shard.phase != .leaving { load(shard) }
        }
    }

    private func intakeLost(_ error: PostgresError) {
        log.warning("database connection lost", metadata: ["connection": "intake", "error": "\(error)"])
        backends[ObjectIdentifier(intake)] = nil
        // What was under way may or may not be committed: everything in memory is loaded again before anything else.
        forgetMemoryOfShards()
        reloadWanted = true
    }

    private func settlerConnected(_ backend: PostgresBackend) {
        backends[ObjectIdentifier(settler)] = backend
        renew(loop.present)
        settleRetryAt = nil
        writePauses(loop.present)
        settleOutcomes(loop.present)
    }

    private func connectionLost(settler error: PostgresError) {
        log.warning("database connection lost", metadata: ["connection": "settle", "error": "\(error)"])
        backends[ObjectIdentifier(settler)] = nil
    }

    // MARK: The end

    /// Stops taking, finishes what is in the air within the deadline, hands back the rest.
    func drain() {
        loop.preconditionOnLoop()
        guard !isDraining, !isStopped else { return }
        isDraining = true
        drainDeadline = loop.present + timing.drainLimit
        log.notice("draining", metadata: ["calls": "\(calls.count)"])
        for queue in sharedQueues {
            if isOff(.drainGivesBack) {
                queue.leave()
            } else {
                queue.leaveGivingBack(from: arrivals.forget(queue))
            }
        }
        for shard in shardsInOrder { leave(shard) }
        renew(loop.present)
        drainIfDue(loop.present)
    }

    func drainIfDue(_ now: Instant) {
        guard isDraining, !isStopped, let drainDeadline else { return }
        let isClear =
            calls.isEmpty && outcomes.isEmpty && !settleUnderWay && !claimUnderWay && !takeUnderWay && shards.isEmpty
            && arrivals.isEmpty
        guard isClear || now >= drainDeadline else { return }
        if !isClear {
            log.warning(
                "drain deadline passed; others finish the rest",
                metadata: [
                    "calls": "\(calls.count)",
                    "jobs": "\(calls.keys.prefix(20).map(String.init).joined(separator: ","))",
                ]
            )
        }
        goodbye()
    }

    private func goodbye() {
        let result: Result<Void, WorkerError> = watch.endReason.map { .failure($0) } ?? .success(())
        guard control.isConnected else { return stop(result) }
        let held = Array(shards.keys)
        control.release(held, by: bootID) { _ in }
        control.forget([bootID]) { [weak self] _ in self?.stop(result) }
    }

    /// Ends at once. Rows say what is known; the fleet finishes the rest.
    func stop(_ result: Result<Void, WorkerError>) {
        guard !isStopped else { return }
        isStopped = true
        waitingCalls = []
        upkeep?.stop()
        http.close()
        control.close()
        intake.close()
        settler.close()
        let onStopped = onStopped
        broker.close { onStopped(result) }
    }
}

/// Why a worker could not start or go on. The description is for the operator and holds no secret.
public struct WorkerError: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}

/// The text form of 16 bytes, as PostgreSQL writes a uuid.
enum UUIDText {
    static func string(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(index) { text.append(UInt8(ascii: "-")) }
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}

extension Timestamp {
    /// The wall clock's time.
    static var now: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000)
    }
}

/// This process.
enum ProcessID {
    static var own: Int32 { getpid() }
}
