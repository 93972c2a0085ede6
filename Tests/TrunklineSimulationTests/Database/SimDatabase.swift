import PostgresDriver
import TrunklineCore

@testable import TrunklineEngine

/// A row of `trunkline.jobs`.
final class JobRow {
    let id: Int64
    let lane: Int32
    let key: String
    let person: Int64
    let request: [UInt8]
    var notBefore: Int64?
    let sendBefore: Int64?
    let supersedeKey: String?
    let factAt: Int64?
    let jobClass: Int32
    var state: String
    var reason: String?
    var place: Int64
    var dueAt: Int64
    var attempt: Int32 = 0
    var tries: Int32 = 0
    var claimedAt: Int64?
    var leaseUntil: Int64?
    var claimedBy: [UInt8]?
    var stamp: Int64?
    let acceptedAt: Int64
    var cancelWanted = false
    var isSuspect = false
    var crashes: Int32 = 0

    init(
        id: Int64,
        lane: Int32,
        key: String,
        person: Int64,
        request: [UInt8],
        notBefore: Int64?,
        sendBefore: Int64?,
        supersedeKey: String?,
        factAt: Int64?,
        jobClass: Int32,
        state: String,
        reason: String?,
        place: Int64,
        dueAt: Int64,
        acceptedAt: Int64
    ) {
        self.id = id
        self.lane = lane
        self.key = key
        self.person = person
        self.request = request
        self.notBefore = notBefore
        self.sendBefore = sendBefore
        self.supersedeKey = supersedeKey
        self.factAt = factAt
        self.jobClass = jobClass
        self.state = state
        self.reason = reason
        self.place = place
        self.dueAt = dueAt
        self.acceptedAt = acceptedAt
    }
}

/// The database as the statements of `migrations/0001_initial.sql` see it. One statement is one transaction, and
/// transactions run one after the other: what locks do beyond that is the business of tests with a real PostgreSQL.
final class SimDatabase {
    /// What the statements can be made to forget, to show that somebody would notice.
    enum Weakness: String, CaseIterable {
        /// `held_shards` believes whoever asks.
        case fence
        /// A claim does not look at what of the person comes before.
        case order
        /// The fast path does not look at what of the person comes before.
        case head
        /// The next send of a lane is not kept for the next owner.
        case pace
        /// Nobody tells a new owner whom the former one wrote to.
        case gap
        /// A claim does not look at the operator's hold, and lines do not show it.
        case hold
        /// The first attempt that may have sent leaves no stamp.
        case stamp
        /// A key is not remembered.
        case ledger
    }

