import CurlDriver
import Logging
import PostgresDriver
import RabbitDriver
import TestKit
import TrunklineCore
import TrunklineIntegrations
import TrunklineLedgerModel

@testable import TrunklineEngine

/// Time that stands still until a test moves it.
final class StillLoop: WorkerLoop {
    private(set) var present = ContinuousClock.now
    private let began = ContinuousClock.now
    private var timers: [(due: ContinuousClock.Instant, body: () -> Void)] = []

    var wallTime: Timestamp { Timestamp(microseconds: 1_800_000_000_000_000) + (present - began) }
    func at(_ deadline: ContinuousClock.Instant, _ body: @escaping () -> Void) { timers.append((deadline, body)) }
    func after(_ delay: Duration, _ body: @escaping () -> Void) { at(present + delay, body) }
    func beforeWait(_ body: @escaping () -> Void) {}
    func preconditionOnLoop(file: StaticString, line: UInt) {}

    /// Lets `span` pass; what becomes due meanwhile happens in the order of its moments.
    func pass(_ span: Duration) {
        let end = present + span
        while let index = timers.indices.filter({ timers[$0].due <= end }).min(by: { timers[$0].due < timers[$1].due })
        {
            let (due, body) = timers.remove(at: index)
            present = max(present, due)
            body()
        }
        present = end
    }
}

/// A session of the model, whose statements wait until the test answers them or lets them fail.
final class HeldLedger: ModelSession {
    let model: LedgerModel
    private var held: [(name: String, end: (PostgresError?) -> Void)] = []
    /// The outcomes of every `settle`, in order.
    private(set) var settled: [[Settlement]] = []
    /// The jobs of every `claim`, in order.
    private(set) var claimed: [[Int64]] = []
    /// The keys of every `take`, in order, and the messages of every `suspect`.
    private(set) var taken: [[String?]] = []
    private(set) var suspected: [SuspectMessage] = []
    var onConnect: ((PostgresBackend) -> Void)?
    var onDisconnect: ((PostgresError) -> Void)?
    var onConnectFailure: ((PostgresError) -> Void)?
    var isConnected = true
    var silentSince: ContinuousClock.Instant?

    init(_ model: LedgerModel) { self.model = model }

    /// What is under way, in order.
    var names: [String] { held.map(\.name) }

    func perform<Value>(
        _ name: String,
        _ done: @escaping LedgerReply<Value>,
        _ body: @escaping (LedgerModel) -> Result<Value, PostgresError>
    ) {
        held.append((name, { [model] error in done(error.map { .failure($0) } ?? body(model)) }))
    }

    func take(_ request: TakeRequest, _ done: @escaping LedgerReply<[TakeAnswer]>) {
        taken.append(request.batch.key)
        perform("take", done) { .success($0.take(request)) }
    }

    func suspect(_ message: SuspectMessage, by boot: BootID, _ done: @escaping LedgerReply<Int32>) {
        suspected.append(message)
        perform("suspect", done) { .success($0.suspect(message, by: boot)) }
    }

    func claim(_ request: ClaimRequest, _ done: @escaping LedgerReply<[ClaimAnswer]>) {
        claimed.append(request.jobs)
        perform("claim", done) { .success($0.claim(request)) }
    }

    func settle(_ outcomes: [Settlement], by boot: BootID, _ done: @escaping LedgerReply<[SettleAnswer]>) {
        settled.append(outcomes)
        perform("settle", done) { .success($0.settle(outcomes, by: boot)) }
    }

    /// Ends the first statement: with `error`, or with what the model answers.
    func end(_ error: PostgresError? = nil) { held.removeFirst().end(error) }

    /// Answers everything, also what the answers lead to.
    func endAll() { while !held.isEmpty { end() } }

    func connect() {}
    func drop(_ reason: String) {}
    func close() {}
}

/// Calls that wait for the test's answer.
final class HeldCaller: HTTPCaller {
    let slots: Int
    private(set) var calls: [(request: HTTPRequest, done: (Result<HTTPResponse, HTTPFailure>) -> Void)] = []
    init(slots: Int) { self.slots = slots }

    var freeSlots: Int { slots - calls.count }
    func send(
        _ request: HTTPRequest,
        mayLeave: @escaping () -> Bool,
        done: @escaping (Result<HTTPResponse, HTTPFailure>) -> Void
    ) { calls.append((request, done)) }
    func end(_ result: Result<HTTPResponse, HTTPFailure>) { calls.removeFirst().done(result) }
    func close() {}
}

final class AbsentBroker: BrokerLink {
    var onConnect: (() -> Void)?
    var onDisconnect: ((RabbitError) -> Void)?
    var onConnectFailed: ((RabbitError) -> Void)?
    let isConnected = false
    let serverVersion: String? = nil
    func open() {}
    func openConsumerChannel(_ done: @escaping (Result<any ConsumerChannel, RabbitError>) -> Void) {}
    func close(done: @escaping () -> Void) {}
}

final class NotedWakeUps: WakePublisher {
    private(set) var messages: [RabbitMessage] = []
    func publishWakeUps(_ messages: [RabbitMessage]) { self.messages += messages }
}

