internal import TrunklineCore
internal import TrunklineEngine

/// A line as programs read it.
struct LineDocument: Encodable {
    struct Held: Encodable {
        let reason: String
        let since: String
        let until: String?
    }

    let id: String
    let workspace: String
    let baseURL: String
    let tokenHint: String
    let tokenReference: String?
    let paceIntervalMilliseconds: Int
    let concurrency: Int
    let recipientGapMilliseconds: Int
    let dailyCap: Int?
    let timeZone: String
    let dailyCapUsed: Int
    let held: Held?
    let gate: String
    let gateReason: String?
    let gateSince: String
    let nextProbeAt: String?
    let createdAt: String
    let removedAt: String?
    let unfinished: [String: Int64]
    /// After a change: what its API said.
    let health: HealthDocument?

    init(_ line: Line, health: LineHealth? = nil) {
        self.health = health.map { HealthDocument($0) }
        id = line.id.value
        workspace = line.workspace.value
        baseURL = line.baseURL
        tokenHint = line.tokenHint
        if case .reference(let reference) = line.tokenPlace {
            tokenReference = reference
        } else {
            tokenReference = nil
        }
        paceIntervalMilliseconds = Int(line.pace.interval / .milliseconds(1))
        concurrency = line.pace.concurrency
        recipientGapMilliseconds = Int(line.pace.recipientGap / .milliseconds(1))
        dailyCap = line.dailyCap.number
        timeZone = line.timeZone
        dailyCapUsed = line.capUsed
        held =
            line.isHeld(at: line.readAt)
            ? line.hold.map { Held(reason: $0.reason, since: $0.since.rfc3339, until: $0.until?.rfc3339) } : nil
        gate = line.gate
        gateReason = line.gateReason
        gateSince = line.gateSince.rfc3339
        nextProbeAt = line.nextProbeAt?.rfc3339
        createdAt = line.createdAt.rfc3339
        removedAt = line.removedAt?.rfc3339
        unfinished = line.unfinished
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
