internal import RabbitDriver

/// Deliveries that are not taken yet, in order of arrival per way of taking them.
struct Arrivals {
    struct Arrival {
        let queue: ConsumedQueue
        let epoch: UInt64
        let tag: UInt64
        let redelivered: Bool
        /// It came back twice and more: taken alone.
        let isSuspect: Bool
        let body: [UInt8]
        let bodySize: UInt64
    }

    /// Messages of one way are taken alike, so they can share a statement.
    enum Way: CaseIterable, Hashable {
        case shard, intake, bulk, dead
        init(_ kind: ConsumedQueue.Kind) {
            switch kind {
            case .shard: self = .shard
            case .intake, .webhook, .unrouted: self = .intake
            case .bulk: self = .bulk
            case .dead: self = .dead
            }
        }
    }

    private var waiting: [Way: [Arrival]] = [:]
    private var turn = 0

    var isEmpty: Bool { waiting.values.allSatisfy(\.isEmpty) }

    mutating func append(_ arrival: Arrival) {
        waiting[Way(arrival.queue.kind), default: []].append(arrival)
    }

    /// The next batch: single notices before imports, but no way starves another.
    mutating func next(limit: Int) -> (way: Way, arrivals: [Arrival])? {
        turn &+= 1
        let order: [Way] = turn % 4 == 0 ? [.bulk, .intake, .dead, .shard] : [.shard, .intake, .dead, .bulk]
        for way in order {
            guard var list = waiting[way], !list.isEmpty else { continue }
            // Deliveries of a channel that is gone come again.
            list.removeAll { $0.epoch != $0.queue.epoch }
            let untilSuspect = list.firstIndex(where: \.isSuspect) ?? list.count
            let count = untilSuspect == 0 ? min(1, list.count) : min(limit, untilSuspect)
            let batch = Array(list.prefix(count))
            waiting[way] = Array(list.dropFirst(count))
            if !batch.isEmpty { return (way, batch) }
        }
        return nil
    }

    /// Forgets deliveries of channels that are gone: they come again.
    mutating func dropStale() {
        for way in waiting.keys { waiting[way]?.removeAll { $0.epoch != $0.queue.epoch } }
    }

    /// Forgets what of a queue has not begun to be taken.
    ///
    /// - Returns: the tag of the first one; nil when there was none.
    mutating func forget(_ queue: ConsumedQueue) -> UInt64? {
        let way = Way(queue.kind)
        let first = waiting[way]?.first { $0.queue === queue && $0.epoch == queue.epoch }?.tag
        waiting[way]?.removeAll { $0.queue === queue }
        return first
    }

    /// Puts a batch back in front.
    mutating func putBack(_ arrivals: [Arrival], way: Way) {
        waiting[way] = arrivals + (waiting[way] ?? [])
    }
}
