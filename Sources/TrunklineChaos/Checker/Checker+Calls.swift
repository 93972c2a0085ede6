extension Checker {
    /// One message per key. A call is repeated only when nobody could know what became of the last one.
    mutating func checkCalls() {
        for job in jobs.values {
            let calls = job.calls
            guard calls.count > 1 else { continue }
            for (place, call) in calls.enumerated().dropFirst() {
                judge(call, after: calls[..<place])
            }
        }
    }

    private mutating func judge(_ call: Evidence.Call, after earlier: ArraySlice<Evidence.Call>) {
        var isAvoidable = false
        var ambiguity: Excuses.Excuse?
        for before in earlier {
            // The wire turned the two round: this one had left and was over before the other came.
            if excuses.wasGivenUp(call, before: before.at) {
                ambiguity = .lostOnWire
                continue
            }
            if call.at < before.end ?? .max {
                // The other may have been over when this one began, and the API could not hear of it.
                guard !excuses.mayBeOver(before, at: call.at) else {
                    ambiguity = .lostOnWire
                    continue
                }
                report.found(
                    .staleOwner,
                    call.key,
                    "request \(call.seq) came while \(before.seq) was in the air\(workers(before, call))"
                )
                isAvoidable = true
                continue
            }
            if before.isHangUp { report.add(.hangUps) }
            if let excuse = excuses.excuse(before, before: call) {
                // What was refused, and had no effect, may be asked again by right.
                if before.mayHaveEffect || excuse != .noAnswer { ambiguity = excuse }
                continue
            }
            let apart = "\((call.at - (before.end ?? call.at)) / 1_000_000) ms after"
            if before.wasAccepted {
                report.found(
                    .calledAgain,
                    call.key,
                    "request \(call.seq) came \(apart) the answer to \(before.seq) had left\(workers(before, call))"
                )
            } else {
                report.found(
                    .hungUp,
                    call.key,
                    "request \(call.seq) came \(apart) \(before.seq) was given up, "
                        + "\(((before.end ?? before.at) - before.at) / 1_000_000) ms old\(workers(before, call))"
                )
            }
            isAvoidable = true
        }
        let isSecond = call.effect != nil && earlier.contains { $0.effect != nil }
        if isAvoidable {
            if isSecond { report.found(.sentTwice, call.key, "request \(call.seq) made another message") }
        } else if let ambiguity {
            report.add(.ambiguous)
            if isSecond { report.add(.ambiguousTwice) }
            switch ambiguity {
            case .noAnswer: break
            case .lostWithWorker: report.add(.lostWithWorker)
            case .lostOnWire: report.add(.lostOnWire)
            }
        }
    }

    private func workers(_ first: Evidence.Call, _ second: Evidence.Call) -> String {
        guard let one = excuses.worker(of: first), let two = excuses.worker(of: second) else { return "" }
        return " (workers \(one) and \(two))"
    }
}
