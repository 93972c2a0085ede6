/// Who is alive, and who should own which shard, as one worker sees it. No I/O, no clock.
///
/// Liveness is a counter that its worker raises. An observer judges a worker dead when it has itself seen the counter
/// unchanged for the limit while its own renewals all succeeded; otherwise its count starts anew, so that after a stall of
/// the database nobody judges everybody dead (design D2).
package struct Fleet<ID: Hashable & Comparable & Sendable>: Sendable {
    /// What the database says of a worker.
    package struct Observation: Sendable, Hashable {
        package let id: ID
        package let beat: Int64
        /// Gives its shards away and takes none.
        package let isStopping: Bool
        /// Has a connection to the broker.
        package let hasBroker: Bool
        /// Cannot reach the API although another worker can.
        package let isCutOff: Bool
        package init(id: ID, beat: Int64, isStopping: Bool, hasBroker: Bool, isCutOff: Bool = false) {
            self.id = id
            self.beat = beat
            self.isStopping = isStopping
            self.hasBroker = hasBroker
            self.isCutOff = isCutOff
        }
    }

    /// Everybody of the last look.
    package var members: [ID] { Array(table.keys) }

    /// Whether the last look showed that worker.
    package func knows(_ id: ID) -> Bool { table[id] != nil }

    private struct Member: Sendable {
        var observation: Observation
        var unchangedSince: ContinuousClock.Instant
    }

    /// Unchanged for that long is dead.
    package let silenceLimit: Duration
    private var table: [ID: Member] = [:]

    package init(silenceLimit: Duration) { self.silenceLimit = silenceLimit }

    /// Takes in one look. `isJudgeFit` is false when one of the observer's own renewals failed or was late since the last
    /// look: then every count starts anew.
    package mutating func observed(_ workers: [Observation], at now: ContinuousClock.Instant, isJudgeFit: Bool) {
        var seen: [ID: Member] = [:]
        for worker in workers {
            if isJudgeFit, let known = table[worker.id], known.observation.beat == worker.beat {
                seen[worker.id] = Member(observation: worker, unchangedSince: known.unchangedSince)
            } else {
                seen[worker.id] = Member(observation: worker, unchangedSince: now)
            }
        }
        table = seen
    }

    /// Whether the worker's counter stood still for the limit.
    package func isDead(_ id: ID, at now: ContinuousClock.Instant) -> Bool {
        guard let member = table[id] else { return false }
        return now - member.unchangedSince >= silenceLimit
    }

    /// Those that take part in the division, in rank order: alive, not stopping, able to reach the API where anybody is, and
    /// with a broker where anybody of those has one.
    package func ranked(at now: ContinuousClock.Instant) -> [ID] {
        let living = table.values.filter { !$0.observation.isStopping && now - $0.unchangedSince < silenceLimit }
        let reaching = living.filter { !$0.observation.isCutOff }
        let able = reaching.isEmpty ? living : reaching
        let connected = able.filter(\.observation.hasBroker)
        return (connected.isEmpty ? able : connected).map(\.observation.id).sorted()
    }

    /// Who should own each of `count` shards: as evenly as can be, and with as few moves as that takes. Whoever owns a
    /// shard keeps it up to its part; what is left over goes to those who own too little, in rank order. Nil when nobody
    /// takes part. Everybody who saw the same owners comes to the same answer; where two did not, the fence decides.
    package func division(ofShards count: Int, owners: [Int: ID], at now: ContinuousClock.Instant) -> [ID]? {
        let ranked = ranked(at: now)
        guard !ranked.isEmpty else { return nil }
        var owned: [ID: Int] = [:]
        for owner in owners.values { owned[owner, default: 0] += 1 }
        // Those who own most get the parts that are larger by one, so that nothing moves only for the rounding.
        let bySize = ranked.sorted { (owned[$1] ?? 0, $0) < (owned[$0] ?? 0, $1) }
        var room: [ID: Int] = [:]
        for (position, id) in bySize.enumerated() {
            room[id] = count / ranked.count + (position < count % ranked.count ? 1 : 0)
        }
        var result = [ID?](repeating: nil, count: count)
        for shard in 0..<count {
            guard let owner = owners[shard], let left = room[owner], left > 0 else { continue }
            room[owner] = left - 1
            result[shard] = owner
        }
        var receivers = ranked[...]
        for shard in 0..<count where result[shard] == nil {
            while let first = receivers.first, room[first] == 0 { receivers.removeFirst() }
            guard let receiver = receivers.first else { break }
            room[receiver]! -= 1
            result[shard] = receiver
        }
        return result.compactMap { $0 }
    }
}
