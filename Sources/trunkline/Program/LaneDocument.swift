internal import TrunklineCore
internal import TrunklineEngine

/// What lines, destinations and sources have in common, as programs read it: members of the documents of each.
struct LaneDocument: Encodable {
    struct Held: Encodable {
        let reason: String
        let since: String
        let until: String?
    }

    let id: String
    let workspace: String
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

    init(_ lane: LaneRecord) {
        id = lane.name.id
        workspace = lane.workspace.value
        paceIntervalMilliseconds = Int(lane.pace.interval / .milliseconds(1))
        concurrency = lane.pace.concurrency
        recipientGapMilliseconds = Int(lane.pace.recipientGap / .milliseconds(1))
        dailyCap = lane.dailyCap.number
        timeZone = lane.timeZone
        dailyCapUsed = lane.capUsed
        held =
            lane.isHeld(at: lane.readAt)
            ? lane.hold.map { Held(reason: $0.reason, since: $0.since.rfc3339, until: $0.until?.rfc3339) } : nil
        gate = lane.gate
        gateReason = lane.gateReason
        gateSince = lane.gateSince.rfc3339
        nextProbeAt = lane.nextProbeAt?.rfc3339
        createdAt = lane.createdAt.rfc3339
        removedAt = lane.removedAt?.rfc3339
        unfinished = lane.unfinished
    }
}

extension LaneRecord {
    /// `env:NAME` or `file:/path` of a secret that stays outside.
    var secretReference: String? {
        if case .reference(let reference) = secretPlace { reference } else { nil }
    }
}
