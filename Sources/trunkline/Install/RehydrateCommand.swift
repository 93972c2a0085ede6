internal import ArgumentParser
internal import Foundation
internal import TrunklineEngine

struct RehydrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rehydrate",
        abstract: "Rebuild the broker from PostgreSQL: declare everything, then wake every unfinished job.",
        discussion: """
            For a broker that was wiped or replaced. Safe at any time and to repeat, also while workers run: nothing is sent \
            twice by it. Messages that only the broker had are gone with it.
            """
    )

    @OptionGroup var options: GlobalOptions

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        try await options.run { settings in
            let bar = ProgressBar("rehydrate")
            let begin = ContinuousClock.now
            let report: Rehydration.Report
            do {
                report = try await settings.operate(as: "trunkline rehydrate") { install in
                    try await install.rehydrate(amqpURL: settings.amqpURL()) { report, total in
                        bar.show(report.jobs, of: total, "jobs")
                    }
                }
            } catch {
                bar.clear()
                throw error
            }
            bar.clear()
            let elapsed = ContinuousClock.now - begin
            let milliseconds = Int(elapsed / .milliseconds(1))
            if json {
                try Output.json(
                    Document(
                        shards: report.shards,
                        jobs: report.jobs,
                        wokenNow: report.now,
                        wokenLater: report.later,
                        inAttempt: report.inAttempt,
                        parked: report.parked,
                        milliseconds: milliseconds
                    )
                )
                return
            }
            Output.line("exchanges and queues for \(report.shards) shards are in place")
            let later =
                report.later.isEmpty
                ? ""
                : ", "
                    + report.later.sorted { $0.key < $1.key }.map { "\($0.value) in \($0.key)" }.joined(separator: ", ")
            Output.line(
                "\(report.jobs) unfinished jobs: \(report.now) woken now\(later), \(report.inAttempt) in an attempt, "
                    + "\(report.parked) parked, in " + String(format: "%.1f s", Double(milliseconds) / 1_000)
            )
        }
    }

    private struct Document: Encodable {
        let shards: Int
        let jobs: Int
        let wokenNow: Int
        /// By tier.
        let wokenLater: [String: Int]
        let inAttempt: Int
        let parked: Int
        let milliseconds: Int
    }
}
