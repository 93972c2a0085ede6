/// When a call may be repeated although its answer had left: the answer surely or possibly reached nobody who could act on
/// it. Knows only what the harness did itself.
struct Excuses {
    enum Excuse {
        /// No answer of the 200s had left.
        case noAnswer
        /// Its worker was killed or frozen before it can have recorded the answer.
        case lostWithWorker
        /// A proxy cut, froze or swallowed it.
        case lostOnWire
    }

    /// A worker that gets this long after an answer, in peace, has recorded it.
    private static let peace = Moment.seconds(3)
    /// After the database is back, connections need that long.
    private static let recovery = Moment.seconds(8)
    /// The product's total time-out of a call.
    private static let timeout = Moment.seconds(15)

    private struct Ownership {
        let at: Int64
        let worker: Int
    }
    private struct WireEvent {
        let at: Int64
        let word: String
    }

    private var owners: [UInt16: [Ownership]] = [:]
    private var wire: [UInt16: [WireEvent]] = [:]
    /// Kills and freezes.
    private var losses: [FaultRecord] = []
    /// When a worker could not write: the database was away, or its proxy did harm.
    private var disturbances: [FaultRecord] = []

    init(_ faults: [FaultRecord]) {
        for fault in faults {
            switch fault.kind {
            case .owner:
                for port in fault.ports ?? [] {
                    owners[port, default: []].append(Ownership(at: fault.begin, worker: fault.worker ?? 0))
                }
            case .flow:
                for port in fault.ports ?? [] {
                    wire[port, default: []].append(WireEvent(at: fault.begin, word: fault.word ?? ""))
                }
            case .workerKill, .workerFreeze:
                losses.append(fault)
            case .databaseCrash, .databaseRestart:
                disturbances.append(fault)
            default:
                if fault.part == .database { disturbances.append(fault) }
            }
        }
    }

    /// The worker whose connection had this port at that moment; nil when it was too short to be seen.
    func worker(ofPort port: UInt16?, at moment: Int64) -> Int? {
        guard let port, let known = owners[port] else { return nil }
        // A connection is labelled soon after it was made; a number comes back much later.
        return (known.last { $0.at <= moment } ?? known.first { $0.at <= moment + Moment.seconds(2) })?.worker
    }

    /// Whether the wire was troubled around a call.
    func isTroubled(_ call: Evidence.Call, upTo end: Int64) -> Bool {
        guard let port = call.port, let events = wire[port] else { return false }
        return events.contains { $0.at >= call.at - Self.timeout && $0.at <= end }
    }

    /// Why a call may be repeated; nil: its answer was there, and could be known.
    func excuse(_ call: Evidence.Call) -> Excuse? {
        guard call.wasAccepted, let end = call.end else { return .noAnswer }
        if isLostOnWire(call, end) { return .lostOnWire }
        if isLostWithWorker(call, end) { return .lostWithWorker }
        return nil
    }

    private func isLostOnWire(_ call: Evidence.Call, _ end: Int64) -> Bool {
        guard let port = call.port, let events = wire[port] else { return false }
        let near = events.filter { $0.at >= end - Moment.seconds(0.1) && $0.at <= end + Moment.seconds(1) }
        if near.contains(where: { $0.word == "undelivered" || $0.word == "cut" }) { return true }
        // Bytes that were held back go to nobody when the connection is cut later.
        let frozen = events.filter { $0.word == "frozen" || $0.word == "slowed" }
        if frozen.contains(where: { $0.at <= end }),
            events.contains(where: { $0.word == "undelivered" && $0.at >= end && $0.at <= end + Self.timeout })
        {
            return true
        }
        // A call that stood still so long that its worker gave it up.
        let span = frozen.filter { abs($0.at - end) < Self.timeout }.map(\.at)
        guard let first = span.min(), let last = span.max() else { return false }
        return last - first >= Moment.seconds(8)
    }

    private func isLostWithWorker(_ call: Evidence.Call, _ end: Int64) -> Bool {
        let owner = worker(ofPort: call.port, at: call.at)
        // What a proxy held back reached its worker at the end of the freeze.
        let arrived = thawed(call.port, end)
        return losses.contains { loss in
            guard end <= loss.end + Moment.seconds(1) else { return false }
            // What the kernel said at the moment of the loss goes before a label, which may be of an earlier connection that
            // had the same number. A connection that was made a moment before may be in neither.
            let isListed = call.port.map { loss.ports?.contains($0) ?? false } ?? false
            let isTooYoung = owner == nil && abs(loss.begin - call.at) < Moment.seconds(0.3)
            let isIts = isListed || owner.map { $0 == loss.worker } ?? isTooYoung
            guard isIts else { return false }
            return arrived >= lastPeace(before: loss.begin, of: loss.worker)
        }
    }

    /// When bytes that came to the proxy at `moment` could pass it: at once, or at the end of a freeze or of a slow time.
    private func thawed(_ port: UInt16?, _ moment: Int64) -> Int64 {
        guard let port, let events = wire[port] else { return moment }
        var moment = moment
        var begin: Int64?
        // Begin and end of each freeze are told in turn.
        for event in events where event.word == "frozen" {
            guard let since = begin else {
                begin = event.at
                continue
            }
            if since <= moment, event.at > moment { moment = event.at }
            begin = nil
        }
        // A connection that was cut in its freeze was never told of an end.
        if let begin, begin <= moment { return .max }
        let isSlow = events.contains { $0.word == "slowed" && abs($0.at - moment) < Self.timeout }
        return isSlow ? moment + Moment.seconds(0.5) : moment
    }

    /// The moment from which on a worker may not have recorded an answer before it was lost.
    private func lastPeace(before moment: Int64, of worker: Int?) -> Int64 {
        var start = moment - Self.peace
        var isMoving = true
        while isMoving {
            isMoving = false
            for trouble in disturbances {
                guard trouble.worker == nil || trouble.worker == worker, trouble.begin <= moment,
                    trouble.end + Self.recovery >= start, trouble.begin - Self.peace < start
                else { continue }
                start = trouble.begin - Self.peace
                isMoving = true
            }
        }
        return start
    }
}
