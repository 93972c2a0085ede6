internal import Foundation
internal import PostgresDriver
internal import RabbitDriver
internal import TestKit

/// How fast a worker is: how quickly it drains a backlog, and how long a single notice takes from its producer to the API.
/// With a rival, another build of the program, in interleaved pairs, so that a machine that gets slower hits both alike.
package enum SpeedBench {
    package struct Figures: Codable, Sendable {
        /// Sends a second, from the first claim to the last end of a backlog that was all in the broker.
        package var drain: Double
        /// Milliseconds from right before a notice is published until its call is at the API, nothing else being under way.
        package var median: Double
        package var worstOfHundred: Double
    }

    package struct Result: Codable, Sendable {
        package var ours: [Figures] = []
        package var rivals: [Figures] = []

        /// The median of the pairs' ratios, ours to the rival's; nil without one.
        package func ratio(_ figure: (Figures) -> Double) -> Double? {
            let ratios = zip(ours, rivals).map { figure($0) / figure($1) }.sorted()
            return ratios.isEmpty ? nil : ratios[ratios.count / 2]
        }
    }

    /// - Parameters:
    ///   - rival: another built `trunkline`; it gets servers of its own.
    ///   - jobs: in each backlog.
    ///   - singles: single notices in each measurement.
    ///   - pairs: how often each is measured.
    package static func run(
        _ options: ChaosOptions,
        against rival: String?,
        jobs: Int,
        singles: Int,
        pairs: Int,
        say: @escaping @Sendable (String) -> Void
    ) async throws -> Result {
        var stages: [(name: String, stage: Stage)] = []
        do {
            for (name, program) in [("ours", options.program)] + (rival.map { [("rival", $0)] } ?? []) {
                var options = options
                options.hasProxies = false
                options.workers = 1
                options.gateways = 0
                options.destinations = 0
                options.folder += "/" + name
                options.program = program
                let stage = try await Stage.setUp(options, say: say)
                stages.append((name, stage))
                try await stage.setLinesFree()
                _ = try await drain(stage, jobs, "warm")
            }
            var result = Result()
            for pair in 0..<pairs {
                // A B, B A, A B, …
                for (name, stage) in pair % 2 == 0 ? stages : stages.reversed() {
                    let figures = try await measure(stage, pair, jobs, singles)
                    if name == "ours" { result.ours.append(figures) } else { result.rivals.append(figures) }
                    say(
                        "pair \(pair + 1), \(name): \(Int(figures.drain)) sends/s; latency "
                            + String(format: "%.1f ms, p99 %.1f ms", figures.median, figures.worstOfHundred)
                    )
                }
            }
            for (_, stage) in stages { await stage.tearDown() }
            return result
        } catch {
            for (_, stage) in stages { await stage.tearDown() }
            throw error
        }
    }

    private static func measure(_ stage: Stage, _ pair: Int, _ jobs: Int, _ singles: Int) async throws -> Figures {
        let drained = try await drain(stage, jobs, "drain\(pair)")
        let latencies = try await latencies(stage, singles, "single\(pair)")
        // A worker that stands idle beside the other's measurement would cost that one.
        guard await stage.workers[0].stop(within: .seconds(30)) == 0 else { throw ChaosError("a worker did not end") }
        return Figures(
            drain: drained,
            median: latencies[latencies.count / 2],
            worstOfHundred: latencies[latencies.count * 99 / 100]
        )
    }

    /// Fills the queues while no worker runs, and lets one drain them. It goes on running.
    private static func drain(_ stage: Stage, _ jobs: Int, _ name: String) async throws -> Double {
        _ = await stage.workers[0].stop(within: .seconds(30))
        try await stage.publish(jobs, name, to: stage.plan.lines)
        try stage.workers[0].start()
        let mine = "from trunkline.finished where state = 'sent' and key like '\(name):%'"
        try await stage.wait(for: "the backlog to be sent") {
            try await stage.count("select count(*) \(mine)") == Int64(jobs)
        }
        let span = try await stage.count(
            "select (extract(epoch from max(ended_at) - min(claimed_at)) * 1000000)::bigint \(mine)"
        )
        return Double(jobs) / (Double(span) / 1e6)
    }

    /// Milliseconds, sorted.
    private static func latencies(_ stage: Stage, _ count: Int, _ name: String) async throws -> [Double] {
        let publisher = try stage.publisher()
        var begins: [String: Int64] = [:]
        let lines = stage.plan.lines
        for number in 0..<count {
            let begin = Moment.now
            begins["\(name):\(number)"] = begin
            let outcomes = await publisher.publish(Stage.messages(number..<number + 1, name, to: lines))
            guard outcomes.allSatisfy(\.isConfirmed) else { throw ChaosError("the broker did not confirm a notice") }
            try await Task.sleep(for: .milliseconds(10))
        }
        await publisher.shutdown()
        try await stage.wait(for: "the single notices to be sent") {
            try await stage.count("select count(*) from trunkline.finished where key like '\(name):%'") == Int64(count)
        }
        var evidence = Evidence()
        try evidence.readJournal(path: stage.simulator.journal)
        let spans = evidence.calls.compactMap { call in begins[call.key].map { Double(call.at - $0) / 1e6 } }
        guard spans.count == count else { throw ChaosError("\(spans.count) calls for \(count) single notices") }
        return spans.sorted()
    }
}
