/// Counts the requests and replies of one PostgreSQL connection: with pipelining many are under way, and the end of an
/// earlier one's reply must not be taken for the end of the one that is waited for.
struct PostgresFrames {
    /// Follows one side's messages: one byte of type, four of length that count themselves, the rest.
    private struct Side {
        var head: [UInt8] = []
        var skip = 0

        /// Calls `body` with the type of each message whose head is whole; `untyped` tells that a message has no type byte.
        mutating func read(_ bytes: [UInt8], untyped: () -> Bool, _ body: (_ type: UInt8, _ length: Int) -> Void) {
            var at = 0
            while at < bytes.count {
                if skip > 0 {
                    let step = min(skip, bytes.count - at)
                    skip -= step
                    at += step
                    continue
                }
                head.append(bytes[at])
                at += 1
                let lead = untyped() ? 0 : 1
                guard head.count == lead + 4 else { continue }
                let length = head[lead...].reduce(0) { $0 << 8 | Int($1) }
                skip = max(0, length - 4)
                body(lead == 0 ? 0 : head[0], length)
                head = []
            }
        }
    }

    private static let sync = UInt8(ascii: "S")
    private static let query = UInt8(ascii: "Q")
    private static let ready = UInt8(ascii: "Z")

    private var client = Side()
    private var server = Side()
    private var isStarted = false
    /// Answers of one byte that are still to come: to the questions for TLS and GSS before the start.
    private var rawAnswers = 0
    private var lastType: UInt8 = 0
    /// Ends of requests that the client has sent; the start counts as one.
    private(set) var asked = 0
    /// ReadyForQuery messages that have come.
    private(set) var answered = 0

    mutating func clientSaid(_ bytes: [UInt8]) {
        var (isStarted, rawAnswers, lastType, asked) = (isStarted, rawAnswers, lastType, asked)
        client.read(bytes, untyped: { !isStarted }) { type, length in
            lastType = type
            if type == 0 {
                // The questions for TLS and GSS have eight bytes; a start has more.
                if length == 8 {
                    rawAnswers += 1
                } else {
                    isStarted = true
                    asked += 1
                }
            } else if type == Self.sync || type == Self.query {
                asked += 1
            }
        }
        (self.isStarted, self.rawAnswers, self.lastType, self.asked) = (isStarted, rawAnswers, lastType, asked)
    }

    mutating func serverSaid(_ bytes: [UInt8]) {
        let raw = min(rawAnswers, bytes.count)
        rawAnswers -= raw
        var answered = answered
        server.read(Array(bytes.dropFirst(raw)), untyped: { false }) { type, _ in
            if type == Self.ready { answered += 1 }
        }
        self.answered = answered
    }

    /// How many ends must have come until everything that the client has said so far is answered.
    var target: Int { lastType == Self.sync || lastType == Self.query || lastType == 0 ? asked : asked + 1 }
}
