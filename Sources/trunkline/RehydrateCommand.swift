internal import ArgumentParser
internal import Foundation
internal import Synchronization
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
                report = try await Rehydration.run(
                    databaseURL: try settings.databaseURL(),
                    amqpURL: try settings.amqpURL()
                ) { report, total in bar.show(report.jobs, of: total, "jobs") }
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

/// How far a long command is: a bar on a terminal, a line every three seconds elsewhere. On standard error. Any thread.
final class ProgressBar: Sendable {
    private struct State {
        var shownAt: ContinuousClock.Instant
        var isShown = false
    }

    private let name: String
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let state: Mutex<State>

    init(_ name: String) {
        self.name = name
        // Without a terminal the first line comes after one pause, so that a short run has none.
        state = Mutex(State(shownAt: .now))
    }

    func show(_ done: Int, of total: Int, _ what: String) {
        let now = ContinuousClock.now
        state.withLock { state in
            guard now - state.shownAt >= (isTerminal ? .milliseconds(100) : .seconds(3)) else { return }
            state.shownAt = now
            let share = total > 0 ? min(1, Double(done) / Double(total)) : 1
            if isTerminal {
                let full = Int(share * 24)
                let bar = String(repeating: "#", count: full) + String(repeating: ".", count: 24 - full)
                let text =
                    "\r\u{1B}[K[\(bar)]" + String(format: " %3.0f %%  ", share * 100) + "\(done) of \(total) \(what)"
                FileHandle.standardError.write(Data(text.utf8))
                state.isShown = true
            } else {
                Output.note("\(name): " + String(format: "%.0f %%, ", share * 100) + "\(done) of \(total) \(what)")
            }
        }
    }

    /// Takes the bar away, before something else is said.
    func clear() {
        state.withLock { state in
            guard state.isShown else { return }
            FileHandle.standardError.write(Data("\r\u{1B}[K".utf8))
            state.isShown = false
        }
    }
}
