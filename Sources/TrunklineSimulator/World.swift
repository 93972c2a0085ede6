/// Everything that the simulator knows. It is changed only by decisions that end in a journal record, so that reading the
/// journal again gives the same world (but for faults, held answers and calls in the air, which end with the process).
struct World: Sendable {
    struct Line: Sendable {
        var id: String
        var workspace: String
        /// `shortHash` of the token: the journal must not hold what somebody pasted in by mistake.
        var tokenHash: String
        var tokenEnd: String
        var isRevoked = false
        var condition = LineCondition()
        var webhook: WebhookRegistration?
    }

    /// A message that a customer would have received.
    struct Message: Sendable {
        var seq: Int64
        var t: Int64
        var line: String
        var workspace: String
        var key: String
        var to: String
        var bodyHash: String
        var attemptID: String
        var unsendable: Bool
    }

    /// What the simulated API remembers of a key.
    struct Remembered: Sendable {
        var line: String
        var bodyHash: String
        var attemptID: String
        var t: Int64
    }

    /// A request whose answer has not left yet.
    struct Call: Sendable {
        var id: Int
        var connection: Int
        var peer: Int?
        var endpoint: APIEndpoint
        var since: Int64
        var line: String?
        /// The hook that it is for; its key is the delivery's id then.
        var hook: String?
        var workspace: String?
        var key: String?
        var attemptID: String?
        /// `seq` of its request record; nil until it was written.
        var request: Int64?
        var verdict: JournalRecord.Verdict?
        var faults = PickedFaults()
        /// The connection was closed before the request was on record.
        var isClosed = false
        var waiting: Waiting?
        var waiter: Waiter?
    }

    enum Waiting: String, Sendable {
        case latency, hold, hang
    }

    /// Which answers wait.
    struct Hold: Sendable {
        /// nil is every line.
        var lines: Set<String>?
        var endpoint: Fault.Endpoint

        func covers(_ call: Call) -> Bool {
            guard endpoint.covers(call.endpoint) else { return false }
            guard let lines else { return true }
            return call.line.map(lines.contains) ?? false
        }
    }

    /// Older messages are counted but no longer listed.
    static let messagesKept = 200_000

    var settings: SimulatorSettings
    var lines: [String: Line] = [:]
    /// Those that were given secrets of their own; in memory only.
    var hooks: [String: Hook] = [:]
    var faults: FaultList
    var hold: Hold?
    var air: [Int: Call] = [:]
    var isStopping = false
    private(set) var tally = Tally()
    private(set) var messages: [Message] = []
    private(set) var received = Received()
    private var memory: [Tally.KeyID: [Remembered]] = [:]
    private var lineOfTokenHash: [String: String] = [:]
    /// What was found by hash once.
    private var lineOfToken: [String: String] = [:]
    private var lastCall = 0

    init(settings: SimulatorSettings, seed: UInt64) {
        self.settings = settings
        faults = FaultList(seed: seed)
    }

    // MARK: Records

    /// Takes over a record, new or read from a journal.
    mutating func apply(_ record: JournalRecord) throws(ControlRefusal) {
        tally.apply(record)
        switch record.kind {
        case .effect:
            remember(record)
        case .line:
            if let data = record.data { try applyLine(data, at: record.t) }
        case .settings:
            if let data = record.data { try settings.apply(data) }
        case .forget:
            let data = record.data ?? .object([])
            forget(workspace: data["workspace"]?.string, line: data["line"]?.string, key: data["key"]?.string)
        case .reset:
            memory = [:]
            messages = []
            received = Received()
            if record.data?["lines"] == .bool(true) {
                lines = [:]
                lineOfTokenHash = [:]
                lineOfToken = [:]
            }
        case .delivery:
            received.apply(record)
        case .request, .health, .answer, .noAnswer, .fault, .hold, .start, .webhook:
            break
        }
    }

    private mutating func remember(_ record: JournalRecord) {
        guard let line = record.line, let workspace = record.workspace, let key = record.key,
            let bodyHash = record.bodyHash, let attemptID = record.attemptID
        else { return }
        let id = Tally.KeyID(workspace: workspace, key: key)
        memory[id, default: []].removeAll { $0.line == line }
        memory[id, default: []].append(
            Remembered(line: line, bodyHash: bodyHash, attemptID: attemptID, t: record.t)
        )
        if messages.count >= Self.messagesKept + Self.messagesKept / 4 {
            messages.removeFirst(messages.count - Self.messagesKept)
        }
        messages.append(
            Message(
                seq: record.seq,
                t: record.t,
                line: line,
                workspace: workspace,
                key: key,
                to: record.to ?? "",
                bodyHash: bodyHash,
                attemptID: attemptID,
                unsendable: record.unsendable
            )
        )
    }

