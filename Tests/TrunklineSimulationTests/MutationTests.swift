import Testing
import TrunklineLedgerModel

@testable import TrunklineEngine

/// The simulation can fail: without a mechanism, some seed among a few hundred breaks a rule.
@Suite(.serialized)
struct MutationTests {
    private static let seeds: ClosedRange<UInt64> = 1...1_500

    @Test(arguments: [Mechanism.lastLook, .ackAfterCommit, .reread, .terminate, .foreignLease, .othersInAir])
    func aMechanismOfTheWorkerIsMissed(_ mechanism: Mechanism) async {
        let summary = await Runs.run(seeds: Self.seeds, turnedOff: [mechanism]) { !$0.violations.isEmpty }
        say(mechanism.rawValue, summary)
        #expect(!summary.failed.isEmpty, "nobody misses \(mechanism.rawValue)")
    }

    @Test(arguments: LedgerModel.Weakness.allCases)
    func aRuleOfTheStatementsIsMissed(_ weakness: LedgerModel.Weakness) async {
        let summary = await Runs.run(seeds: Self.seeds, weakness: weakness) { !$0.violations.isEmpty }
        say(weakness.rawValue, summary)
        #expect(!summary.failed.isEmpty, "nobody misses \(weakness.rawValue)")
    }

    private func say(_ name: String, _ summary: Runs.Summary) {
        guard let first = summary.failed.first else { return }
        print("without \(name): seed \(first.seed), \(first.violations[0])")
    }
}
