internal import TestKit

/// What was beyond the product's knowledge: why a call may be repeated, or be in the air beside another. Knows only what the
/// harness did itself, when, and to which connection or worker; each excuse ends by itself.
struct Excuses {
    enum Excuse {
        /// No answer of the 200s had left.
        case noAnswer
        /// Its worker was lost before it can have recorded the answer, or read it.
        case lostWithWorker
        /// A proxy cut, froze or swallowed it.
        case lostOnWire
    }

    /// A worker that gets this long after an answer, in peace, has recorded it.
    private static let peace = Moment.seconds(3)
    /// After the database is back, connections need that long.
    private static let recovery = Moment.seconds(8)
    /// Longer than this nobody is kept from recording: the longest fault, its recovery, and peace.
    private static let longestChain = Moment.seconds(75)
    /// The product's total time-out of a call. No lease ends sooner.
    private static let timeout = Moment.seconds(15)
    /// Between the product's clock of a call and the simulator's.
    private static let margin = Moment.seconds(1)
    /// Nobody takes a worker's shards sooner.
    private static let takeOver = Moment.seconds(5)

    private struct Ownership {
        let at: Int64
        let worker: Int
    }

    private var owners: [UInt16: [Ownership]] = [:]
    let wire: Wire
    /// Kills and freezes.
    private var losses: [FaultRecord] = []
    private var deploys: [FaultRecord] = []
    /// When a worker could not write: it stood still, the database was away, or its way to it was cut, frozen or swallowed
    /// something.
    private var disturbances: [FaultRecord] = []
    /// When a worker could not reach the API.
    private var partitions: [FaultRecord] = []

    init(_ faults: [FaultRecord]) {
        wire = Wire(faults)
        for fault in faults {
            switch fault.kind {
            case .owner:
                for port in fault.ports ?? [] {
                    owners[port, default: []].append(Ownership(at: fault.begin, worker: fault.worker ?? 0))
                }
            case .workerKill: losses.append(fault)
            case .workerFreeze:
                losses.append(fault)
                disturbances.append(fault)
            case .rollingDeploy: deploys.append(fault)
            case .databaseCrash, .databaseRestart: disturbances.append(fault)
            // What is slow comes all the same.
            case .proxySlow: break
            default:
                if fault.part == .database { disturbances.append(fault) }
                if fault.kind == .partition, fault.part == .api { partitions.append(fault) }
            }
        }
        disturbances.sort { $0.begin < $1.begin }
    }

    /// The worker whose connection a call came on; nil when that was too short to be seen.
    func worker(of call: Evidence.Call) -> Int? {
        guard let port = call.port else { return nil }
        // A connection is labelled soon after it was made. A number comes back much later, and an earlier one's label says
        // nothing of it.
        let known = (owners[port] ?? []).filter { label in
            (call.earlierUse.map { label.at > $0 } ?? true) && !diedBefore(call, port, label)
        }
        return (known.last { $0.at <= call.at } ?? known.first { $0.at <= call.at + Moment.seconds(2) })?.worker
    }

    /// Whether the process that a label speaks of was dead when a call can have left: its connection died with it.
    private func diedBefore(_ call: Evidence.Call, _ port: UInt16, _ label: Ownership) -> Bool {
        let left = call.at - wire.lateness(port, label.worker, at: call.at)
        return losses.contains {
            $0.kind == .workerKill && $0.worker == label.worker && label.at < $0.begin && $0.begin < left - Self.margin
        }
    }

    /// The earliest moment at which the product may have sent it.
    func earliest(_ call: Evidence.Call) -> Int64 { call.at - wire.lateness(call.port, worker(of: call), at: call.at) }

    // MARK: After a call

    /// Why a call that had ended may be repeated by `next`, or, without one, why its answer may be unknown; nil: what became
    /// of it could be known.
    func excuse(_ call: Evidence.Call, before next: Evidence.Call? = nil) -> Excuse? {
        guard let end = call.end else { return .noAnswer }
        guard call.wasAccepted else { return call.isHangUp ? hangUp(call, end) : .noAnswer }
        if isLostOnWire(call, end) { return .lostOnWire }
        return isUnrecorded(call, end, before: next) ? .lostWithWorker : nil
    }

    /// Who hung up had waited for the whole time-out, or something was done to the connection or its worker.
    private func hangUp(_ call: Evidence.Call, _ end: Int64) -> Excuse? {
        if wire.isCut(call.port, call.at - Self.margin...end + Self.margin) { return .lostOnWire }
        if end - earliest(call) >= Self.timeout - Self.margin { return .noAnswer }
        let owner = worker(of: call)
        let wasLost = losses.contains { loss in
            guard isOf(call, owner, loss) else { return false }
            // The end of its process travels like everything else.
            let told = wire.told(call.port, of: loss.end)
            return loss.begin - Self.margin <= end && end <= told + 2 * Self.margin
        }
        if wasLost { return .lostWithWorker }
        let wasDeployed = deploys.contains {
            owner != nil && $0.worker == owner && $0.begin <= end && end <= $0.end + Self.margin
        }
        return wasDeployed ? .lostWithWorker : nil
    }

