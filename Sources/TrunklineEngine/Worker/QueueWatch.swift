internal import TrunklineCore

/// Judges whether a subscription gets nothing although its queue has messages. No I/O, no clock: it counts looks, each of
/// which comes about ten seconds after the one before.
///
/// | looks in a row at a queue with messages, without a delivery | what is done |
/// | --- | --- |
/// | 1 | nothing: a message may just have come |
/// | 2 | the subscription is given up, the broker is asked whether anybody else consumes, and the queue is subscribed again |
/// | 4 | if nobody else does: the connection is made anew |
/// | 5 | the same as 2 |
/// | 6 | if still nobody else does: the process ends |
/// | 14, 26, … | if somebody does: the same as 2 |
///
/// Another consumer may be a worker that is slow or cut off, or a stranger (`x-single-active-consumer` lets one have
/// everything). That is no fault of this worker, and neither a new connection nor an end would help.
struct QueueWatch {
    enum Step: Hashable {
        case subscribe, reconnect, end
    }

    private struct Silence {
        var looks: Int
        var messages: Int
        /// Whether the broker said that nobody else consumes, when it was asked last.
        var isAlone = false
    }

    private var silent: [String: Silence] = [:]

    /// A look at a queue from which nothing came since the last one. `messages`: ready ones.
    mutating func looked(at queue: String, messages: Int) -> Step? {
        guard messages > 0 else {
            silent[queue] = nil
            return nil
        }
        var silence = silent[queue] ?? Silence(looks: 0, messages: messages)
        // It falls, and not because of this worker: somebody is at work.
        let falls = messages < silence.messages
        silence.looks = falls ? 1 : silence.looks + 1
        silence.messages = messages
        silent[queue] = silence
        switch silence.looks {
        case 2: return .subscribe
        case 4 where silence.isAlone: return .reconnect
        case 5 where silence.isAlone: return .subscribe
        case 6 where silence.isAlone: return .end
        case let looks where looks % 12 == 2: return .subscribe
        default: return nil
        }
    }

    /// The broker was asked who consumes, while this worker did not.
    mutating func asked(_ queue: String, isAlone: Bool) { silent[queue]?.isAlone = isAlone }

    /// Something came from it, or it cannot be looked at.
    mutating func heard(from queue: String) { silent[queue] = nil }
}
