internal import TrunklineCore
internal import TrunklineEngine

/// What `enqueue` says while it works and at the end. Like ``RowsReport``.
struct EnqueueReport {
    private static let words = RowsReport.Words(
        all: ["new", "repeat", "confirmed", "refused", "conflict", "unroutable", "rejected", "not_sent", "unknown"],
        always: ["new", "repeat", "refused", "conflict"],
        said: [
            "repeat": ("repeat", "repeats"), "conflict": ("conflict", "conflicts"),
            "not_sent": ("not sent", "not sent"),
        ]
    )

    let rows: RowsReport
    private let json: Bool

    init(json: Bool, totalBytes: Int64?) {
        self.json = json
        rows = RowsReport("enqueue", Self.words, json: json, totalBytes: totalBytes)
    }

    func add(_ verdicts: [RowVerdict]) {
        rows.add(
            verdicts.map { verdict in
                RowsReport.Row(
                    number: verdict.row,
                    word: verdict.verdict.word,
                    complaint: verdict.complaint.map { ($0.field, $0.reason) },
                    document: { Self.document(verdict) }
                )
            }
        )
    }

    /// Prints the sums; throws the exit code when not every row was taken.
    func finish() throws {
        let counts = rows.finish()
        if !json, let repeats = counts["repeat"], repeats > 0 {
            Output.line(
                counts["new"] == nil
                    ? "Nothing is sent twice: every accepted row was accepted before."
                    : "Nothing is sent twice: \(repeats) \(repeats == 1 ? "row was" : "rows were") accepted before."
            )
        }
        func count(_ words: String...) -> Int { words.reduce(0) { $0 + (counts[$1] ?? 0) } }
        if count("not_sent", "unknown") > 0 { throw CommandError.silent(.unreachable) }
        if count("unroutable", "rejected") > 0 { throw CommandError.silent(.failed) }
        if count("refused", "conflict") > 0 { throw CommandError.silent(.refused) }
    }

    private static func document(_ verdict: RowVerdict) -> String {
        var json = JSONWriter(capacity: 200)
        json.beginObject()
        json.name("row")
        json.integer(verdict.row)
        json.member("verdict", verdict.verdict.word)
        json.member("line", verdict.job?.lane.line?.value)
        json.member("destination", verdict.job?.lane.destination?.value)
        json.member("key", verdict.job?.key.value)
        switch verdict.verdict {
        case .new(let id): json.member("job", id.description)
        case .repeat(let id, _, let finalState):
            json.member("job", id.description)
            json.member("finalState", finalState)
        case .conflict(_, _, let contents):
            json.member("kind", verdict.refusal?.kind.rawValue)
            json.member("storedContent", contents.stored)
            json.member("givenContent", contents.given)
        case .unknownLane, .removedLane, .refused: json.member("kind", verdict.refusal?.kind.rawValue)
        case .confirmed, .unroutable, .rejected, .notSent, .unknown: break
        }
        if let complaint = verdict.complaint {
            json.member("field", complaint.field)
            json.member("reason", complaint.reason)
        }
        json.endObject()
        return String(decoding: json.bytes, as: UTF8.self)
    }
}
