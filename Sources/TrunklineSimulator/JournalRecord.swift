/// One line of the journal; `docs/simulator.md` explains each field.
struct JournalRecord: Sendable, Hashable {
    enum Kind: String, Sendable {
        /// A request to `/messages/…` or any other path but health.
        case request
        /// A question to `GET /health`.
        case health
        /// A message was accepted: what a customer would receive.
        case effect
        /// The whole answer was handed to the kernel on an open connection.
        case answer
        /// No answer left: the connection was found closed, or a fault closed it.
        case noAnswer
        /// A line was registered, changed or removed.
        case line
        /// Settings were changed.
        case settings
        /// A fault was added or removed.
        case fault
        /// Answers are held or released.
        case hold
        /// Keys were forgotten on request.
        case forget
        /// Everything before this line counts no more.
        case reset
        /// The simulator started.
        case start
        /// One try to deliver a webhook.
        case webhook
        /// A request to a hook was decided.
        case delivery
    }

    /// What became of a request.
    enum Verdict: String, Sendable {
        case accepted, replay, conflict, inProgress, notSendable, invalid, unauthorized, fault, notFound, disabled, ok,
            incomplete
    }

    var seq: Int64 = 0
    /// Wall clock, microseconds since 1970.
    var t: Int64 = 0
    /// CLOCK_MONOTONIC, nanoseconds.
    var mono: Int64 = 0
    var kind: Kind
    /// Number of the connection, from 1 at each start.
    var connection: Int?
    /// The client's port.
    var peer: Int?
    /// For effect, answer and noAnswer: the `seq` of the request or delivery.
    var request: Int64?
    var endpoint: String?
    var line: String?
    /// The name of the hook that the request was for.
    var hook: String?
    var workspace: String?
    var key: String?
    var to: String?
    /// First 16 bytes of the SHA-256 of the request body, hexadecimal.
    var bodyHash: String?
    var verdict: Verdict?
    var status: Int?
    var attemptID: String?
    var fault: String?
    /// Why no answer left.
    var reason: String?
    /// For health: `true`, `false` or `absent`.
    var wakeup: String?
    /// For an effect: the line was not sendable (profile A).
    var unsendable = false
    /// What the kinds line, settings, fault, hold, forget, reset, start, webhook and delivery are about.
    var data: JSON?

    init(_ kind: Kind) {
        self.kind = kind
    }

    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("seq", seq)
            writer.member("t", t)
            writer.member("mono", mono)
            writer.member("kind", kind.rawValue)
            writer.optional("conn", connection)
            writer.optional("peer", peer)
            writer.optional("req", request)
            writer.optional("on", endpoint)
            writer.optional("line", line)
            writer.optional("hook", hook)
            writer.optional("workspace", workspace)
            writer.optional("key", key)
            writer.optional("to", to)
            writer.optional("bodyHash", bodyHash)
            writer.optional("verdict", verdict?.rawValue)
            writer.optional("status", status)
            writer.optional("attemptId", attemptID)
            writer.optional("fault", fault)
            writer.optional("reason", reason)
            writer.optional("wakeup", wakeup)
            if unsendable { writer.member("unsendable", true) }
            if let data { writer.member("data", data) }
        }
    }

    init(json: JSON) throws(JSONError) {
        guard let word = json["kind"]?.string, let kind = Kind(rawValue: word), let seq = json["seq"]?.integer,
            let t = json["t"]?.integer, let mono = json["mono"]?.integer
        else { throw JSONError(reason: "not a record of this simulator", offset: 0) }
        self.kind = kind
        self.seq = seq
        self.t = t
        self.mono = mono
        connection = json["conn"]?.integer.map { Int($0) }
        peer = json["peer"]?.integer.map { Int($0) }
        request = json["req"]?.integer
        endpoint = json["on"]?.string
        line = json["line"]?.string
        hook = json["hook"]?.string
        workspace = json["workspace"]?.string
        key = json["key"]?.string
        to = json["to"]?.string
        bodyHash = json["bodyHash"]?.string
        if let word = json["verdict"]?.string {
            guard let verdict = Verdict(rawValue: word) else {
                throw JSONError(reason: "unknown verdict '\(word)'", offset: 0)
            }
            self.verdict = verdict
        }
        status = json["status"]?.integer.map { Int($0) }
        attemptID = json["attemptId"]?.string
        fault = json["fault"]?.string
        reason = json["reason"]?.string
        wakeup = json["wakeup"]?.string
        unsendable = json["unsendable"]?.bool ?? false
        data = json["data"]
    }
}
