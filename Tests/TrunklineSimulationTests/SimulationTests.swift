import Testing

@testable import TrunklineEngine

/// Workers as they are, in a world where everything that can go wrong does. All of it follows from a seed.
@Suite(.serialized)
struct SimulationTests {
    /// How many seeds a run looks at; TRUNKLINE_SEEDS says otherwise, and TRUNKLINE_SEED runs one alone and tells all of it.
    private static let usualCount: UInt64 = 5_000

    @Test func everySeedKeepsThePromises() async throws {
        if let seed = variable("TRUNKLINE_SEED") {
            let report = Simulation.run(seed: seed, isVerbose: true)
            for line in report.log { print(line) }
            for violation in report.violations { print("VIOLATED \(violation)") }
            #expect(report.violations.isEmpty)
            return
        }
        let count = variable("TRUNKLINE_SEEDS") ?? Self.usualCount
        let started = ContinuousClock.now
        let summary = await Runs.run(seeds: 1...count)
        let took = ContinuousClock.now - started
        print("\(count) seeds in \(took), \(summary.events) events, \(summary.length / World.second) s of virtual time")
        for (fault, hits) in zip(Fault.allCases, summary.hits) { print("\(hits)\t\(fault.rawValue)") }
        for report in summary.failed.prefix(5) {
            print("--- seed \(report.seed) ---")
            for line in report.log.suffix(120) { print(line) }
            print(
                "again, with every step: TRUNKLINE_SEED=\(report.seed) swift test --traits Faults --filter SimulationTests"
            )
        }
        #expect(summary.failed.isEmpty, "seeds \(summary.failed.map(\.seed).sorted().prefix(50)): \(summary.rules)")
        if count >= Self.usualCount {
            let never = zip(Fault.allCases, summary.hits).filter { $1 == 0 }.map(\.0.rawValue)
            #expect(never.isEmpty, "a simulation that never meets a fault says nothing about it")
        }
    }

    @Test func aSeedTellsTheSameStoryTwice() {
        for seed in 1...40 as ClosedRange<UInt64> {
            let first = Simulation.run(seed: seed)
            let second = Simulation.run(seed: seed)
            #expect(first.digest == second.digest, "seed \(seed)")
            #expect(first.log == second.log, "seed \(seed)")
        }
    }
}
