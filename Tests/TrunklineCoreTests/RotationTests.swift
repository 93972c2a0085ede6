import TestKit
import Testing
import TrunklineCore

@Suite struct RotationTests {
    @Test func everybodyWhoWaitsIsServedOnceInARound() {
        var turns = Rotation<Int>()
        for member in [3, 1, 2] { turns.join(member) }
        #expect(turns.next() == 1)
        // Who was served, and who comes during the round, waits for the next one.
        turns.join(1)
        turns.join(0)
        #expect(turns.next() == 2 && turns.next() == 3)
        #expect(turns.next() == 0 && turns.next() == 1 && turns.next() == nil)
    }

    @Test func whoLeavesIsNotServed() {
        var turns = Rotation<Int>()
        for member in 1...3 { turns.join(member) }
        #expect(turns.next() == 1)
        turns.leave(2)
        #expect(turns.count == 1 && turns.next() == 3 && turns.next() == nil)
    }

    @Test func aNewcomerGetsWhatIsLeft() {
        var turns = Rotation<Int>()
        #expect(turns.leavesOne(of: 1) && !turns.leavesOne(of: 0))
        turns.join(1)
        turns.join(2)
        #expect(!turns.leavesOne(of: 2) && turns.leavesOne(of: 3))
    }

    /// Whatever comes and goes: while somebody waits, nobody else is served twice before, or three times at the very edge of
    /// a round.
    @Test(arguments: 0..<60)
    func nobodyIsServedOftenWhileAnotherWaits(seedOffset: UInt64) {
        let seed = 0x7475_726e_7300 &+ seedOffset
        var random = SeededGenerator(seed: seed)
        var turns = Rotation<Int>()
        let members = Int.random(in: 1...12, using: &random)
        /// Who waits, and how often the others were served meanwhile.
        var served: [Int: [Int: Int]] = [:]
        for _ in 0..<2_000 {
            let member = Int.random(in: 0..<members, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0, 1:
                turns.join(member)
                if served[member] == nil { served[member] = [:] }
            case 2 where Int.random(in: 0..<8, using: &random) == 0:
                turns.leave(member)
                served[member] = nil
            default:
                let next = turns.next()
                #expect((next == nil) == served.isEmpty, "seed \(seed)")
                guard let next else { continue }
                #expect(served[next] != nil, "seed \(seed): served without waiting")
                served[next] = nil
                for waiting in served.keys { served[waiting]![next, default: 0] += 1 }
                #expect(served.values.allSatisfy { $0.values.allSatisfy { $0 <= 2 } }, "seed \(seed)")
                // Most want more at once.
                if Int.random(in: 0..<4, using: &random) > 0 {
                    turns.join(next)
                    served[next] = [:]
                }
            }
            #expect(turns.count == served.count, "seed \(seed)")
        }
    }
}