    static let masterKey = try! MasterKey(base64: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")

    struct Line {
        let id: String
        let lane: Int32
        let hash: Int64
        var interval: Int32
        var concurrency: Int32
        var gap: Int32
        var isHeld = false
        var heldSince: World.Time = 0
        var revision: Int64
    }

    struct LaneState {
        var gate = "unknown"
        var reason: String?
        var nextSend: Int64 = 0
        var pausedUntil: Int64 = 0
        var probes: Int32 = 0
        var nextProbe: Int64?
        var rampStarted: Int64?
        var gateSince: Int64 = 0
        var isHoldTold = false
        var isHeld: Bool { ["held_transient", "held_human", "probing"].contains(gate) }
    }

    struct Worker {
        var beat: Int64 = 0
        var pids: [Int32] = []
        var hasBroker = false
        var isStopping = false
        var origins: [String?] = []
        var active: [Int32?] = []
        var failing: [Int32?] = []
        var reach: [String?] = []
    }

    struct Shard {
        var owner: [UInt8]?
        var fence: Int64 = 0
    }

    struct Finished {
        let row: JobRow
        var state: String
        var reason: String?
        let at: Int64
    }

    struct Entry {
        let digest: [UInt8]
        let job: Int64
        let lane: Int32
    }

    struct Fact {
        var at: Int64
        var job: Int64
    }

    struct Breaker {
        var openedAt: Int64?
        var closedAt: Int64?
        var prober: [UInt8]?
        var probes: Int32 = 0
        var nextProbe: Int64
    }

    typealias Answer = Result<PostgresRows, PostgresError>
    static let none = PostgresRows(columns: [], rows: [])

    let world: World
    let shardCount: Int32
    var shards: [Shard]
    var lines: [Line] = []
    var laneStates: [Int32: LaneState] = [:]
    var workers: [[UInt8]: Worker] = [:]
    var ledger: [String: Entry] = [:]
    /// In the order of their ids.
    var jobs: [JobRow] = []
    var finished: [Int64: Finished] = [:]
    var facts: [String: Fact] = [:]
    var breakers: [String: Breaker] = [:]
    var suspects: [[UInt8]: (reader: [UInt8], readers: Int32)] = [:]
    var refusals: [(kind: String, key: String?, raw: [UInt8])] = []
    var lastNumber: Int64 = 0
    var lastRevision: Int64 = 0
    /// Shards whose fence rows a frozen client's transaction holds.
    var locked: [(shards: Set<Int32>, session: SimSession)] = []
    /// Sessions by process id.
    var sessions: [Int32: SimSession] = [:]
    var lastPid: Int32 = 100
    /// Until when nothing can connect.
    var downUntil: World.Time = 0
    /// Until when nothing moves.
    var stalledUntil: World.Time = 0
    /// The last time at which something was wrong with it or with a connection to it.
    var weakness: Weakness?
    var lastTrouble: World.Time = -World.second * 100 { didSet { troubles.append(lastTrouble) } }
    /// All of them.
    private(set) var troubles: [World.Time] = []
    /// How many statements fail for a reason of the moment.
    var errorRate = 0.0
    /// How many are committed, and the session ends before the answer is written.
    var replyLossRate = 0.0
    /// How far its clock is ahead.
    var clockOffset: Int64 = 0
    /// Told of every claim that a commit begins.
    var onClaim: ((JobRow, _ boot: [UInt8]) -> Void)?
    var onSettledSent: ((JobRow) -> Void)?

    init(world: World, shardCount: Int32) {
        self.world = world
        self.shardCount = shardCount
        shards = Array(repeating: Shard(), count: Int(shardCount))
    }

    var clock: Int64 { world.wall + clockOffset }

    func row(_ id: Int64) -> JobRow? { jobs.first { $0.id == id } }

    func row(ofKey key: String) -> JobRow? { jobs.first { $0.key == key } }

    func line(ofLane lane: Int32) -> Line? { lines.first { $0.lane == lane } }

    func shard(ofLane lane: Int32) -> Int32 {
        lines.first { $0.lane == lane }.map { Int32($0.hash % Int64(shardCount)) } ?? -1
    }

    func nextNumber() -> Int64 {
        lastNumber += 1
        return lastNumber
    }

    func changeLine(_ index: Int, _ change: (inout Line) -> Void) {
        change(&lines[index])
        lastRevision += 1
        lines[index].revision = lastRevision
    }

    /// `trunkline.held_shards`.
    func held(_ boot: [UInt8]?, _ numbers: [Int32], _ fences: [Int64]) -> Set<Int32> {
        var held: Set<Int32> = []
        for (number, fence) in zip(numbers, fences) {
            let shard = shards[Int(number)]
            if let boot, weakness == .fence || shard.owner == boot && shard.fence == fence { held.insert(number) }
        }
        return held
    }

    /// `trunkline.finish`.
    func finish(_ ids: [Int64], _ state: String, _ reason: String) {
        for id in ids {
            guard let index = jobs.firstIndex(where: { $0.id == id }) else { continue }
            let row = jobs.remove(at: index)
            finished[id] = Finished(row: row, state: state, reason: reason, at: clock)
        }
    }

    // MARK: Statements

    func execute(_ name: String, _ p: [PostgresParameter]) -> Answer {
        switch name {
        case "beat": beat(p)
        case "fleet": fleet()
        case "shards": shardRows()
        case "acquire": acquire(p)
        case "release": release(p)
        case "terminate": terminate(p)
        case "forget": forget(p)
        case "lines": lineRows(p)
        case "shard_count": table([.text], [[.text(String(shardCount))]])
        case "waits_for_us": table([.bool], sessions[p[0].int4].map { [[.bool($0.isWaiting)]] } ?? [])
        case "breakers": breakerRows()
        case "open_breaker": openBreaker(p)
        case "probe_breaker": probeBreaker(p)
        case "end_probe": endProbe(p)
        case "take": take(p)
        case "adopt": adopt(p)
        case "place_due": placeDue(p)
        case "load": load(p)
        case "last_sends": lastSends(p)
        case "lane_states": laneStateRows(p)
        case "forgotten": forgotten(p)
        case "expire": expire(p)
        case "claim": claim(p)
        case "abandon": abandon(p)
        case "watch": watch(p)
        case "settle": settle(p)
        case "pause": pause(p)
        case "gate": gate(p)
        case "hold_told": holdTold(p)
        case "refuse": refuse(p)
        case "suspect": suspect(p)
        case "unsuspect": unsuspect(p)
        default: preconditionFailure("the simulated database has no statement '\(name)'")
        }
    }

    func table(_ columns: [PostgresType], _ rows: [[PostgresParameter]]) -> Answer {
        .success(PostgresRows(columns: columns, rows: rows))
    }

    static func milliseconds(_ microseconds: Int64) -> Int64 {
        // Rounded up, as the SQL does.
        microseconds > 0 ? (microseconds + 999) / 1_000 : microseconds / 1_000
    }
}
