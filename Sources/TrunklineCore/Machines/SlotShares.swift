/// How call slots are shared among kinds of carriers: each has a part that the others cannot take, and the rest goes to
/// whoever comes. No I/O, no clock.
///
/// What is reserved is kept free for its kind while that kind uses less than its part:
///
/// | 10 slots, A has 50 %, B 30 % | free for A | free for B |
/// | --- | --- | --- |
/// | nobody calls | 7 | 5 |
/// | A makes 7 calls | 0 | 3 |
/// | B makes 3 calls | 7 | 2 |
package struct SlotShares<Kind: Hashable & Sendable>: Sendable {
    private struct Share: Sendable {
        let reserved: Int
        var used = 0
        var isSeen: Bool
        var isWaitedFor: Int { isSeen ? max(0, reserved - used) : 0 }
    }

    private var shares: [Kind: Share] = [:]
    /// Sum of what is reserved and not used.
    private var keptFree = 0

    /// - Parameters:
    ///   - slots: how many there are.
    ///   - percents: of them what each kind has for itself; 0…100, together at most 100. Rounded down.
    ///   - onceSeen: whether a kind has its part only from when it was first ``seen(_:)`` or called; what nobody uses is
    ///     kept free for nobody.
    package init(slots: Int, reserved percents: [Kind: Int], onceSeen: Bool = false) {
        precondition(
            percents.values.allSatisfy { $0 >= 0 } && percents.values.reduce(0, +) <= 100,
            "parts of one whole"
        )
        shares = percents.mapValues { Share(reserved: slots * $0 / 100, isSeen: !onceSeen) }
        keptFree = shares.values.reduce(0) { $0 + $1.isWaitedFor }
    }

    /// There is somebody of that kind.
    package mutating func seen(_ kind: Kind) {
        guard shares[kind]?.isSeen == false else { return }
        shares[kind]?.isSeen = true
        keptFree += shares[kind]!.isWaitedFor
    }

    /// How many of `free` slots a call of that kind may have. A kind without a part may have what nobody reserved.
    package func free(for kind: Kind, of free: Int) -> Int { free - keptFree + (shares[kind]?.isWaitedFor ?? 0) }

    /// Of that kind, so many slots are used from now on.
    package mutating func took(_ kind: Kind, _ count: Int = 1) { change(kind, by: count) }

    /// Of that kind, so many slots are free again.
    package mutating func gaveBack(_ kind: Kind, _ count: Int = 1) { change(kind, by: -count) }

    private mutating func change(_ kind: Kind, by count: Int) {
        seen(kind)
        guard var share = shares[kind] else { return }
        keptFree -= share.isWaitedFor
        share.used += count
        keptFree += share.isWaitedFor
        shares[kind] = share
    }
}
