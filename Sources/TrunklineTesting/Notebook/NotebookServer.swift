internal import Synchronization
package import TestKit

/// The other side of ``NotebookCarrier``. `GET /notes?key=K` says whether there is a note of that key; `POST /notes?key=K` writes
/// one, also where there is one already. It counts what came.
package final class NotebookServer: Sendable {
    package enum Request: Sendable {
        case lookUp, write
    }

    /// What opens it.
    package static let secret = "note_0123456789abcdef"

    private let desk: Desk
    private let server: RawServer

    package init() {
        let desk = Desk()
        self.desk = desk
        server = RawServer { connection in
            while let request = connection.readRequest() { connection.write(desk.answer(request)) }
        }
    }

    package var url: String { "http://127.0.0.1:\(server.port)" }
    /// How often each note is there, by its key.
    package var notes: [String: Int] { desk.state.withLock { $0.notes } }
    package func count(_ request: Request) -> Int { desk.state.withLock { $0.counts[request, default: 0] } }

    /// From now on such requests have no answer, and no effect, until the signal is given.
    package func hold(_ request: Request) -> Signal {
        let signal = Signal()
        desk.state.withLock { $0.held[request] = signal }
        return signal
    }

    /// Its next such requests are answered so: after the note was written, with an answer that does not say it.
    package func answerNext(_ request: Request, _ statuses: [Int]) {
        desk.state.withLock { $0.statuses[request] = statuses }
    }

    package func stop() {
        for signal in desk.state.withLock({ $0.held.values }) { signal.give() }
        server.stop()
    }

    /// What stands in the notebook, for the threads of the connections.
    private final class Desk: Sendable {
        struct State {
            var notes: [String: Int] = [:]
            var counts: [Request: Int] = [:]
            var held: [Request: Signal] = [:]
            var statuses: [Request: [Int]] = [:]
        }

        let state = Mutex(State())

        func answer(_ request: RawServer.Request) -> String {
            guard request["authorization"] == "Bearer " + NotebookServer.secret else { return Self.text(401) }
            let parts = request.target.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, parts[0] == "/notes?key" else { return Self.text(400) }
            let kind: Request = request.method == "GET" ? .lookUp : .write
            let signal = state.withLock { state in
                state.counts[kind, default: 0] += 1
                return state.held[kind]
            }
            signal?.wait(seconds: 120)
            return Self.text(
                state.withLock { state in
                    let isThere = state.notes[parts[1]] != nil
                    if kind == .write { state.notes[parts[1], default: 0] += 1 }
                    if state.statuses[kind]?.isEmpty == false { return state.statuses[kind]?.removeFirst() ?? 500 }
                    return kind == .write ? 201 : isThere ? 200 : 404
                }
            )
        }

        private static func text(_ status: Int) -> String { "HTTP/1.1 \(status) x\r\ncontent-length: 2\r\n\r\n{}" }
    }
}
