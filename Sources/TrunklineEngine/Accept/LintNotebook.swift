internal import PostgresDriver
internal import Synchronization
package import TrunklineCore

/// Watches what callers give for habits that defeat the key, says so at once, and counts it in the database a little later.
///
/// Never in the way of an accept: nothing here waits or throws, memory is bounded, and what cannot be written is said once and
/// kept for the next try. Any thread.
package final class LintNotebook: Sendable {
    /// Different (lane, rule, caller) that wait to be written; further ones are only answered.
    private static let mostPending = 1_000

    private struct Entry: Hashable {
        let lane: LaneName
        let rule: CallerLint.Rule
        let caller: String
    }

    private struct State {
        var texts: RecentTexts
        var counts: [CallerLint.Rule: Int64] = [:]
    }

    private let book: TallyBook<Entry, IdempotencyKey>
    private let state: Mutex<State>

    /// - Parameters:
    ///   - name: shown in the server's list of connections.
    ///   - texts: how many texts of the day it remembers at most.
    ///   - warn: called once at most, on any thread, with a sentence.
    package init(
        databaseURL: String,
        name: String,
        texts: Int = 65_536,
        warn: @escaping @Sendable (String) -> Void
    ) {
        state = Mutex(State(texts: RecentTexts(capacity: texts)))
        book = TallyBook(most: Self.mostPending) { lines in
            let lines = lines.sorted { $0.example.value < $1.example.value }
            try await TallyBooks.write(to: databaseURL, name) { session in
                _ = try await session.query(
                    "select trunkline.note_lint($1, $2, $3, $4, $5)",
                    [
                        .textArray(lines.map(\.entry.lane.value)), .textArray(lines.map(\.entry.rule.rawValue)),
                        .textArray(lines.map(\.entry.caller)), .textArray(lines.map(\.example.value)),
                        .int8Array(lines.map(\.times)),
                    ]
                )
            }
        } warn: { error in
            warn("habits of callers could not be recorded (\(error)); nothing else depends on it")
        }
    }

    /// Looks at a job that was accepted as a new one.
    ///
    /// - Parameters:
    ///   - caller: the id of an API key, or the way in.
    ///   - now: the moment of the call.
    /// - Returns: what it tells of its caller, for an answer to say; usually nothing.
    @discardableResult
    package func note(_ work: CarriedWork, caller: String, now: Timestamp) -> [CallerLint.Rule] {
        var findings = CallerLint.findings(work.key, now: now)
        return state.withLock { state in
            // An event may say the same as the one before; a text to a person rarely does.
            if case .send = work, state.texts.see(work.contentDigest, on: work.lane, key: work.key, now: now) {
                findings.append(.sameText)
            }
            for rule in findings {
                state.counts[rule, default: 0] += 1
                book.note(Entry(lane: work.lane, rule: rule, caller: caller), work.key)
            }
            return findings
        }
    }

    /// How often each rule was met since the beginning, for metrics.
    package var counts: [CallerLint.Rule: Int64] { state.withLock { $0.counts } }

    /// How many different findings wait to be written.
    package var waiting: Int { book.waiting }

    /// Writes what waits, each time after `interval`, until the task is cancelled.
    package func run(every interval: Duration = .seconds(5)) async { await book.run(every: interval) }

    /// Writes what waits. What could not be written waits on.
    package func flush() async { await book.flush() }

    /// The last write, which nothing waits for longer than two seconds.
    package func close() async { await book.close() }
}
