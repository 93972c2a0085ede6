internal import Synchronization
package import TestKit

/// The other side of ``NotebookCarrier``. `GET /notes?key=K` says whether there is a note of that key; `POST /notes?key=K` writes
/// one, also where there is one already. `POST /token` gives credentials for what the last such answer said, once. It counts what
/// came.
package final class NotebookServer: Sendable {
    package enum Request: Sendable {
        case token, lookUp, write
    }

    /// What its first credentials are asked for with.
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
    /// How often a question for credentials was refused.
    package var refusedTokens: Int { desk.state.withLock { $0.refusedTokens } }

    /// From now on such requests have no answer, and no effect, until the signal is given.
    package func hold(_ request: Request) -> Signal {
        let signal = Signal()
        desk.state.withLock { $0.held[request] = signal }
        return signal
    }

    /// Its next such requests are answered so: after they took their effect, with an answer that does not say it.
    package func answerNext(_ request: Request, _ statuses: [Int]) {
        desk.state.withLock { $0.statuses[request] = statuses }
    }

    /// The credentials that were given last are worth nothing any more.
    package func expire() { desk.state.withLock { $0.access = nil } }

    /// From now on credentials are asked for with this.
    package func take(secret: String) { desk.state.withLock { $0.renewal = secret } }

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
            var renewal = NotebookServer.secret
            var access: String?
            var refusedTokens = 0
        }

        let state = Mutex(State())

        func answer(_ request: RawServer.Request) -> String {
            let kind: Request = request.target == "/token" ? .token : request.method == "GET" ? .lookUp : .write
            let signal = state.withLock { state in
                state.counts[kind, default: 0] += 1
                return state.held[kind]
            }
            signal?.wait(seconds: 120)
            return state.withLock { state in
                let (status, body) =
                    kind == .token
                    ? Self.token(String(decoding: request.body, as: UTF8.self), &state)
                    : Self.note(kind, request, &state)
                if state.statuses[kind]?.isEmpty == false {
                    return Self.text(state.statuses[kind]?.removeFirst() ?? 500)
                }
                return Self.text(status, body)
            }
        }

        private static func token(_ renewal: String, _ state: inout State) -> (Int, String) {
            guard renewal == state.renewal else {
                state.refusedTokens += 1
                return (400, #"{"error":"invalid_grant"}"#)
            }
            let number = state.counts[.token, default: 0]
            let access = "access_\(number)_0123456789abcdef"
            state.access = access
            state.renewal = "renewal_\(number)_0123456789abcdef"
            return (200, #"{"access":"\#(access)","renewal":"\#(state.renewal)","seconds":3600}"#)
        }

        private static func note(_ kind: Request, _ request: RawServer.Request, _ state: inout State) -> (Int, String) {
            guard let access = state.access, request["authorization"] == "Bearer " + access else { return (401, "{}") }
            let parts = request.target.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, parts[0] == "/notes?key" else { return (400, "{}") }
            let isThere = state.notes[parts[1]] != nil
            if kind == .write { state.notes[parts[1], default: 0] += 1 }
            return (kind == .write ? 201 : isThere ? 200 : 404, "{}")
        }

        private static func text(_ status: Int, _ body: String = "{}") -> String {
            "HTTP/1.1 \(status) x\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
        }
    }
}
