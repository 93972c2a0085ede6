package import TrunklineCore

extension Outcome {
    /// What a call without a whole answer means, whoever was called: decided by what was allowed to leave.
    package init(noAnswer failure: OutsideFailure) {
        // The status alone decides, and it was read: only the body is missing.
        if let status = failure.status, (200...299).contains(status) {
            self = .sent(remoteID: nil, note: "accepted with status \(status), but the answer broke off")
            return
        }
        if failure.mayHaveLeft {
            self = .unknown(reason: failure.cause == .timedOut ? .timedOut : .connectionLost)
            return
        }
        switch failure.cause {
        case .refused:
            // The call will never be made as it stands: the lane's address is at fault, not the job.
            self = .laneUnhealthy(reason: .endpointMissing, trouble: .hold(.human))
        case .shortage:
            // Not the provider's, not the lane's and not the job's fault, and over as soon as a call ends.
            self = .retry(after: .seconds(1), reason: .localShortage, cause: .notSent)
        case .withdrawn:
            self = .retry(after: nil, reason: .withdrawn, cause: .notSent)
        case .unresolved, .unreachable, .untrusted, .timedOut, .broken:
            self = .retry(after: nil, reason: .unreachable, cause: .notSent)
        }
    }
}

extension Outcome {
    /// What it means for an attempt that a call which takes no effect got no whole answer: nothing happened, whatever was read.
    package init(nothingLearned failure: OutsideFailure) {
        if failure.mayHaveLeft || failure.status != nil {
            self = .retry(after: nil, reason: .unreachable, cause: .notSent)
        } else {
            self = Outcome(noAnswer: failure)
        }
    }
}

extension HealthVerdict {
    /// What a health question without a whole answer means: nothing about the lane, whatever went wrong.
    package init(noAnswer failure: OutsideFailure) {
        switch failure.cause {
        case .refused: self = .held(.human, reason: .endpointMissing, detail: nil)
        case .shortage: self = .keepLast(reason: .localShortage)
        case .timedOut: self = .keepLast(reason: .timedOut)
        case .withdrawn, .unresolved, .unreachable, .untrusted, .broken: self = .keepLast(reason: .unreachable)
        }
    }
}
