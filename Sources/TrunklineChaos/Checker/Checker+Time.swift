internal import TestKit

extension Checker {
    /// From 30 s after a line stopped being sendable, and from a second after a hold by hand of a line or destination, nothing is
    /// sent; both with a margin for the way to the simulator.
    private static let sickAfter = Moment.seconds(32)
    private static let heldAfter = Moment.seconds(2.5)

    mutating func checkHolds() {
        var byLane: [String: [Evidence.Call]] = [:]
        for call in evidence.calls { byLane[call.lane, default: []].append(call) }
        for fault in evidence.faults {
            let tolerance: Int64
            switch fault.kind {
            case .lineHold, .destinationHold: tolerance = Self.heldAfter
            case .lineState: tolerance = Self.sickAfter
            // A receiver says nothing of itself but by its answers: whoever asks may get one.
            default: continue
            }
            let begin = fault.begin + tolerance
            guard begin < fault.end, let lane = fault.lane else { continue }
            report.add(.holds)
            if fault.kind == .destinationHold { report.add(.destinationHolds) }
            // Bytes that a proxy held back left before.
            for call in byLane[lane] ?? [] where excuses.earliest(call) > begin && call.at < fault.end {
                report.found(
                    .sentWhileHeld,
                    call.key,
                    "request \(call.seq) on \(lane), \((call.at - fault.begin) / 1_000_000) ms after "
                        + (fault.kind == .lineState ? "it became \(fault.word ?? "sick")" : "a hold by hand")
                )
            }
        }
    }

    /// Nothing before its time; the clocks are one host's.
    mutating func checkTimes() {
        for job in jobs.values {
            guard let due = job.notBefore else { continue }
            for call in job.calls {
                report.add(.scheduled)
                if call.wall < due {
                    report.found(.sentEarly, job.key, "request \(call.seq), \((due - call.wall) / 1_000) ms too early")
                }
            }
        }
    }

    // MARK: Pace

    mutating func checkPace() {
        for lane in evidence.paced {
            let calls = evidence.calls.filter { $0.lane == lane.lane }
            checkInterval(lane, calls)
            checkConcurrency(lane, calls)
            checkGap(lane, calls)
        }
    }

    /// Between the claim, which keeps the pace, and the simulator a busy machine may lose that much.
    private static let jitter = Moment.seconds(1)

    /// No more sends than the pace gives, in whatever span: a bucket of one that fills by the interval. A single early send
    /// may be the way's jitter; what runs ahead of the pace is not.
    private mutating func checkInterval(_ lane: Evidence.PacedLane, _ calls: [Evidence.Call]) {
        let interval = Moment.seconds(lane.interval)
        let tolerance = interval / 2 + Self.jitter
        var due: Int64?
        for call in calls {
            // One that a proxy held back may have left earlier: the next may come that much earlier too.
            let earliest = excuses.earliest(call)
            if let due {
                report.add(.paced)
                if call.at < due - tolerance {
                    report.found(
                        .paceExceeded,
                        call.key,
                        "request \(call.seq) on \(lane.lane), \((due - call.at) / 1_000_000) ms ahead of its pace"
                    )
                }
            }
            due = max(due ?? earliest, earliest) + interval
        }
    }

    private mutating func checkConcurrency(_ lane: Evidence.PacedLane, _ calls: [Evidence.Call]) {
        var open: [Evidence.Call] = []
        for call in calls {
            open.removeAll { $0.end ?? .max <= call.at }
            open.append(call)
            guard open.count > lane.concurrency else { continue }
            let counted = open.filter {
                !excuses.mayBeOver($0, at: call.at) && !excuses.isLeftToItsLease($0, at: call.at)
            }
            guard counted.count > lane.concurrency else { continue }
            report.found(
                .paceExceeded,
                call.key,
                "request \(call.seq) on \(lane.lane): \(counted.count) calls at once, \(lane.concurrency) allowed"
            )
        }
    }

    private mutating func checkGap(_ lane: Evidence.PacedLane, _ calls: [Evidence.Call]) {
        guard lane.gap > 0 else { return }
        let gap = Moment.seconds(lane.gap)
        var last: [String: Evidence.Call] = [:]
        for call in calls where call.effect != nil {
            guard let to = call.to else { continue }
            if let before = last[to], before.key != call.key, call.at - excuses.earliest(before) < gap - Self.jitter {
                report.found(
                    .paceExceeded,
                    call.key,
                    "request \(call.seq) on \(lane.lane) to the person of \(before.key), "
                        + "\((call.at - before.at) / 1_000_000) ms after it"
                )
            }
            last[to] = call
        }
    }
}