    private func isLostOnWire(_ call: Evidence.Call, _ end: Int64) -> Bool {
        guard let arrival = wire.arrival(call.port, worker(of: call), of: end) else { return true }
        // Also what had come through: a reset takes away what its receiver has not read.
        if wire.isCut(call.port, end - Moment.seconds(0.1)...arrival + Self.margin) { return true }
        // It came through when its worker had given the call up.
        return arrival - earliest(call) >= Self.timeout - Self.margin
    }

    /// Whether the worker that got the answer was lost, or cut off until another had to take over, before it can have
    /// recorded it.
    private func isUnrecorded(_ call: Evidence.Call, _ end: Int64, before next: Evidence.Call?) -> Bool {
        let owner = worker(of: call)
        guard let arrived = wire.arrival(call.port, owner, of: end) else { return true }
        let wasLost = losses.contains { loss in
            // What a dead worker had given to a frozen wire is still answered when that goes on.
            guard isOf(call, owner, loss), end <= wire.told(call.port, of: loss.end) + Self.margin,
                loss.begin <= surelyRecorded(arrived, by: loss.worker)
            else { return false }
            // A frozen one reads it when it goes on; an attempt that another began meanwhile has its lease.
            guard loss.kind == .workerFreeze, let next else { return true }
            return next.at <= surelyRecorded(arrived, by: loss.worker) + Self.timeout
        }
        if wasLost { return true }
        let recorded = surelyRecorded(arrived, by: owner)
        guard let owner, recorded > arrived + Self.peace else { return false }
        if deploys.contains(where: { $0.worker == owner && $0.end >= arrived && $0.end <= recorded }) { return true }
        guard let next else { return recorded - arrived >= Self.timeout }
        // Only another worker may ask again: this one knows.
        guard let other = worker(of: next), other != owner else { return false }
        return next.at - earliest(call) >= Self.timeout && next.at <= recorded
    }

    /// Whether a loss took a call's worker.
    private func isOf(_ call: Evidence.Call, _ owner: Int?, _ loss: FaultRecord) -> Bool {
        // What the kernel said at the moment of the loss goes before a label, which may be of an earlier connection that had
        // the same number. A connection that was made a moment before may be in neither.
        if let port = call.port, loss.ports?.contains(port) ?? false { return true }
        guard let owner else {
            let aMoment = Moment.seconds(0.3)
            return earliest(call) - aMoment < loss.begin && loss.begin < call.at + aMoment
        }
        return owner == loss.worker
    }

    /// When a worker that lives has surely recorded what it got at `moment`: after a time in peace.
    private func surelyRecorded(_ moment: Int64, by worker: Int?) -> Int64 {
        var limit = moment + Self.peace
        for trouble in disturbances where trouble.worker == nil || trouble.worker == worker {
            guard trouble.begin <= limit, trouble.end + Self.recovery >= moment else { continue }
            limit = max(limit, trouble.end + Self.recovery + Self.peace)
        }
        return min(limit, moment + Self.longestChain)
    }

    // MARK: Beside a call

    /// Whether a call that the simulator still had at `moment` may have been over for whoever made it.
    func mayBeOver(_ call: Evidence.Call, at moment: Int64) -> Bool {
        guard call.at <= moment else { return false }
        let span = call.at - Self.margin...moment
        if wire.isCut(call.port, span) { return true }
        // Given up, or its lease is over, and the simulator does not hear of it.
        guard moment - earliest(call) >= Self.timeout - Self.margin else { return false }
        return wire.isSilent(call.port, span) || isLost(call, from: span.lowerBound, to: moment)
    }

    /// Whether whoever made a call that came late had waited for its whole time-out before `moment`.
    func wasGivenUp(_ call: Evidence.Call, before moment: Int64) -> Bool {
        moment - earliest(call) >= Self.timeout - Self.margin
    }

    /// Whether a call was left to its lease: its worker was lost, or cut off from the database or from the API, so long that
    /// another has its lane, and what that one begins is not counted with it.
    func isLeftToItsLease(_ call: Evidence.Call, at moment: Int64) -> Bool {
        let (from, to) = (call.at - Self.margin, moment - Self.takeOver)
        if isLost(call, from: from, to: to) { return true }
        guard let owner = worker(of: call) else { return false }
        return (disturbances + partitions).contains {
            $0.part != nil && $0.worker == owner && $0.begin <= to && $0.end >= from
        }
    }

    private func isLost(_ call: Evidence.Call, from: Int64, to: Int64) -> Bool {
        let owner = worker(of: call)
        return losses.contains { $0.begin <= to && $0.end >= from && isOf(call, owner, $0) }
    }

    /// How many losses of workers hit one of these calls, in the air or unrecorded.
    func deaths(over calls: [Evidence.Call]) -> Int {
        losses.count { loss in
            calls.contains { call in
                isOf(call, worker(of: call), loss) && call.at <= loss.begin + Self.margin
                    && loss.begin <= surelyRecorded(call.end ?? loss.begin, by: loss.worker)
            }
        }
    }

    /// Whether a worker was lost between two moments, whatever it did: an attempt may have ended with it.
    func wasAnyLost(from: Int64) -> Bool { losses.contains { $0.end >= from } }
}
