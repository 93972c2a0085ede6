internal import Foundation

/// Everything that the checker may look at. Nothing in it comes from the code that is judged, but for the final states of
/// jobs that were not sent and the word of `trunkline check`.
package struct Evidence: Sendable {
    /// One request to send a message or to deliver an event, as the simulator's journal tells it.
    package struct Call: Sendable, Hashable {
        /// Its number in the journal: the order of events.
        package var seq: Int64
        /// When it came; ``Moment/now``'s clock.
        package var at: Int64
        /// The same by the wall clock, microseconds since 1970.
        package var wall: Int64
        /// `line:ID` or `destination:ID`.
        package var lane: String
        package var key: String
        package var to: String?
        /// The port of its connection, as the simulator saw it.
        package var port: UInt16?
        /// When an earlier connection of the same port was last seen; nil: never.
        package var earlierUse: Int64?
        /// Number of the record of its message, or of the request that a receiver took as a new event; nil when nobody would have
        /// received one.
        package var effect: Int64?
        /// When its answer left, or its connection was found closed; nil: neither while the simulator lived.
        package var end: Int64?
        /// Of the answer that left; nil without one.
        package var status: Int?
        /// The simulator's word for what it did with it.
        package var verdict: String?
        /// Names the bytes that were sent.
        package var bodyHash: String?
        /// Why no answer left, in the simulator's word.
        package var reason: String?

        package init(
            seq: Int64,
            at: Int64,
            wall: Int64 = 0,
            lane: String,
            key: String,
            to: String? = nil,
            port: UInt16? = nil,
            earlierUse: Int64? = nil,
            effect: Int64? = nil,
            end: Int64? = nil,
            status: Int? = nil,
            verdict: String? = nil,
            bodyHash: String? = nil,
            reason: String? = nil
        ) {
            self.seq = seq
            self.at = at
            self.wall = wall
            self.lane = lane
            self.key = key
            self.to = to
            self.port = port
            self.earlierUse = earlierUse
            self.effect = effect
            self.end = end
            self.status = status
            self.verdict = verdict
            self.bodyHash = bodyHash
            self.reason = reason
        }

        /// It was for a destination.
        package var isDelivery: Bool { lane.hasPrefix("destination:") }

        /// An answer of the 200s left: the sender could know that it was sent.
        package var wasAccepted: Bool { status.map { (200..<300).contains($0) } ?? false }

        /// Somebody has, or had before, its message.
        var mayHaveEffect: Bool { effect != nil || verdict == "replay" }

        /// The other end was closed before an answer left: by its client, or by what stands between.
        var isHangUp: Bool { reason == "closed" || reason == "incomplete" }

        /// It surely was not accepted: an answer said so.
        var isDefiniteRefusal: Bool {
            status.map { [400, 401, 402, 403, 404, 405, 410, 413, 415, 422, 423, 429].contains($0) } ?? false
        }
    }

    /// Where a job that was not sent is in the end.
    package struct Final: Sendable, Hashable, Codable {
        package var state: String
        package var reason: String?
        package init(state: String, reason: String? = nil) {
            self.state = state
            self.reason = reason
        }
    }

    /// A line or destination that is not used as fast as it could be.
    package struct PacedLane: Sendable, Hashable, Codable {
        package var lane: String
        /// Seconds between two sends.
        package var interval: Double
        package var concurrency: Int
        /// Seconds between two messages to one person.
        package var gap: Double
        package init(lane: String, interval: Double, concurrency: Int, gap: Double) {
            self.lane = lane
            self.interval = interval
            self.concurrency = concurrency
            self.gap = gap
        }
    }

    package var calls: [Call] = []
    /// How many requests each fault of the API has hit; those for health with `health.` before the name, those of receivers with
    /// `hooks.`.
    package var apiFaults: [String: Int] = [:]
    package var producer: [ProducerRecord] = []
    package var faults: [FaultRecord] = []
    /// By key; jobs that Trunkline says were sent are not in it.
    package var finals: [String: Final] = [:]
    package var paced: [PacedLane] = []
    /// Whether `trunkline check` says that it adds up, and its findings.
    package var checkAddsUp = true
    package var checkFindings: [String] = []
    /// Sentences about processes that did not behave: exit codes, a drain that did not end.
    package var misbehaviour: [String] = []

    package init() {}

    // MARK: Files

    /// What is neither in the journal nor in a log.
    private struct Rest: Codable {
        let finals: [String: Final]
        let paced: [PacedLane]
        let checkAddsUp: Bool
        let checkFindings: [String]
        let misbehaviour: [String]
    }

    /// Keeps what nobody else wrote down, so that a run can be judged again.
    func writeRest(folder: String) throws {
        let rest = Rest(
            finals: finals,
            paced: paced,
            checkAddsUp: checkAddsUp,
            checkFindings: checkFindings,
            misbehaviour: misbehaviour
        )
        try JSONEncoder().encode(rest).write(to: URL(fileURLWithPath: folder + "/evidence.json"))
    }

    /// Everything that a run left in its folder.
    package static func read(folder: String) throws -> Evidence {
        let data = try Data(contentsOf: URL(fileURLWithPath: folder + "/evidence.json"))
        let rest = try JSONDecoder().decode(Rest.self, from: data)
        var evidence = Evidence()
        evidence.finals = rest.finals
        evidence.paced = rest.paced
        evidence.checkAddsUp = rest.checkAddsUp
        evidence.checkFindings = rest.checkFindings
        evidence.misbehaviour = rest.misbehaviour
        try evidence.readJournal(path: folder + "/journal.ndjson")
        evidence.producer = try LineLog<ProducerRecord>.read(path: folder + "/producer.ndjson")
        evidence.producer += try LineLog<ProducerRecord>.read(path: folder + "/foreign.ndjson")
        evidence.faults = try LineLog<FaultRecord>.read(path: folder + "/faults.ndjson")
        return evidence
    }

    /// One line of the journal, as far as it matters here.
    fileprivate struct Line: Decodable {
        let seq: Int64
        let t: Int64
        let mono: Int64
        let kind: String
        let conn: Int64?
        let peer: UInt16?
        let req: Int64?
        let on: String?
        let line: String?
        let hook: String?
        let key: String?
        let to: String?
        let bodyHash: String?
        let verdict: String?
        let status: Int?
        let reason: String?
        let fault: String?
    }

    /// How ``apiFaults`` calls what hit these kinds of requests.
    private static let faultPrefixes = ["request": "", "health": "health.", "delivery": "hooks."]

    /// Reads the simulator's journal.
    ///
    /// - Throws: ``ChaosError`` when a line of it cannot be read.
    package mutating func readJournal(path: String) throws(ChaosError) {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw ChaosError("the journal \(path) cannot be read")
        }
        let decoder = JSONDecoder()
        var index: [Int64: Int] = [:]
        var ports = PortUse()
        var number = 0
        for text in data.split(separator: UInt8(ascii: "\n")) {
            number += 1
            let line: Line
            do {
                line = try decoder.decode(Line.self, from: text)
            } catch {
                throw ChaosError("the journal \(path) cannot be read at line \(number): \(error)")
            }
            if let part = Self.faultPrefixes[line.kind], let fault = line.fault {
                apiFaults[part + fault, default: 0] += 1
            }
            if let port = line.peer, let connection = line.conn { ports.note(port, of: connection, at: line.mono) }
            switch line.kind {
            case "request", "delivery":
                guard let call = Call(line, earlierUse: line.peer.flatMap { ports.earlierUse(of: $0) }) else {
                    continue
                }
                index[line.seq] = calls.count
                calls.append(call)
            case "effect":
                guard let call = line.req.flatMap({ index[$0] }) else { continue }
                calls[call].effect = line.seq
                calls[call].to = line.to ?? calls[call].to
            case "answer", "noAnswer":
                guard let call = line.req.flatMap({ index[$0] }) else { continue }
                calls[call].end = line.mono
                calls[call].status = line.kind == "answer" ? line.status : nil
                calls[call].reason = line.reason
            default: break
            }
        }
    }
}

