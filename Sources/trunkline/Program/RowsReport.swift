internal import Foundation
internal import Synchronization
internal import TrunklineCore
internal import TrunklineEngine

/// What a command that reads a file says while it works and at the end: rows that did not go well, progress, sums.
///
/// Verdicts go to standard output, progress to standard error. One task uses it; only ``warn(_:)`` may be called from
/// anywhere.
final class RowsReport: Sendable {
    /// What became of one row.
    struct Row {
        let number: Int
        /// The verdict in one word.
        let word: String
        /// What did not go well: a field, if it is one, and a sentence.
        let complaint: (field: String?, reason: String)?
        /// One JSON object for programs.
        let document: () -> String
    }

    /// How verdicts are said.
    struct Words {
        /// All of them, in the order in which sums are said.
        let all: [String]
        /// Those that a program finds in the sums also when there are none.
        let always: [String]
        /// Those that people read otherwise: one, several.
        let said: [String: (String, String)]
    }

    private struct State {
        var counts: [String: Int] = [:]
        var rows = 0
        var bytes: Int64 = 0
        var shownAt: ContinuousClock.Instant?
        var isBarShown = false
    }

    static let nothingBegan = "stopped before any row was answered; the same file again is safe"

    private let name: String
    private let words: Words
    private let json: Bool
    private let totalBytes: Int64?
    private let isTerminal: Bool
    private let begin = ContinuousClock.now
    private let state: Mutex<State>

    /// - Parameters:
    ///   - name: the command's, for lines of progress.
    ///   - totalBytes: the file's; nil for a pipe.
    init(_ name: String, _ words: Words, json: Bool, totalBytes: Int64?) {
        self.name = name
        self.words = words
        self.json = json
        self.totalBytes = totalBytes
        isTerminal = isatty(STDERR_FILENO) == 1
        state = Mutex(State())
    }

    // MARK: While it works

    func add(_ rows: [Row]) {
        guard !rows.isEmpty else { return }
        var text = ""
        state.withLock { state in
            for row in rows {
                state.counts[row.word, default: 0] += 1
                state.rows += 1
                if json {
                    text += Printable.json(row.document()) + "\n"
                } else if let complaint = row.complaint {
                    let place = complaint.field.map { "row \(row.number), \($0)" } ?? "row \(row.number)"
                    text += Printable.line("\(place): \(row.word): \(complaint.reason)") + "\n"
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
                ? "stopped after \(rows) rows: " + words(counts) + "; the same file again goes on safely"
                : Self.nothingBegan
        )
    }

    // MARK: The end

    /// Prints the sums and gives them.
    func finish() -> [String: Int] {
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
            for word in words.all where counts[word] != nil || words.always.contains(word) {
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
            Output.line("\(rows) rows: \(words(counts)), in " + String(format: "%.1f s", seconds) + rate)
        }
        return counts
    }

    // MARK: Inside

    private func words(_ counts: [String: Int]) -> String {
        let said: [String] = words.all.compactMap { word in
            guard let count = counts[word], count > 0 else { return nil }
            guard let (one, several) = words.said[word] else { return "\(count) \(word)" }
            return "\(count) \(count == 1 ? one : several)"
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
            let words = words(state.counts)
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
                Output.note("\(name): \(part)\(state.rows) rows: \(words)")
            }
        }
    }

    private static func clearBar(_ state: inout State) {
        guard state.isBarShown else { return }
        FileHandle.standardError.write(Data("\r\u{1B}[K".utf8))
        state.isBarShown = false
    }
}
