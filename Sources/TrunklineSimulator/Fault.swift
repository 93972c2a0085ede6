/// A switchable fault: what goes wrong, for whom, how often and how long.
struct Fault: Sendable {
    enum Kind: String, Sendable, CaseIterable {
        /// The answer waits; the request is processed at once.
        case latency
        /// The connection is closed before the body is read; nothing is accepted.
        case dropBefore
        /// Accepted, then the connection is closed without an answer.
        case acceptThenDrop
        /// Nothing is accepted and no answer comes; the connection stays open until the client gives up.
        case hang
        /// Accepted, and no answer comes.
        case acceptThenHang
        /// Nothing is accepted; the answer has this status.
        case status
        /// Accepted, and the answer has this status all the same.
        case acceptThenStatus
        /// Nothing is accepted; the answer sends the client to another host.
        case redirect
        /// Accepted; the connection is closed in the middle of the answer.
        case truncate

        var accepts: Bool {
            switch self {
            case .latency, .acceptThenDrop, .acceptThenHang, .acceptThenStatus, .truncate: true
            case .dropBefore, .hang, .status, .redirect: false
            }
        }
    }

    enum Endpoint: String, Sendable, CaseIterable {
        /// `POST /messages/text` and `/messages/media`.
        case messages
        case health
        case webhooks
        /// Receivers of signed webhooks.
        case hooks
        /// All of the Channel API.
        case any

        func covers(_ endpoint: APIEndpoint) -> Bool {
            switch self {
            case .any: endpoint != .hook
            case .messages: endpoint == .text || endpoint == .media
            case .health: endpoint == .health
            case .webhooks: endpoint == .webhooks
            case .hooks: endpoint == .hook
            }
        }
    }

    enum RetryAfter: Sendable, Hashable {
        case seconds(Int)
        /// An HTTP date this many seconds from now.
        case date(Int)

        func header(now: Int64) -> String {
            switch self {
            case .seconds(let seconds): "\(seconds)"
            case .date(let seconds): httpDate(microseconds: now + Int64(seconds) * 1_000_000)
            }
        }
    }

    var id = 0
    var kind: Kind
    /// nil is every line.
    var line: String?
    /// nil is every hook.
    var hook: String?
    var endpoint: Endpoint
    var probability: Double
    /// How many more requests it hits; nil is no limit.
    var remaining: Int?
    /// Monotonic nanoseconds; nil is no end.
    var until: Int64?
    var milliseconds: ClosedRange<Int> = 0...0
    var status = 503
    var retryAfter: RetryAfter?
    var location = "http://elsewhere.example.invalid/api/v1/messages/text"
    var hits = 0

    static func parse(_ json: JSON, monotonic: Int64) throws(ControlRefusal) -> Fault {
        var fields = try ControlFields(json, what: "fault")
        guard let word = try fields.string("kind") else {
            throw .invalid("fault: 'kind' is missing; known: \(Kind.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        guard let kind = Kind(rawValue: word) else {
            throw .unknown("fault", word, known: Kind.allCases.map(\.rawValue))
        }
        let hook = try fields.string("hook")
        var endpoint = hook == nil ? Endpoint.messages : .hooks
        if let word = try fields.string("on") {
            guard let known = Endpoint(rawValue: word) else {
                throw .unknown("fault endpoint", word, known: Endpoint.allCases.map(\.rawValue))
            }
            endpoint = known
        }
        let line = try fields.string("line")
        guard (hook == nil || endpoint == .hooks) && (line == nil || endpoint != .hooks) else {
            throw .invalid("fault: 'hook' goes with 'on' hooks, and 'line' with the others")
        }
        var fault = Fault(
            kind: kind,
            line: line,
            hook: hook,
            endpoint: endpoint,
            probability: try fields.number("probability", in: 0...1) ?? 1,
            remaining: try fields.integer("count", in: 1...1_000_000_000)
        )
        if let milliseconds = try fields.integer("forMs", in: 1...86_400_000) {
            fault.until = monotonic + Int64(milliseconds) * 1_000_000
        }
        switch kind {
        case .latency:
            if let milliseconds = try fields.integer("ms", in: 0...3_600_000) {
                fault.milliseconds = milliseconds...milliseconds
            } else if let lower = try fields.integer("minMs", in: 0...3_600_000),
                let upper = try fields.integer("maxMs", in: 0...3_600_000), lower <= upper
            {
                fault.milliseconds = lower...upper
            } else {
                throw .invalid("fault: 'latency' needs 'ms', or 'minMs' and 'maxMs' (not the other way round)")
            }
        case .status, .acceptThenStatus:
            guard let status = try fields.integer("status", in: 200...599) else {
                throw .invalid("fault: '\(kind.rawValue)' needs 'status' (200 to 599)")
            }
            fault.status = status
            let form = try fields.string("retryAfterForm")
            let seconds = try fields.integer("retryAfter", in: 0...86_400)
            switch (form ?? "seconds", seconds) {
            case (let form, nil) where form == "seconds" || form == "date": break
            case ("seconds", let seconds?): fault.retryAfter = .seconds(seconds)
            case ("date", let seconds?): fault.retryAfter = .date(seconds)
            case (let form, _): throw .unknown("retryAfterForm", form, known: ["seconds", "date"])
            }
        case .redirect:
            fault.status = try fields.integer("status", in: 300...399) ?? 302
            if let location = try fields.string("location") { fault.location = location }
        case .dropBefore, .acceptThenDrop, .hang, .acceptThenHang, .truncate:
            break
        }
        try fields.refuseOthers()
        // A line break in a header would be a second header.
        guard fault.location.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw .invalid("fault: 'location' must be a URL")
        }
        return fault
    }

