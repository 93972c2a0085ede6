internal import Foundation
internal import PostgresDriver
internal import TestKit

/// Whether held lines cost the others anything: the throughput of one half of the lines, with the other half idle and with
/// the other half held over a backlog. Five pairs, interleaved, so that a machine that gets slower hits both alike.
package enum HeldBench {
    /// Pairs; their median counts.
    package static let pairs = 5
    /// How much may be lost.
    package static let tolerance = 0.1

    package struct Result: Codable, Sendable {
        /// Sends a second of the open half, one figure per pair.
        package var idle: [Double] = []
        package var held: [Double] = []
        /// The median of the pairs' ratios.
        package var ratio: Double {
            let ratios = zip(held, idle).map { $0 / $1 }.sorted()
            return ratios.isEmpty ? 0 : ratios[ratios.count / 2]
        }
        package var isUnchanged: Bool { ratio >= 1 - HeldBench.tolerance }
    }

    /// - Parameter jobs: on the open half in each measurement, and as the backlog of the held half.
    package static func run(
        _ options: ChaosOptions,
        jobs: Int,
        say: @escaping @Sendable (String) -> Void
    ) async throws -> Result {
        var options = options
        options.hasProxies = false
        options.gateways = 0
        options.destinations = 0
        let stage = try await Stage.setUp(options, say: say)
        do {
            let result = try await measure(stage, jobs, say)
            await stage.tearDown()
            return result
        } catch {
            await stage.tearDown()
            throw error
        }
    }

    private static func measure(_ stage: Stage, _ jobs: Int, _ say: (String) -> Void) async throws -> Result {
        try await stage.setLinesFree()
        for worker in stage.workers { try worker.start() }
        let half = stage.plan.lines.count / 2
        let (open, others) = (Array(stage.plan.lines[..<half]), Array(stage.plan.lines[half...]))
        _ = try await send(stage, jobs, "warm", to: open + others)
        var result = Result()
        for pair in 0..<pairs {
            // A B, B A, A B, …
            for isHeld in pair % 2 == 0 ? [false, true] : [true, false] {
                if isHeld { try await hold(stage, jobs, "held\(pair)", others) }
                let rate = try await send(stage, jobs, "\(isHeld ? "beside" : "alone")\(pair)", to: open)
                if isHeld {
                    result.held.append(rate)
                    try await resume(stage, others)
                } else {
                    result.idle.append(rate)
                }
                say("pair \(pair + 1), other half \(isHeld ? "held" : "idle"): \(Int(rate)) sends/s")
            }
        }
        return result
    }

    /// Holds the lines and gives them a backlog that is wholly in the database.
    private static func hold(_ stage: Stage, _ jobs: Int, _ name: String, _ lines: [LoadPlan.Lane]) async throws {
        for line in lines {
            try await stage.trunkline(["line", "hold", line.id, "--reason", "bench"]).requireSuccess(
                "trunkline line hold"
            )
        }
        // From a second after a hold nothing of the line begins.
        try await Task.sleep(for: .seconds(2))
        try await stage.publish(jobs, name, to: lines)
        try await stage.wait(for: "the backlog of the held lines") {
            try await stage.count("select count(*) from trunkline.jobs where state = 'waiting'") == Int64(jobs)
        }
    }

    private static func resume(_ stage: Stage, _ lines: [LoadPlan.Lane]) async throws {
        for line in lines {
            try await stage.trunkline(["line", "resume", line.id]).requireSuccess("trunkline line resume")
        }
        try await stage.wait(for: "the held lines to drain") {
            try await stage.count("select count(*) from trunkline.jobs") == 0
        }
    }

    /// Publishes jobs and waits until all are sent. Returns sends a second.
    private static func send(_ stage: Stage, _ jobs: Int, _ name: String, to lines: [LoadPlan.Lane]) async throws
        -> Double
    {
        let sent = try await stage.count("select count(*) from trunkline.finished")
        let begin = Moment.now
        try await stage.publish(jobs, name, to: lines)
        try await stage.wait(for: name) {
            try await stage.count("select count(*) from trunkline.finished") == sent + Int64(jobs)
        }
        return Double(jobs) / (Double(Moment.now - begin) / 1e9)
    }
}
