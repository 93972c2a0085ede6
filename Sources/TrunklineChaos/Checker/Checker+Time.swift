extension Checker {
    /// From 30 s after a line stopped being sendable, and from a second after a hold by hand, nothing is sent; both with a
    /// margin for the way to the simulator.
    private static let sickAfter = Moment.seconds(32)
    private static let heldAfter = Moment.seconds(2.5)

    mutating func checkHolds() {
        var byLine: [String: [Evidence.Call]] = [:]
        for call in evidence.calls { byLine[call.line, default: []].append(call) }
        for fault in evidence.faults where fault.kind == .lineHold || fault.kind == .lineState {
            let begin = fault.begin + (fault.kind == .lineHold ? Self.heldAfter : Self.sickAfter)
            guard begin < fault.end, let line = fault.line else { continue }
            report.add(.holds)
            for call in byLine[line] ?? [] where call.at > begin && call.at < fault.end {
                // Bytes that a proxy held back left before.
                guard !excuses.isTroubled(call, upTo: call.at + Moment.seconds(1)) else { continue }
                report.found(
                    .sentWhileHeld,
                    call.key,
                    "request \(call.seq) on \(line), \((call.at - fault.begin) / 1_000_000) ms after "
                        + (fault.kind == .lineHold ? "a hold by hand" : "it became \(fault.word ?? "sick")")
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
        for line in evidence.paced {
            let calls = evidence.calls.filter { $0.line == line.line }
            report.add(.paced, calls.count)
            checkInterval(line, calls)
            checkConcurrency(line, calls)
            checkGap(line, calls)
        }
    }

    /// Between the claim, which keeps the pace, and the simulator a busy machine may lose that much.
    private static let jitter = Moment.seconds(1)

    /// No more sends than the pace gives, in whatever span: a bucket of one that fills by the interval. A single early send
    /// may be the way's jitter; what runs ahead of the pace is not.
    private mutating func checkInterval(_ line: Evidence.PacedLine, _ calls: [Evidence.Call]) {
        let interval = Moment.seconds(line.interval)
        let tolerance = interval / 2 + Self.jitter
        var due: Int64 = .min
        for call in calls {
            guard !excuses.isTroubled(call, upTo: call.at + Moment.seconds(1)) else {
                due = max(due, call.at) + interval
                continue
            }
            if due != .min, call.at < due - tolerance {
                report.found(
                    .paceExceeded,
                    call.key,
                    "request \(call.seq) on \(line.line), \((due - call.at) / 1_000_000) ms ahead of its pace"
                )
            }
            due = (due == .min ? call.at : max(due, call.at)) + interval
        }
    }

    private mutating func checkConcurrency(_ line: Evidence.PacedLine, _ calls: [Evidence.Call]) {
        var open: [Evidence.Call] = []
        for call in calls {
            open.removeAll { $0.end ?? 0 <= call.at }
            open.append(call)
            guard open.count > line.concurrency else { continue }
            // A frozen or killed worker's calls are left to their lease; a troubled wire hides an end.
            guard !open.contains(where: { excuses.isTroubled($0, upTo: call.at) || isOfLostWorker($0, call.at) }) else {
                continue
            }
            report.found(
                .paceExceeded,
                call.key,
                "request \(call.seq) on \(line.line): \(open.count) calls at once, \(line.concurrency) allowed"
            )
        }
    }

    private func isOfLostWorker(_ call: Evidence.Call, _ moment: Int64) -> Bool {
        evidence.faults.contains { fault in
            (fault.kind == .workerKill || fault.kind == .workerFreeze) && fault.begin <= moment
                && fault.begin >= call.at - Moment.seconds(1)
                && call.port.map { fault.ports?.contains($0) ?? false } ?? false
        }
    }

    private mutating func checkGap(_ line: Evidence.PacedLine, _ calls: [Evidence.Call]) {
        guard line.gap > 0 else { return }
        let gap = Moment.seconds(line.gap)
        var last: [String: Evidence.Call] = [:]
        for call in calls where call.effect != nil {
            guard let to = call.to else { continue }
            if let before = last[to], before.key != call.key, call.at - before.at < gap - Self.jitter,
                !excuses.isTroubled(call, upTo: call.at), !excuses.isTroubled(before, upTo: call.at)
            {
                report.found(
                    .paceExceeded,
                    call.key,
                    "request \(call.seq) on \(line.line) to the person of \(before.key), "
                        + "\((call.at - before.at) / 1_000_000) ms after it"
                )
            }
            last[to] = call
        }
    }
}
