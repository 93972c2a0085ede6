/// From where an owner looks for rows that no owner has seen: `p_after` of `trunkline.adopt`.
///
/// Most looks begin behind what was the newest row half a minute ago: while somebody holds an old snapshot, the index keeps
/// an entry of every row that was ever unseen. A commit that took longer comes to light before that, so now and then a look
/// begins at the start: every 10 s, or as rarely as it takes to spend a hundredth of the time on them. No clock.
struct UnseenHorizon {
    typealias Instant = ContinuousClock.Instant

    /// How long a commit may take and still be found by the next look.
    static let patience: Duration = .seconds(30)
    static let wholeLooks: Duration = .seconds(10)

    private var newest: Int64 = 0
    /// The newest row at the last two turns, which are `patience` apart.
    private var atTurn: Int64 = 0
    private var before: Int64 = 0
    private var turned: Instant?
    private var nextWholeLook: Instant?
    private var fences: [Int64] = []

    /// Where a look at `now` begins. 0 is the start.
    ///
    /// - Parameter shards: the fences of the owned shards. With other shards the look is a whole one.
    mutating func start(at now: Instant, shards: [Int64]) -> Int64 {
        if shards != fences {
            fences = shards
            nextWholeLook = nil
        }
        if turned.map({ now - $0 >= Self.patience }) ?? true {
            before = atTurn
            atTurn = newest
            turned = now
        }
        guard let nextWholeLook, now < nextWholeLook else { return 0 }
        return before
    }

    /// - Parameters:
    ///   - newest: the newest row that was found.
    ///   - isAll: whether there was nothing else to find.
    mutating func looked(from start: Int64, newest found: Int64?, isAll: Bool, sent: Instant, now: Instant) {
        newest = max(newest, found ?? 0)
        if start == 0, isAll { nextWholeLook = now + max(Self.wholeLooks, (now - sent) * 100) }
    }
}
