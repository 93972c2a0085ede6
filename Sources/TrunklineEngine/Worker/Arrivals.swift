internal import DequeModule
internal import RabbitDriver
internal import TrunklineCore

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
        /// It was left aside before, for long enough that what it is about would be known here.
        var hasWaited = false
    }

    /// Messages of one way are taken alike, so they can share a statement.
    enum Way: Int, CaseIterable, Hashable, Comparable {
        case shard, intake, webhook, unrouted, bulk, dead
        init(_ kind: ConsumedQueue.Kind) {
            switch kind {
            case .shard: self = .shard
            case .intake: self = .intake
            case .webhook: self = .webhook
            case .unrouted: self = .unrouted
            case .bulk: self = .bulk
            case .dead: self = .dead
            }
        }
        static func < (left: Way, right: Way) -> Bool { left.rawValue < right.rawValue }
    }

    private var waiting: [Way: Deque<Arrival>] = [:]
    /// All ways but the shards'.
    private var turns = Rotation<Way>()
    private var lastWasShard = false
    /// Ways whose next batch must wait.
    private var paused: Set<Way> = []

    var isEmpty: Bool { waiting.values.allSatisfy(\.isEmpty) }

    mutating func append(_ arrival: Arrival) {
        let way = Way(arrival.queue.kind)
        waiting[way, default: []].append(arrival)
        joinTurns(way)
    }

    /// The next batch. Every second one is the shards', whose jobs may go at once; for the others the other ways take turns.
    mutating func next(limit: (Way) -> Int) -> (way: Way, arrivals: [Arrival])? {
        while let way = nextWay() {
            let batch = takeBatch(of: way, limit: limit(way))
            if !(waiting[way]?.isEmpty ?? true) { joinTurns(way) }
            if !batch.isEmpty { return (way, batch) }
        }
        return nil
    }

    private mutating func nextWay() -> Way? {
        let hasShard = !paused.contains(.shard) && !(waiting[.shard]?.isEmpty ?? true)
        lastWasShard = hasShard && (!lastWasShard || turns.isEmpty)
        return lastWasShard ? .shard : turns.next()
    }

    private mutating func takeBatch(of way: Way, limit: Int) -> [Arrival] {
        var batch: [Arrival] = []
        while batch.count < limit, let first = waiting[way]?.first {
            // Deliveries of a channel that is gone come again.
            let isStale = first.epoch != first.queue.epoch
            if first.isSuspect, !isStale, !batch.isEmpty { break }
            waiting[way]?.removeFirst()
            if isStale { continue }
            batch.append(first)
            if first.isSuspect { break }
        }
        return batch
    }

    /// Forgets deliveries of channels that are gone: they come again.
    mutating func dropStale() {
        for way in waiting.keys { waiting[way]?.removeAll { $0.epoch != $0.queue.epoch } }
    }

    /// Forgets what of a queue has not begun to be taken.
    ///
    /// - Returns: the lowest tag among them, which need not be in front: what was left aside is put back later.
    ///   Nil when there was none.
    mutating func forget(_ queue: ConsumedQueue) -> UInt64? {
        let way = Way(queue.kind)
        let lowest = waiting[way]?.lazy.filter { $0.queue === queue && $0.epoch == queue.epoch }.map(\.tag).min()
        waiting[way]?.removeAll { $0.queue === queue }
        return lowest
    }

    /// Puts a batch back in front.
    mutating func putBack(_ arrivals: [Arrival], way: Way) {
        waiting[way, default: []].prepend(contentsOf: arrivals)
        joinTurns(way)
    }

    /// Nothing of the way is taken until it is resumed; the others do not notice.
    mutating func pause(_ way: Way) {
        paused.insert(way)
        turns.leave(way)
    }

    mutating func resume(_ way: Way) {
        paused.remove(way)
        if !(waiting[way]?.isEmpty ?? true) { joinTurns(way) }
    }

    private mutating func joinTurns(_ way: Way) { if way != .shard, !paused.contains(way) { turns.join(way) } }
}
