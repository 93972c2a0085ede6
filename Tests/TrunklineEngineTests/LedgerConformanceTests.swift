import Foundation
import Testing
import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

/// The rules of the ledger exist twice, in SQL and in the model that simulations run on. Both are asked the same, and
/// everything is compared after every step: a rule that changes in one of them changes in the other, or a seed says where.
@Suite(.serialized)
struct LedgerConformanceTests {
    private static let steps = 24
    /// TRUNKLINE_LEDGER_SEEDS says otherwise.
    private static let usualSeeds: UInt64 = 2_000
    private static let mutationSeeds: UInt64 = 2_000

    private static var seeds: UInt64 {
        ProcessInfo.processInfo.environment["TRUNKLINE_LEDGER_SEEDS"].flatMap { UInt64($0) } ?? usualSeeds
    }

    @Test("PostgreSQL and the model give the same answers and keep the same rows")
    func bothKeepTheSameRules() async throws {
        let reports = try await Self.withDatabases { postgres, part -> ([String: Int], Found?) in
            var names: [String: Int] = [:]
            for seed in stride(from: UInt64(part) + 1, through: Self.seeds, by: 2) {
                let run = Self.compare(seed, postgres)
                names.merge(run.names) { $0 + $1 }
                if let difference = run.difference { return (names, difference) }
            }
            return (names, nil)
        }
        for case let difference? in reports.map({ $0.1 }) { Issue.record("\(difference)") }
        var met: [String: Int] = [:]
        for report in reports { met.merge(report.0) { $0 + $1 } }
        let never = Self.everything.filter { met[$0, default: 0] == 0 }
        #expect(never.isEmpty || Self.seeds < Self.usualSeeds, "never asked or never answered: \(never)")
    }

    /// Every call of the port, and every verdict: what no seed meets is compared by nobody.
    private static let everything = [
        "beat", "fleet", "waitsForUs", "shards", "acquire", "release", "terminate", "forget", "breakers", "openBreaker",
        "probeBreaker", "endProbe", "configuredLanes", "shardCount", "take", "acceptEvents", "refuse", "suspect",
        "unsuspect",
        "adopt", "place", "claim", "abandon", "expire", "load", "watch", "lanes", "lastSends", "forgotten",
        "beginEffect", "credentials", "beginRefresh", "endRefresh", "settle",
        "pause", "keepGates", "holdTold", "outside",
        "take: new", "take: repeat", "take: conflict", "take: unknownLane", "take: removedLane", "take: lost",
        "claim: claimed", "claim: lost", "claim: gone", "claim: busy", "claim: held", "claim: overtaken",
        "claim: early",
        "claim: expired", "claim: superseded", "claim: horizon", "claim: capped",
        "settle: sent", "settle: lateSent", "settle: evidence", "settle: waiting", "settle: unknown", "settle: parked",
        "settle: cancelled", "settle: stale", "acceptEvents: new", "acceptEvents: repeat", "acceptEvents: conflict",
        "acceptEvents: unknownLane",
    ]

    @Test("without any one of its rules the model is told apart from PostgreSQL")
    func everyRuleIsMissed() async throws {
        let missed = try await Self.withDatabases { postgres, part -> [String] in
            Mutant.all.enumerated().filter { $0.offset % 2 == part }.compactMap { _, mutant in
                // Where two models differ is worth a look at PostgreSQL.
                for seed in 1...Self.mutationSeeds where Self.differs(seed, mutant) {
                    guard let difference = Self.compare(seed, postgres, mutant).difference else { continue }
                    print("without \(mutant): seed \(seed), step \(difference.step)")
                    return nil
                }
                return mutant.description
            }
        }
        #expect(missed.flatMap { $0 }.isEmpty, "nobody misses these rules")
    }

    /// Whether the model without a rule and the whole one differ.
    private static func differs(_ seed: UInt64, _ mutant: Mutant) -> Bool {
        let sequence = mutant.sequence(seed, ConformanceSequence.lanes)
        let whole = ConformanceSequence(seed: seed, lanes: ConformanceSequence.lanes, mutation: nil, weakness: nil)
        let (weak, strong) = (ImmediateLedger(sequence.model), ImmediateLedger(whole.model))
        for _ in 0..<steps {
            let step = sequence.next()
            var answers = ("", "")
            if case .outside(let outside) = step {
                sequence.apply(outside)
                whole.apply(outside)
            } else {
                step.ask(weak, shardCount: ConformanceSequence.shardCount) { answers.0 = $0 }
                step.ask(strong, shardCount: ConformanceSequence.shardCount) { answers.1 = $0 }
            }
            if answers.0 != answers.1 || sequence.model.rows != whole.model.rows { return true }
        }
        return false
    }

