internal import PostgresDriver
internal import Synchronization

/// Counts what is written to the database a little later, behind the requests that it is counted for.
///
/// Never in the way: counting neither waits nor throws, memory is bounded, and what cannot be written is said once and kept
/// for the next try. Any thread.
final class TallyBook<Entry: Hashable & Sendable, Example: Sendable>: Sendable {
    /// One entry with how often it was counted, and the latest example of it.
    struct Line: Sendable {
        let entry: Entry
        var example: Example
        var times: Int64
    }

    private struct State {
        var pending: [Entry: Line] = [:]
        var hasWarned = false
    }

    /// The most that closing waits for the database.
    private static var patience: Duration { .seconds(2) }

    private let most: Int
    private let write: @Sendable ([Line]) async throws -> Void
    private let warn: @Sendable (any Error) -> Void
    private let state = Mutex(State())

    /// - Parameters:
    ///   - most: different entries that wait to be written; further ones are not counted.
    ///   - write: adds the counts to those of the database.
    ///   - warn: called once at most, on any thread, with why they could not be written.
    init(
        most: Int,
        write: @escaping @Sendable ([Line]) async throws -> Void,
        warn: @escaping @Sendable (any Error) -> Void
    ) {
        self.most = most
        self.write = write
        self.warn = warn
    }

    func note(_ entry: Entry, _ example: Example) {
        state.withLock { state in
            guard state.pending[entry] != nil || state.pending.count < most else { return }
            state.pending[entry] = Line(
                entry: entry,
                example: example,
                times: (state.pending[entry]?.times ?? 0) + 1
            )
        }
    }

    /// How many different entries wait to be written.
    var waiting: Int { state.withLock { $0.pending.count } }

    /// Writes what waits, each time after `interval`, until the task is cancelled.
    func run(every interval: Duration) async {
        while (try? await Task.sleep(for: interval)) != nil { await flush() }
    }

    /// Writes what waits. What could not be written waits on.
    func flush() async {
        let pending = state.withLock { state in
            defer { state.pending = [:] }
            return state.pending
        }
        guard !pending.isEmpty else { return }
        do {
            try await write(Array(pending.values))
        } catch {
            let isFirst = state.withLock { state in
                for (entry, line) in pending {
                    var line = line
                    line.times += state.pending[entry]?.times ?? 0
                    state.pending[entry] = line
                }
                defer { state.hasWarned = true }
                return !state.hasWarned
            }
            if isFirst { warn(error) }
        }
    }

    /// The last write, which nothing waits for longer than two seconds.
    func close() async {
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

enum TallyBooks {
    /// A session for what a book writes. It waits for nobody: what could not be written waits on, and whoever is told to end does.
    static func write(
        to databaseURL: String,
        _ name: String,
        _ body: (PostgresSession) async throws -> Void
    ) async throws {
        try await PostgresSession.withSession(
            url: databaseURL,
            applicationName: name,
            settings: [("lock_timeout", "2s"), ("statement_timeout", "5s")],
            silenceLimit: .seconds(8),
            body
        )
    }
}
