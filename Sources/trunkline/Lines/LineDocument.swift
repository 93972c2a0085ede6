internal import TrunklineCore
internal import TrunklineEngine

/// A line as programs read it.
struct LineDocument: Encodable {
    private enum Member: String, CodingKey { case baseURL, tokenHint, tokenReference, health }

    private let line: Line
    /// After a change: what its API said.
    private let health: HealthDocument?

    init(_ line: Line, health: LineHealth? = nil) {
        self.line = line
        self.health = health.map { HealthDocument($0) }
    }

    func encode(to encoder: any Encoder) throws {
        try LaneDocument(line.record).encode(to: encoder)
        var members = encoder.container(keyedBy: Member.self)
        try members.encode(line.baseURL, forKey: .baseURL)
        try members.encode(line.tokenHint, forKey: .tokenHint)
        try members.encodeIfPresent(line.record.secretReference, forKey: .tokenReference)
        try members.encodeIfPresent(health, forKey: .health)
    }
}

/// What a line's API said of it, as programs read it.
struct HealthDocument: Encodable {
    let line: String?
    let sendable: Bool
    /// open, held, no_answer or not_asked.
    let gate: String
    let needsPerson: Bool
    let reason: String?
    let detail: String?
    let advice: String?

    init(_ health: LineHealth, line: LineID? = nil) {
        self.line = line?.value
        sendable = health.isSendable
        gate = health.gate.rawValue
        needsPerson = health.needsPerson
        reason = health.reason?.rawValue
        detail = health.detail
        advice = health.advice
    }
}
