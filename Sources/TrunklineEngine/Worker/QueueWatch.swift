internal import TrunklineCore

/// Judges whether a subscription gets nothing although its queue has messages. No I/O, no clock: it counts looks, each of
/// which comes about ten seconds after the one before.
///
/// | looks in a row at a queue with messages, without a delivery | what is done |
/// | --- | --- |
/// | 1 | nothing: a message may just have come |
/// | 2 | the queue is subscribed again |
/// | 4 | the connection is made anew |
/// | 6 | the process ends |
///
/// By the fourth look whoever might be the rightful active consumer (a frozen former owner, `x-single-active-consumer`)
/// has been cut off by the broker: the AMQP heartbeat is 5 s.
struct QueueWatch {
    enum Step: Hashable {
        case subscribe, reconnect, end
    }

    private var silent: [String: (looks: Int, messages: Int)] = [:]

    /// A look at a queue from which nothing came since the last one.
    ///
    /// - Parameters:
    ///   - messages: ready ones.
    ///   - isOurs: whether nobody but this worker consumes from it. On a shared queue another one may be the active
    ///     consumer, and slow: there only a count that does not fall is silence, and only a new subscription is tried.
    mutating func looked(at queue: String, messages: Int, isOurs: Bool) -> Step? {
        guard messages > 0 else {
            silent[queue] = nil
            return nil
        }
        let before = silent[queue]
        if !isOurs, let before, messages < before.messages {
            silent[queue] = (1, messages)
            return nil
        }
        let looks = (before?.looks ?? 0) + 1
        silent[queue] = (looks, messages)
        switch looks {
        case 2: return .subscribe
        case 4 where isOurs: return .reconnect
        case 6 where isOurs: return .end
        // A shared queue is tried again, but not at every look.
        case let looks where !isOurs && looks % 12 == 2: return .subscribe
        default: return nil
        }
    }

    /// Something came from it, or it cannot be looked at.
    mutating func heard(from queue: String) { silent[queue] = nil }
}
