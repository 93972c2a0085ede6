/// Who gets the next of something that is scarce: a call slot, a place in a batch, a take.
///
/// Whoever waits is served once in a round, in order; who comes during a round, or wants more, waits for the next one; and
/// who comes without having waited gets only what is left when everybody who waits has got one.
package struct Rotation<Member: Hashable & Comparable & Sendable>: Sendable {
    private var waiting: Set<Member> = []
    /// Who is still to be served in this round, the next one last. Some may have left.
    private var round: [Member] = []

    package init() {}

    /// How many wait.
    package var count: Int { waiting.count }
    package var isEmpty: Bool { waiting.isEmpty }

    package func contains(_ member: Member) -> Bool { waiting.contains(member) }

    /// Waits from now on; nothing changes for who waits already.
    package mutating func join(_ member: Member) { waiting.insert(member) }

    /// Does not wait any more.
    package mutating func leave(_ member: Member) { waiting.remove(member) }

    /// Serves the next one. Who wants more joins again.
    package mutating func next() -> Member? {
        while !waiting.isEmpty {
            while let member = round.popLast() {
                if waiting.remove(member) != nil { return member }
            }
            round = waiting.sorted(by: >)
        }
        return nil
    }

    /// Whether there is enough for a newcomer too, when `free` are there.
    package func leavesOne(of free: Int) -> Bool { free > waiting.count }

    /// Forgets whose turn it is: the next round begins with the first one again.
    package mutating func beginRound() { round = [] }
}
