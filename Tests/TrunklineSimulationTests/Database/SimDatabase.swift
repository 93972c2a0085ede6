import PostgresDriver
import TrunklineCore
import TrunklineIntegrations
import TrunklineLedgerModel

@testable import TrunklineEngine

/// The database of a simulated world: the model of the ledger behind sessions that break, and behind locks that a frozen
/// client holds.
final class SimDatabase {
    static let masterKey = try! MasterKey(base64: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")

    let world: World
    let model: LedgerModel
    /// Since when each line is held by its operator.
    var heldSince: [String: World.Time] = [:]
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
    var lastTrouble: World.Time = -World.second * 100 { didSet { troubles.append(lastTrouble) } }
    /// All of them.
    private(set) var troubles: [World.Time] = []
    /// How many statements fail for a reason of the moment.
    var errorRate = 0.0
    /// How many are committed, and the session ends before the answer is written.
    var replyLossRate = 0.0
    /// How far its clock is ahead.
    var clockOffset: Int64 = 0

    init(world: World, shardCount: Int32, lines: [LedgerModel.Lane]) {
        self.world = world
        model = LedgerModel(shardCount: shardCount, clock: { 0 })
        model.clock = { [unowned self] in world.wall + clockOffset }
        model.lanes = lines
        for index in model.lanes.indices {
            let lane = model.lanes[index]
            model.lanes[index].address = SimAPI.base + lane.id
            model.lanes[index].secret = Self.secret(of: lane.name)
            model.laneStates[lane.number] = .init()
        }
        model.lastRevision = Int64(lines.count)
        model.onNote = { note, what in world.noted(note, what) }
        model.isLocked = { [unowned self] numbers in locked.contains { !$0.shards.isDisjoint(with: numbers) } }
        model.waits = { [unowned self] backend in sessions[backend.pid].map { $0.isWaiting } }
        model.onTerminate = { [unowned self] backend in
            guard let session = sessions[backend.pid] else { return }
            world.hit(.terminated, "session \(backend.pid)")
            session.end(executing: .nothing)
        }
    }

    var jobs: [JobRow] { model.jobs }
    var refusals: [LedgerModel.Refused] { Array(model.refusals.values) }

    func row(_ id: Int64) -> JobRow? { model.row(id) }

    func row(ofKey key: String) -> JobRow? { model.jobs.first { $0.key == key } }

    func end(ofKey key: String) -> LedgerModel.Finished? { model.finished.values.first { $0.key == key } }

    func line(ofLane lane: Int32) -> LedgerModel.Lane? { model.lane(lane) }

    private static func secret(of line: LaneName) -> StoredSecret {
        do {
            let token = try LaneSecret.sealed(Array("ezw_line_simulated".utf8), of: EZWhatsAppCarrier(), masterKey)
            return try StoredSecret(token, lane: line, address: SimAPI.base + line.id)
        } catch {
            fatalError("a simulated token cannot be stored: \(error)")
        }
    }

    // MARK: People

    func cancel(_ key: String) {
        guard let row = row(ofKey: key), !row.isParked, row.stamp == nil else { return }
        world.hit(.cancel, row.state == .sending ? "\(key), in the air" : key)
        model.cancel(key)
    }

    func reschedule(_ key: String, to time: Int64) {
        guard let row = row(ofKey: key), model.reschedule(row.id, to: time) else { return }
        world.hit(.reschedule, key)
    }
}

extension World {
    fileprivate func noted(_ note: LedgerModel.Note, _ what: String) {
        let fault: Fault =
            switch note {
            case .fenceLost: .fenceLost
            case .overtaken: .overtaken
            case .held: .heldByPeople
            case .busy: .busy
            case .gone: .gone
            case .expired: .expired
            case .superseded: .superseded
            case .cancelled: .cancelled
            case .stale: .stale
            case .lateSent: .lateSent
            case .givenBack: .givenBack
            case .unknown: .unknown
            case .parked: .parked
            case .abandoned: .abandoned
            case .adopted: .adopted
            case .placedDue: .placedDue
            case .begunByTake: .fastPath
            case .breakerOpened: .breakerOpened
            case .breakerClosed: .breakerClosed
            case .suspectMessage: .suspectMessage
            case .takeover: .takeover
            case .handover: .handover
            case .repeated: .repeatedKey
            case .conflict: .keyConflict
            case .refused: .refusal
            }
        if what.isEmpty { hits[fault] += 1 } else { hit(fault, what) }
    }
}