    func write(to writer: inout JSONWriter) {
        writer.member("id", id)
        writer.member("kind", kind.rawValue)
        writer.optional("line", line)
        writer.optional("hook", hook)
        writer.member("on", endpoint.rawValue)
        writer.member("probability", JSON.double(probability))
        writer.optional("count", remaining)
        switch kind {
        case .latency:
            writer.member("minMs", milliseconds.lowerBound)
            writer.member("maxMs", milliseconds.upperBound)
        case .status, .acceptThenStatus:
            writer.member("status", status)
            switch retryAfter {
            case .seconds(let seconds): writer.member("retryAfter", seconds)
            case .date(let seconds):
                writer.member("retryAfter", seconds)
                writer.member("retryAfterForm", "date")
            case nil: break
            }
        case .redirect:
            writer.member("status", status)
            writer.member("location", location)
        case .dropBefore, .acceptThenDrop, .hang, .acceptThenHang, .truncate: break
        }
        writer.member("hits", hits)
    }
}

/// What hits one request: at most one fault of the kinds that exclude each other, and all latencies added up.
struct PickedFaults: Sendable {
    var fault: Fault?
    var milliseconds = 0

    /// What the journal calls it.
    var name: String? { fault?.kind.rawValue ?? (milliseconds > 0 ? Fault.Kind.latency.rawValue : nil) }
}

/// The faults in force, in the order in which they were added: the first that fits wins.
struct FaultList: Sendable {
    private(set) var faults: [Fault] = []
    private var lastID = 0
    private var chance: SeededGenerator

    init(seed: UInt64) {
        chance = SeededGenerator(seed: seed)
    }

    mutating func add(_ fault: Fault) -> Fault {
        lastID += 1
        var fault = fault
        fault.id = lastID
        faults.append(fault)
        return fault
    }

    /// - Returns: how many were removed.
    mutating func remove(id: Int?, line: String?) -> Int {
        let before = faults.count
        faults.removeAll { fault in
            (id == nil || fault.id == id) && (line == nil || fault.line == line)
        }
        return before - faults.count
    }

    mutating func pick(line: String?, hook: String? = nil, endpoint: APIEndpoint, monotonic: Int64) -> PickedFaults {
        var picked = PickedFaults()
        guard !faults.isEmpty else { return picked }
        faults.removeAll { $0.until.map { $0 <= monotonic } ?? false }
        for index in faults.indices {
            let fault = faults[index]
            guard fault.endpoint.covers(endpoint), fault.line == nil || fault.line == line,
                fault.hook == nil || fault.hook == hook,
                fault.kind == .latency || picked.fault == nil
            else { continue }
            if fault.probability < 1, Double.random(in: 0..<1, using: &chance) >= fault.probability { continue }
            faults[index].hits += 1
            if let remaining = fault.remaining { faults[index].remaining = remaining - 1 }
            if fault.kind == .latency {
                picked.milliseconds += Int.random(in: fault.milliseconds, using: &chance)
            } else {
                picked.fault = fault
            }
        }
        faults.removeAll { $0.remaining == 0 }
        return picked
    }
}
