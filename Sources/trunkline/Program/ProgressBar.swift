internal import Foundation
internal import Synchronization

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
