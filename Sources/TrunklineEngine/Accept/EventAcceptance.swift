package import TrunklineCore

/// What became of one received event that was given at the desk.
package enum EventAcceptance: Sendable, Hashable {
    // MARK: Row first

    /// Committed, with the job that runs it; or the same bytes were before, which was counted.
    case stored
    /// Other bytes came before under the same key. Refused and recorded.
    case conflict(AcceptVerdict.Contents)
    /// No source of that id, or it was removed.
    case unknownLane
    case removedLane
    /// The database cannot store it. Refused and recorded.
    case refused(Refusal)

    // MARK: Broker first

    /// RabbitMQ has it; the worker that takes it from there finds repeats and conflicts.
    case confirmed

    /// Neither of them surely has it; why. Giving it again is the way to know: the key makes it one event.
    case notTaken(String)

    /// The broker's word.
    init(_ verdict: AcceptVerdict) {
        switch verdict {
        case .confirmed: self = .confirmed
        case .unroutable: self = .notTaken("the broker has no queue for it: run 'trunkline topology apply'")
        case .rejected: self = .notTaken("the broker refused it, for example because a queue is full")
        case .notSent(let reason): self = .notTaken(reason)
        case .unknown(let reason): self = .notTaken("the broker may have it or not: \(reason)")
        case .new, .repeat, .conflict, .unknownLane, .removedLane, .refused:
            preconditionFailure("broker first has no such verdict")
        }
    }
}