/// The parts of one worker, with nothing behind them but a model of the ledger.
final class PartsKit {
    static let masterKey = try! MasterKey(base64: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    static let base = "https://api.example/v1/"
    static let shardCount: Int32 = 2

    let loop = StillLoop()
    let model: LedgerModel
    let (control, intake, settler): (HeldLedger, HeldLedger, HeldLedger)
    let http: HeldCaller
    let wakeUps = NotedWakeUps()
    let here: Surroundings
    let parts: WorkerParts

    /// Lane 1 is line `a` of shard 1, lane 2 line `b` of shard 0, and so on.
    ///
    /// - Parameter turnedOff: mechanisms that the worker does without.
    init(
        lines: [String] = ["a"],
        concurrency: Int32 = 1,
        slots: Int = 8,
        turnedOff: Set<Mechanism> = []
    ) throws {
        model = LedgerModel(shardCount: Self.shardCount) { [loop] in loop.wallTime.microseconds }
        for (index, id) in lines.enumerated() {
            let lane = Int32(index + 1)
            let name = LaneName.line(try LineID(id))
            let token = LaneSecret.sealed(Array("ezw_line_tested".utf8), hint: "", Self.masterKey)
            var row = LedgerModel.Lane(
                name: name,
                number: lane,
                hash: Int64(lane),
                carrier: CarrierRegistry.standard.line.kind.value,
                horizon: CarrierRegistry.standard.line.policy.unknownHorizon,
                interval: 0,
                concurrency: concurrency,
                gap: 0,
                revision: Int64(lane)
            )
            row.address = Self.base + id
            row.secret = try StoredSecret(token, lane: name, address: row.address)
            model.lanes.append(row)
            model.laneStates[lane] = .init()
        }
        model.lastRevision = Int64(lines.count)
        (control, intake, settler) = (HeldLedger(model), HeldLedger(model), HeldLedger(model))
        http = HeldCaller(slots: slots)
        var ports = WorkerPorts(
            loop: loop,
            http: http,
            control: control,
            intake: intake,
            settler: settler,
            broker: AbsentBroker(),
            publisher: wakeUps,
            random: Chance(SeededGenerator(seed: 7))
        )
        ports.boot = Array(repeating: 1, count: 16)
        ports.turnedOff = turnedOff
        var configuration = WorkerConfiguration(
            databaseURL: "",
            amqpURL: "",
            masterKey: Self.masterKey,
            host: "tested",
            version: "0",
            carriers: .standard
        )
        configuration.maximumCalls = slots
        here = Surroundings(configuration, ports, Logger(label: "parts") { _ in SwiftLogNoOpLogHandler() })
        parts = WorkerParts(ports, here)
    }

    // MARK: What others do

    /// Another worker is there, and says what it knows of origins.
    func beat(_ boot: BootID, _ origins: [OriginReport] = []) {
        model.beat(
            Heartbeat(
                boot: boot,
                host: "elsewhere",
                processID: 1,
                version: "",
                backends: [],
                hasBroker: true,
                isStopping: false,
                origins: origins
            )
        )
    }

    /// A notice for line `a`, taken by the owner of its shard.
    ///
    /// - Parameter fast: whether it begins with its take.
    func takeNotice(fast: Bool) throws -> (row: JobRow?, person: Int64) {
        var batch = TakeBatch()
        let job = try SendJob(
            line: LineID("a"),
            key: IdempotencyKey("k1"),
            to: PhoneNumber("+972501234567"),
            body: "Ready.",
            purpose: .order
        )
        batch.append(job, requestBytes: [7], fast: fast)
        _ = model.take(TakeRequest(batch: batch, owner: parts.shards.owner))
        return (model.jobs.first, job.person)
    }

    // MARK: A worker that works

    /// Knows the lanes, lives, and has seen who else does.
    func join() {
        parts.shards.countIsKnown(Self.shardCount)
        parts.membership.renew(at: here.now)
        parts.directory.look(shardCount: Self.shardCount) { _ in }
        control.endAll()
        parts.membership.look(at: here.now)
        parts.shards.look {}
        control.endAll()
    }

    /// Takes every shard that nobody has, and knows that it is empty.
    func own() {
        join()
        _ = parts.shards.divide(parts.membership, at: here.now)
        control.endAll()
        for shard in parts.agenda.takeLoads() {
            if let loading = parts.shards.beginLoading(shard) { parts.shards.endLoading(loading) }
        }
    }

    /// The lane, with a gate that an answer has just opened.
    func openLane(_ number: Int32) -> Lane? {
        let lane = parts.board.ownedLane(number)
        _ = lane?.answered(.open(note: nil), asked: here.now, at: here.now, jitter: 0)
        return lane
    }

    func job(_ id: Int64, person: Int64? = nil, due: ContinuousClock.Instant? = nil) -> QueuedJob {
        QueuedJob(
            id: JobID(id),
            person: person ?? id,
            place: id,
            jobClass: .single,
            due: due ?? here.now,
            attempt: 0,
            tries: 0,
            isStamped: false
        )
    }

    /// An attempt of ours at that job, in the air.
    func begin(_ job: QueuedJob, in lane: Lane, line: String = "a", attempt: Int32 = 1) throws {
        lane.add(job)
        _ = lane.begin(at: here.now)
        parts.attempts.began(
            Call(
                job: job.id.value,
                attempt: attempt,
                tries: 1,
                lane: lane.number,
                line: line,
                person: job.person,
                place: job.place,
                jobClass: .single,
                isStamped: false,
                key: try IdempotencyKey("k\(job.id.value)"),
                request: [],
                sendBefore: nil,
                gateOpenUntil: here.now + .seconds(30),
                claimSent: here.now
            )
        )
    }
}

let serverError = PostgresError(code: .server, sqlState: "22P05", message: "no such character")
let lockTimeout = PostgresError(code: .server, sqlState: "55P03", message: "locked")
let connectionLost = PostgresError(code: .connectionLost, message: "the server went", outcomeUnknown: true)
