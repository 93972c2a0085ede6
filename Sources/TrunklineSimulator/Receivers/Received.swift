/// What came to the hooks, as far as it was good: rebuilt from the journal.
struct Received: Sendable {
    struct Delivery: Sendable {
        var seq: Int64
        var t: Int64
        var hook: String
        var id: String
        var sentAt: Int64
        var bodyHash: String
        /// The same id and bytes had come before.
        var isRepeat: Bool
    }

    /// Older ones are counted but no longer listed.
    static let kept = 200_000

    private(set) var deliveries: [Delivery] = []
    /// What a receiver knows of an id that it took.
    struct Known: Sendable {
        /// Wall clock of the last time, microseconds since 1970.
        var t: Int64
        var bodyHash: String
    }

    /// By hook and id.
    private var known: [String: [String: Known]] = [:]

    func known(_ id: String, to hook: String) -> Known? { known[hook]?[id] }

    mutating func apply(_ record: JournalRecord) {
        guard record.verdict == .accepted || record.verdict == .replay, let hook = record.hook, let id = record.key,
            let hash = record.bodyHash
        else { return }
        known[hook, default: [:]][id] = Known(t: record.t, bodyHash: hash)
        if deliveries.count >= Self.kept + Self.kept / 4 { deliveries.removeFirst(deliveries.count - Self.kept) }
        deliveries.append(
            Delivery(
                seq: record.seq,
                t: record.t,
                hook: hook,
                id: id,
                sentAt: record.data?["sentAt"]?.integer ?? 0,
                bodyHash: hash,
                isRepeat: record.verdict == .replay
            )
        )
    }
}

/// The figures of one hook, and what it takes to count them.
struct HookTally: Sendable {
    private(set) var counts = SimulatorReport.HookCounts()
    /// Ids for which an answer of the 200s has left.
    private var answered: Set<String> = []

    mutating func apply(_ record: JournalRecord) {
        switch record.kind {
        case .delivery:
            counts.requests += 1
            switch record.verdict {
            case .accepted: counts.deliveries += 1
            case .replay:
                counts.repeats += 1
                if let id = record.key, answered.contains(id) { counts.repeatsAfterAnswer += 1 }
            case .conflict: counts.conflicts += 1
            default: counts.refused += 1
            }
        case .answer:
            counts.answers += 1
            let isTaken = record.verdict == .accepted || record.verdict == .replay
            if isTaken, let status = record.status, (200..<300).contains(status), let id = record.key {
                answered.insert(id)
            }
        case .noAnswer:
            counts.noAnswers += 1
        default:
            break
        }
    }
}

extension SimulatorReport.HookCounts {
    func write(to writer: inout JSONWriter) {
        writer.member("requests", requests)
        writer.member("deliveries", deliveries)
        writer.member("repeats", repeats)
        writer.member("repeatsAfterAnswer", repeatsAfterAnswer)
        writer.member("conflicts", conflicts)
        writer.member("refused", refused)
        writer.member("answers", answers)
        writer.member("noAnswers", noAnswers)
    }
}
