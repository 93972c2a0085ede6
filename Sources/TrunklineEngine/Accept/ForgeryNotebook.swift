internal import PostgresDriver
package import TrunklineCore

/// Counts requests to sources that did not prove their sender: by source and reason, nothing of what they hold. What a gateway
/// counted is in the database within seconds; what it had not written when it was killed is lost. Any thread.
package final class ForgeryNotebook: Sendable {
    private struct Entry: Hashable {
        let source: SourceID
        let reason: SourceRefusal.Reason
    }

    private let book: TallyBook<Entry, Void>

    /// - Parameters:
    ///   - name: shown in the server's list of connections.
    ///   - tell: called on any thread with what was counted since the last time.
    ///   - warn: called once at most, on any thread, with a sentence.
    package init(
        databaseURL: String,
        name: String,
        tell: @escaping @Sendable (SourceID, SourceRefusal.Reason, Int64) -> Void,
        warn: @escaping @Sendable (String) -> Void
    ) {
        book = TallyBook(most: 10_000) { lines in
            try await TallyBooks.write(to: databaseURL, name) { session in
                _ = try await session.query(
                    "select trunkline.note_forged($1, $2, $3)",
                    [
                        .textArray(lines.map(\.entry.source.value)), .textArray(lines.map(\.entry.reason.rawValue)),
                        .int8Array(lines.map(\.times)),
                    ]
                )
            }
            for line in lines { tell(line.entry.source, line.entry.reason, line.times) }
        } warn: { error in
            warn("forged requests could not be counted (\(error)); they were refused all the same")
        }
    }

    package func note(_ source: SourceID, _ reason: SourceRefusal.Reason) {
        book.note(Entry(source: source, reason: reason), ())
    }

    /// Writes what waits, each time after `interval`, until the task is cancelled.
    package func run(every interval: Duration = .seconds(2)) async { await book.run(every: interval) }

    /// The last write, which nothing waits for longer than two seconds.
    package func close() async { await book.close() }
}