    private mutating func forget(workspace: String?, line: String?, key: String?) {
        for (id, entries) in memory where (workspace ?? id.workspace) == id.workspace && (key ?? id.key) == id.key {
            let kept = entries.filter { line != nil && $0.line != line }
            memory[id] = kept.isEmpty ? nil : kept
        }
    }

    private mutating func applyLine(_ data: JSON, at wall: Int64) throws(ControlRefusal) {
        guard let id = data["id"]?.string else { return }
        if let old = lines.removeValue(forKey: id) {
            lineOfTokenHash[old.tokenHash] = nil
            lineOfToken = lineOfToken.filter { $0.value != id }
        }
        if data["removed"] == .bool(true) { return }
        guard let workspace = data["workspace"]?.string, let hash = data["tokenHash"]?.string else { return }
        var line = Line(id: id, workspace: workspace, tokenHash: hash, tokenEnd: data["tokenEnd"]?.string ?? "")
        line.isRevoked = data["revoked"]?.bool ?? false
        if let condition = data["condition"] { line.condition = try LineCondition.parse(condition, now: wall) }
        if let webhook = data["webhook"] {
            // It was checked when it was registered.
            line.webhook = try? WebhookRegistration.parse(webhook, allowPrivate: true)
        }
        lines[id] = line
        lineOfTokenHash[hash] = id
    }

    /// The record that makes a line what it is.
    static func lineRecord(_ line: Line) -> JournalRecord {
        var record = JournalRecord(.line)
        record.line = line.id
        let bytes = JSONWriter.object { writer in
            writer.member("id", line.id)
            writer.member("workspace", line.workspace)
            writer.member("tokenHash", line.tokenHash)
            writer.member("tokenEnd", line.tokenEnd)
            writer.member("revoked", line.isRevoked)
            writer.object("condition") { line.condition.writeRequest(to: &$0) }
            if let webhook = line.webhook { writer.object("webhook") { webhook.write(to: &$0) } }
        }
        record.data = try? JSON.parse(bytes)
        return record
    }

    // MARK: Questions

    /// The line that a token opens, if any.
    mutating func line(ofToken token: String) -> Line? {
        if let id = lineOfToken[token] { return lines[id] }
        guard let id = lineOfTokenHash[shortHash(Array(token.utf8))] else { return nil }
        lineOfToken[token] = id
        return lines[id]
    }

    func line(ofTokenHash hash: String) -> Line? {
        lineOfTokenHash[hash].flatMap { lines[$0] }
    }

    /// What the API remembers of a key at this moment.
    func remembered(line: Line, key: String, wall: Int64) -> Remembered? {
        if settings.keyMemory == .off { return nil }
        guard let entries = memory[Tally.KeyID(workspace: line.workspace, key: key)] else { return nil }
        let entry: Remembered? =
            switch settings.keyScope {
            case .workspace: entries.last
            case .line: entries.last { $0.line == line.id }
            }
        guard let entry else { return nil }
        if case .seconds(let seconds) = settings.keyMemory, Double(wall - entry.t) >= seconds * 1_000_000 { return nil }
        return entry
    }

    /// The hash of the body with which a receiver remembers an id at this moment: for as long as the API remembers a key.
    func rememberedBody(of id: String, to hook: String, wall: Int64) -> String? {
        guard let known = received.known(id, to: hook) else { return nil }
        switch settings.keyMemory {
        case .forever: return known.bodyHash
        case .off: return nil
        case .seconds(let seconds): return Double(wall - known.t) < seconds * 1_000_000 ? known.bodyHash : nil
        }
    }

    /// Whether the API is still at work on the message of a key.
    func isInFlight(_ known: Remembered, key: String, besides call: Int, wall: Int64) -> Bool {
        if wall - known.t < Int64(settings.inFlightMilliseconds) * 1_000 { return true }
        return air.values.contains {
            $0.id != call && $0.key == key && $0.verdict == .accepted && $0.attemptID == known.attemptID
        }
    }

    mutating func nextCallID() -> Int {
        lastCall += 1
        return lastCall
    }

    /// The waiters of the calls that a condition picks, and the calls wait no more.
    mutating func takeWaiters(where isPicked: (Call) -> Bool) -> [Waiter] {
        var waiters: [Waiter] = []
        for (id, call) in air {
            guard let waiter = call.waiter, isPicked(call) else { continue }
            air[id]?.waiter = nil
            air[id]?.waiting = nil
            waiters.append(waiter)
        }
        return waiters
    }

    /// A line id as everything else in Trunkline takes it.
    static func isLineID(_ text: some StringProtocol) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}
