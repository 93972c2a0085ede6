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
    /// The most that closing waits for the database.
    private static let patience: Duration = .seconds(2)

    private struct Entry: Hashable {
        let lane: LaneName
        let rule: CallerLint.Rule
        let caller: String
    }

    private struct State {
        var texts: RecentTexts
        var pending: [Entry: (key: IdempotencyKey, times: Int64)] = [:]
        var counts: [CallerLint.Rule: Int64] = [:]
        var hasWarned = false
    }

    private let databaseURL: String
    private let name: String
    private let warn: @Sendable (String) -> Void
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
        self.databaseURL = databaseURL
        self.name = name
        self.warn = warn
        state = Mutex(State(texts: RecentTexts(capacity: texts)))
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
                let entry = Entry(lane: work.lane, rule: rule, caller: caller)
                guard state.pending[entry] != nil || state.pending.count < Self.mostPending else { continue }
                state.pending[entry] = (work.key, (state.pending[entry]?.times ?? 0) + 1)
            }
            return findings
        }
    }

    /// How often each rule was met since the beginning, for metrics.
    package var counts: [CallerLint.Rule: Int64] { state.withLock { $0.counts } }

    /// How many different findings wait to be written.
    package var waiting: Int { state.withLock { $0.pending.count } }

    /// Writes what waits, each time after `interval`, until the task is cancelled.
    package func run(every interval: Duration = .seconds(5)) async {
        while (try? await Task.sleep(for: interval)) != nil { await flush() }
    }

    /// Writes what waits. What could not be written waits on.
    package func flush() async {
        let pending = state.withLock { state in
            defer { state.pending = [:] }
            return state.pending
        }
        guard !pending.isEmpty else { return }
        let entries = pending.sorted { $0.value.key.value < $1.value.key.value }
        do {
            try await PostgresSession.withSession(url: databaseURL, applicationName: name) { session in
                _ = try await session.query(
                    "select trunkline.note_lint($1, $2, $3, $4, $5)",
                    [
                        .textArray(entries.map(\.key.lane.value)), .textArray(entries.map(\.key.rule.rawValue)),
                        .textArray(entries.map(\.key.caller)), .textArray(entries.map(\.value.key.value)),
                        .int8Array(entries.map(\.value.times)),
                    ]
                )
            }
        } catch {
            let isFirst = state.withLock { state in
                for (entry, seen) in pending {
                    state.pending[entry] = (seen.key, seen.times + (state.pending[entry]?.times ?? 0))
                }
                defer { state.hasWarned = true }
                return !state.hasWarned
            }
            if isFirst { warn("habits of callers could not be recorded (\(error)); nothing else depends on it") }
        }
    }

    /// The last write, which nothing waits for longer than two seconds.
    package func close() async {
        // Not a group, which would wait for both.
        let (end, ended) = AsyncStream<Void>.makeStream()
        Task {
            await flush()
            ended.finish()
        }
        let limit = Task {
            try await Task.sleep(for: Self.patience)
            ended.finish()
        }
        for await _ in end {}
        limit.cancel()
    }
}