extension Evidence.Call {
    /// Nil for what is neither a message nor an event.
    fileprivate init?(_ line: Evidence.Line, earlierUse: Int64?) {
        let isDelivery = line.kind == "delivery"
        guard let key = line.key, isDelivery || line.on == "text",
            let lane = isDelivery ? line.hook.map({ "destination:\($0)" }) : line.line.map({ "line:\($0)" })
        else { return nil }
        self.init(
            seq: line.seq,
            at: line.mono,
            wall: line.t,
            lane: lane,
            key: key,
            to: line.to,
            port: line.peer,
            earlierUse: earlierUse,
            // A message has a record of its own; an event that is new to its receiver is one with its request.
            effect: isDelivery && line.verdict == "accepted" ? line.seq : nil,
            verdict: line.verdict,
            bodyHash: line.bodyHash
        )
    }
}

/// Which connections had a port, one after the other: its number comes back.
private struct PortUse {
    private struct Use {
        var connection: Int64
        var last: Int64
        var earlier: Int64?
    }
    private var uses: [UInt16: Use] = [:]

    mutating func note(_ port: UInt16, of connection: Int64, at moment: Int64) {
        var use = uses[port] ?? Use(connection: connection, last: moment)
        if use.connection != connection { use = Use(connection: connection, last: moment, earlier: use.last) }
        use.last = moment
        uses[port] = use
    }

    func earlierUse(of port: UInt16) -> Int64? { uses[port]?.earlier }
}
