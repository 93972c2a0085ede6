import TestKit
import Testing

@testable import TrunklineCore

@Suite struct SlotSharesTests {
    @Test func eachKindHasAPartThatOthersCannotTake() {
        var shares = SlotShares(slots: 10, reserved: ["a": 50, "b": 30])
        #expect(shares.free(for: "a", of: 10) == 7 && shares.free(for: "b", of: 10) == 5)
        #expect(shares.free(for: "c", of: 10) == 2, "a kind without a part has what nobody reserved")
        shares.took("a", 7)
        #expect(shares.free(for: "a", of: 3) == 0 && shares.free(for: "b", of: 3) == 3)
        shares.gaveBack("a", 7)
        shares.took("b", 3)
        #expect(shares.free(for: "a", of: 7) == 7 && shares.free(for: "b", of: 7) == 2)
    }

    @Test func oneKindAloneHasEverything() {
        var shares = SlotShares(slots: 16, reserved: ["a": 50])
        for used in 0..<16 {
            #expect(shares.free(for: "a", of: 16 - used) == 16 - used)
            shares.took("a")
        }
    }

    /// Whoever only takes what is free for it never leaves another kind without its part.
    @Test(arguments: 1...50 as ClosedRange<UInt64>)
    func nobodyIsEverWithoutItsPart(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let kinds = ["a", "b", "c"]
        let slots = Int.random(in: 1...40, using: &random)
        let percents = ["a": Int.random(in: 0...50, using: &random), "b": Int.random(in: 0...50, using: &random)]
        var shares = SlotShares(slots: slots, reserved: percents)
        var used = ["a": 0, "b": 0, "c": 0]
        for _ in 1...500 {
            let kind = kinds.randomElement(using: &random)!
            let free = slots - used.values.reduce(0, +)
            if Bool.random(using: &random), shares.free(for: kind, of: free) > 0 {
                shares.took(kind)
                used[kind]! += 1
            } else if used[kind]! > 0 {
                shares.gaveBack(kind)
                used[kind]! -= 1
            }
            let left = slots - used.values.reduce(0, +)
            #expect(left >= 0, "seed \(seed)")
            for (kind, percent) in percents where used[kind]! < slots * percent / 100 {
                #expect(shares.free(for: kind, of: left) > 0, "seed \(seed): \(kind)")
            }
        }
    }
}
