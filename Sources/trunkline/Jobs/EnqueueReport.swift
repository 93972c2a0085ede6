internal import Foundation
internal import Synchronization
internal import TrunklineCore
internal import TrunklineEngine

/// What `enqueue` says while it works and at the end: refused rows, progress, sums.
///
/// Verdicts go to standard output, progress to standard error. One task uses it; only ``warn(_:)`` may be called from
/// anywhere.
final class EnqueueReport: Sendable {
    private struct State {
        var counts: [String: Int] = [:]
        var rows = 0
        var bytes: Int64 = 0
        var shownAt: ContinuousClock.Instant?
        var isBarShown = false
    }

    static let nothingBegan = "stopped before any row was answered; the same file again is safe"

    private let json: Bool
    private let totalBytes: Int64?
    private let isTerminal: Bool
    private let begin = ContinuousClock.now
    private let state: Mutex<State>

    init(json: Bool, totalBytes: Int64?) {
        self.json = json
        self.totalBytes = totalBytes
        isTerminal = isatty(STDERR_FILENO) == 1
        state = Mutex(State())
    }

    // MARK: While it works

    func add(_ verdicts: [RowVerdict]) {
        guard !verdicts.isEmpty else { return }
        var text = ""
        state.withLock { state in
            for verdict in verdicts {
                state.counts[verdict.verdict.word, default: 0] += 1
                state.rows += 1
                if json {
                    text += Self.document(verdict)
                } else if let complaint = verdict.complaint {
                    let place = complaint.field.map { "row \(verdict.row), \($0)" } ?? "row \(verdict.row)"
                    text += Printable.line("\(place): \(verdict.verdict.word): \(complaint.reason)") + "\n"
                }
            }
            if !text.isEmpty { Self.clearBar(&state) }
        }
        if !text.isEmpty { FileHandle.standardOutput.write(Data(text.utf8)) }
        show()
    }

    func progress(bytes: Int64) {
        state.withLock { $0.bytes = bytes }
        show()
    }

    /// Says a sentence beside the progress. Any thread.
    func warn(_ sentence: String) {
        state.withLock { state in
            Self.clearBar(&state)
            Output.note("warning: " + sentence)
        }
    }

    /// Ends the progress without sums, before an error is said.
    func abandon() {
        let (rows, counts) = state.withLock { state in
            Self.clearBar(&state)
            return (state.rows, state.counts)
        }
        Output.note(
            rows > 0
                ? "stopped after \(rows) rows: " + Self.words(counts) + "; the same file again goes on safely"
                : Self.nothingBegan
        )
    }

    // MARK: The end

    /// Prints the sums; throws the exit code when not every row was taken.
    func finish() throws {
        let (rows, counts) = state.withLock { state in
            Self.clearBar(&state)
            return (state.rows, state.counts)
        }
        let elapsed = ContinuousClock.now - begin
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        if json {
            var json = JSONWriter()
            json.beginObject()
            json.name("summary")
            json.beginObject()
            json.name("rows")
            json.integer(rows)
            for word in Self.words where counts[word] != nil || ["new", "repeat", "refused", "conflict"].contains(word)
            {
                json.name(word)
                json.integer(counts[word] ?? 0)
            }
            json.name("milliseconds")
            json.integer(Int(seconds * 1_000))
            json.endObject()
            json.endObject()
            Output.json(document: String(decoding: json.bytes, as: UTF8.self))
        } else {
            let rate = seconds > 0.05 ? String(format: " (%.0f rows/s)", Double(rows) / seconds) : ""
            Output.line("\(rows) rows: \(Self.words(counts)), in " + String(format: "%.1f s", seconds) + rate)
            if let repeats = counts["repeat"], repeats > 0 {
                Output.line(
                    counts["new"] == nil
                        ? "Nothing is sent twice: every accepted row was accepted before."
                        : "Nothing is sent twice: \(repeats) \(repeats == 1 ? "row was" : "rows were") accepted before."
                )
            }
        }
        func count(_ words: String...) -> Int { words.reduce(0) { $0 + (counts[$1] ?? 0) } }
        if count("not_sent", "unknown") > 0 { throw CommandError.silent(.unreachable) }
        if count("unroutable", "rejected") > 0 { throw CommandError.silent(.failed) }
        if count("refused", "conflict") > 0 { throw CommandError.silent(.refused) }
    }

    // MARK: Inside

    private static let words = [
        "new", "repeat", "confirmed", "refused", "conflict", "unroutable", "rejected", "not_sent", "unknown",
    ]

    private static func words(_ counts: [String: Int]) -> String {
        let said: [String] = words.compactMap { word in
            guard let count = counts[word], count > 0 else { return nil }
            switch word {
            case "repeat": return "\(count) \(count == 1 ? "repeat" : "repeats")"
            case "conflict": return "\(count) \(count == 1 ? "conflict" : "conflicts")"
            case "not_sent": return "\(count) not sent"
            default: return "\(count) \(word)"
            }
        }
        return said.isEmpty ? "nothing to do" : said.joined(separator: ", ")
    }

    private func show() {
        let now = ContinuousClock.now
        state.withLock { state in
            let pause: Duration = isTerminal ? .milliseconds(100) : .seconds(3)
            // Without a terminal the first line comes after one pause, so that a short file has none.
            guard now - (state.shownAt ?? (isTerminal ? begin - pause : begin)) >= pause else { return }
            state.shownAt = now
            let words = Self.words(state.counts)
            let share = totalBytes.map { min(1, Double(state.bytes) / Double($0)) }
            if isTerminal {
                let bar = share.map { share in
                    let full = Int(share * 24)
                    return "[" + String(repeating: "#", count: full) + String(repeating: ".", count: 24 - full)
                        + String(format: "] %3.0f %%  ", share * 100)
                }
                FileHandle.standardError.write(Data("\r\u{1B}[K\(bar ?? "")\(state.rows) rows: \(words)".utf8))
                state.isBarShown = true
            } else {
                let part = share.map { String(format: "%.0f %%, ", $0 * 100) } ?? ""
                Output.note("enqueue: \(part)\(state.rows) rows: \(words)")
            }
        }
    }

    private static func clearBar(_ state: inout State) {
        guard state.isBarShown else { return }
        FileHandle.standardError.write(Data("\r\u{1B}[K".utf8))
        state.isBarShown = false
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
        return Printable.json(String(decoding: json.bytes, as: UTF8.self)) + "\n"
    }
}
