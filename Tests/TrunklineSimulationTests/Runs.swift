import Glibc
import TrunklineLedgerModel

@testable import TrunklineEngine

func variable(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }

/// Many seeds, each world on one thread, two at a time.
enum Runs {
    struct Summary: Sendable {
        var hits = [Int](repeating: 0, count: Fault.allCases.count)
        var failed: [Simulation.Report] = []
        var events = 0
        var length: World.Time = 0

        /// How often each rule was broken.
        var rules: [String: Int] {
            var counts: [String: Int] = [:]
            for report in failed {
                let rule = report.violations.first?.prefix { $0 != ":" } ?? ""
                counts[String(rule), default: 0] += 1
            }
            return counts
        }
    }

    static func run(
        seeds: ClosedRange<UInt64>,
        turnedOff: Set<Mechanism> = [],
        weakness: LedgerModel.Weakness? = nil,
        isEnough: @Sendable @escaping (Simulation.Report) -> Bool = { _ in false }
    ) async -> Summary {
        await withTaskGroup(of: Summary.self) { group in
            let threads: UInt64 = 2
            for part in 0..<threads {
                group.addTask {
                    var summary = Summary()
                    var seed = seeds.lowerBound + part
                    while seed <= seeds.upperBound {
                        let report = Simulation.run(seed: seed, turnedOff: turnedOff, weakness: weakness)
                        for (index, hits) in report.hits.enumerated() { summary.hits[index] += hits }
                        summary.events += report.events
                        summary.length += report.length
                        if !report.violations.isEmpty { summary.failed.append(report) }
                        if isEnough(report) { break }
                        seed += threads
                        await Task.yield()
                    }
                    return summary
                }
            }
            var whole = Summary()
            for await part in group {
                for (index, hits) in part.hits.enumerated() { whole.hits[index] += hits }
                whole.failed += part.failed
                whole.events += part.events
                whole.length += part.length
            }
            whole.failed.sort { $0.seed < $1.seed }
            return whole
        }
    }
}
