internal import TestKit

extension Checker {
    /// How long a deleted queue's messages may go another way.
    private static let detour = Moment.seconds(120)

    /// Per line and person, and per destination and ordering key, in the order of arrival, where that is known: one promise was
    /// complete before the other job was first tried, in one queue or as rows; or both went through one connection or one file.
    mutating func checkOrder() {
        let deleted = evidence.faults.filter { $0.kind == .brokerQueueDeleted }
        var persons: [String: [Job]] = [:]
        for job in jobs.values where job.firstEffect != nil && job.notBefore == nil {
            if let name = job.orderName { persons[name, default: []].append(job) }
        }
        for jobs in persons.values {
            let sent = jobs.sorted { $0.firstEffect ?? 0 < $1.firstEffect ?? 0 }
            for (place, later) in sent.enumerated().dropFirst() {
                for earlier in sent[..<place] {
                    if Self.precedes(later, earlier, deleted) {
                        addPair(later)
                        report.found(
                            .outOfOrder,
                            later.key,
                            "arrived before \(earlier.key) (\(later.tries[0].queue), \(earlier.tries[0].queue)), and was "
                                + "sent after it on \(later.lane) (\(later.firstEffect ?? 0), \(earlier.firstEffect ?? 0))"
                        )
                    } else if Self.precedes(earlier, later, deleted) {
                        addPair(later)
                    }
                }
            }
        }
        checkScheduledOrder()
    }

    private mutating func addPair(_ job: Job) {
        report.add(.ordered)
        if job.isDelivery { report.add(.orderedDeliveries) }
    }

    /// Whether every arrival of `second` came after some promise of `first`.
    private static func precedes(_ first: Job, _ second: Job, _ deleted: [FaultRecord]) -> Bool {
        second.tries.allSatisfy { late in first.tries.contains { precedes($0, late, deleted) } }
    }

    private static func precedes(_ first: Try, _ second: Try, _ deleted: [FaultRecord]) -> Bool {
        guard first.isPromise, let end = first.end else { return false }
        // A row has its number when it is accepted: it goes before whatever comes later by any way.
        if first.queue == "row", end < second.begin { return true }
        guard first.queue == second.queue, first.answer == .promised else { return false }
        // The queue was gone for a time: its messages went another way, and came in another order.
        let isSplit = deleted.contains {
            $0.queue == first.queue && end > $0.begin && first.begin < $0.begin + Self.detour
        }
        guard !isSplit else { return false }
        if end < second.begin { return true }
        return first.producer == second.producer && first.index < second.index && second.answer == .promised
    }

    /// Scheduled jobs of one person or ordering key by their times.
    private mutating func checkScheduledOrder() {
        var persons: [String: [Job]] = [:]
        for job in jobs.values where job.firstEffect != nil && job.notBefore != nil && isEarlyKnown(job) {
            if let name = job.orderName { persons[name, default: []].append(job) }
        }
        for jobs in persons.values where jobs.count > 1 {
            let sent = jobs.sorted { $0.firstEffect ?? 0 < $1.firstEffect ?? 0 }
            for (place, later) in sent.enumerated().dropFirst() {
                for earlier in sent[..<place] {
                    guard let due = later.notBefore, let other = earlier.notBefore else { continue }
                    addPair(later)
                    if due < other {
                        report.found(
                            .outOfOrder,
                            later.key,
                            "was due \((other - due) / 1_000) ms before \(earlier.key), and was sent after it on \(later.lane)"
                        )
                    }
                }
            }
        }
    }

    /// Whether a scheduled job was a row well before it was due, by the wall clock of its first call. What only the broker
    /// had may have been taken later than that.
    private func isEarlyKnown(_ job: Job) -> Bool {
        guard let due = job.notBefore, let call = job.calls.first,
            let promised = job.tries.lazy.filter({ $0.isPromise && $0.queue == "row" }).compactMap(\.end).min()
        else { return false }
        // Both clocks run at one speed; the call ties them together.
        let promisedWall = call.wall - (call.at - promised) / 1_000
        return promisedWall + 10_000_000 < due
    }

    /// An older fact never follows a newer one, unless it had left, and was given up, before the newer one came.
    mutating func checkFacts() {
        var things: [String: [(effect: Int64, fact: Int64, call: Evidence.Call)]] = [:]
        for job in jobs.values {
            guard let name = job.supersedeKey, let fact = job.factAt else { continue }
            for call in job.calls {
                guard let effect = call.effect else { continue }
                things[name, default: []].append((effect, fact, call))
            }
        }
        for messages in things.values {
            let messages = messages.sorted { $0.effect < $1.effect }
            for (place, message) in messages.enumerated().dropFirst() {
                report.add(.facts)
                let newer = messages[..<place].filter { $0.fact > message.fact }
                guard !newer.isEmpty else { continue }
                if newer.allSatisfy({ excuses.wasGivenUp(message.call, before: $0.call.at) }) {
                    report.add(.lostOnWire)
                } else {
                    report.found(
                        .olderFact,
                        message.call.key,
                        "message \(message.effect) came after a newer fact's"
                    )
                }
            }
        }
    }

    /// What cancel called cancelled was never sent.
    mutating func checkCancels() {
        for record in evidence.producer where record.kind == .cancelled && record.said == "cancelled" {
            guard let effect = jobs[record.key]?.firstEffect else { continue }
            report.found(.sentAfterCancel, record.key, "message \(effect)")
        }
    }
}