    enum Mutant: Sendable, CustomStringConvertible {
        case mutation(LedgerModel.Mutation)
        case weakness(LedgerModel.Weakness)
        static var all: [Mutant] {
            LedgerModel.Mutation.allCases.map { .mutation($0) } + LedgerModel.Weakness.allCases.map { .weakness($0) }
        }
        var description: String {
            switch self {
            case .mutation(let mutation): mutation.rawValue
            case .weakness(let weakness): weakness.rawValue
            }
        }

        func sequence(_ seed: UInt64, _ lanes: [LedgerModel.Lane]) -> ConformanceSequence {
            switch self {
            case .mutation(let mutation):
                ConformanceSequence(seed: seed, lanes: lanes, mutation: mutation, weakness: nil)
            case .weakness(let weakness):
                ConformanceSequence(seed: seed, lanes: lanes, mutation: nil, weakness: weakness)
            }
        }
    }

    /// Where the two differ.
    fileprivate struct Found: Sendable, CustomStringConvertible {
        let seed: UInt64
        let step: Int
        let steps: [String]
        let details: String
        var description: String {
            "seed \(seed), step \(step):\n\(details)\nafter\n\(steps.enumerated().map { "\($0): \($1)" }.joined(separator: "\n"))"
        }
    }

    private static func compare(
        _ seed: UInt64,
        _ postgres: PostgresUnderTest,
        _ mutant: Mutant? = nil
    ) -> (names: [String: Int], difference: Found?) {
        let sequence =
            mutant?.sequence(seed, postgres.lanes)
            ?? ConformanceSequence(seed: seed, lanes: postgres.lanes, mutation: nil, weakness: nil)
        let model = ImmediateLedger(sequence.model)
        var names: [String: Int] = [:]
        var taken: [ConformanceStep] = []
        postgres.begin()
        defer { postgres.rollback() }
        for number in 0..<steps {
            let step = sequence.next()
            taken.append(step)
            var expected = "done"
            if case .outside(let outside) = step {
                sequence.apply(outside)
            } else {
                step.ask(model, shardCount: ConformanceSequence.shardCount) { expected = $0 }
            }
            let name = step.name
            names[name, default: 0] += 1
            for verdict in Self.verdicts(expected) { names["\(name): \(verdict)", default: 0] += 1 }
            let actual = postgres.run(step, now: sequence.now)
            let rows = sequence.model.rows
            guard expected == actual.answer, rows == actual.rows else {
                let missing = Set(rows).subtracting(actual.rows).sorted().joined(separator: "\n  ")
                let surplus = Set(actual.rows).subtracting(rows).sorted().joined(separator: "\n  ")
                let answers = expected == actual.answer ? "" : "model:\n\(expected)\nPostgreSQL:\n\(actual.answer)\n"
                return (
                    names,
                    Found(
                        seed: seed,
                        step: number,
                        steps: taken.map { "\($0)" },
                        details: "\(answers)only in the model:\n  \(missing)\nonly in PostgreSQL:\n  \(surplus)"
                    )
                )
            }
        }
        return (names, nil)
    }

    /// The words behind `verdict:` in an answer.
    private static func verdicts(_ answer: String) -> [String] {
        answer.components(separatedBy: "verdict: ").dropFirst().map { part in
            let name = part.prefix { $0 != "(" && $0 != ")" }
            return String(name.split(separator: ".").last ?? "")
        }
    }

    /// Runs `body` beside databases of their own, each on a thread that may wait.
    private static func withDatabases<R: Sendable>(
        count: Int = 2,
        _ body: @Sendable @escaping (PostgresUnderTest, Int) -> R
    ) async throws -> [R] {
        try await withThrowingTaskGroup(of: R.self) { group in
            for part in 0..<count {
                group.addTask {
                    try await TestServers.withDatabase { url in
                        let postgres = try await PostgresUnderTest(url: url)
                        let result: R = await withCheckedContinuation { continuation in
                            Thread.detachNewThread { continuation.resume(returning: body(postgres, part)) }
                        }
                        postgres.close()
                        return result
                    }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }
}
