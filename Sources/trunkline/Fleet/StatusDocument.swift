internal import TrunklineCore
internal import TrunklineEngine

/// The fleet as programs read it.
struct StatusDocument: Encodable {
    struct Line: Encodable {
        let id: String
        let workspace: String
        let holdReason: String?
        let heldSince: String?
        let heldUntil: String?
        let gate: String
        let gateReason: String?
        let gateSince: String?
        let nextProbeAt: String?
        let rampingSince: String?
        let brokenOrigin: String?
        let dailyCap: Int?
        let timeZone: String
        let dailyCapUsed: Int
        let paceMilliseconds: Int64
        let concurrency: Int
        let recipientGapMilliseconds: Int64
        let pausedUntil: String?
        let shard: Int
        let owned: Bool
        let backlog: [String: Int64]
        let scheduled: Int64
        let retrying: Int64
        let sentToday: Int64
        let oldestWaitingMilliseconds: Int64?
    }

    struct Breaker: Encodable {
        let origin: String
        let since: String
        let reason: String
        let nextProbeAt: String?
        let beingAsked: Bool
    }

    struct Worker: Encodable {
        let boot: String
        let host: String
        let pid: Int32
        let version: String
        let startedAt: String
        let heartbeatAgeMilliseconds: Int64
        let shards: Int64
        let brokerConnected: Bool
        let stopping: Bool
        let alive: Bool
    }

    let readAt: String
    let lines: [Line]
    let workers: [Worker]
    let shards: Int
    let shardsWithoutOwner: Int
    let backlog: [String: Int64]
    let sentToday: Int64
    let refusalsToday: Int64
    let breakers: [Breaker]

    init(_ status: FleetStatus) {
        readAt = status.readAt.rfc3339
        lines = status.lines.map { line in
            Line(
                id: line.id,
                workspace: line.workspace,
                holdReason: line.holdReason,
                heldSince: line.heldSince?.rfc3339,
                heldUntil: line.heldUntil?.rfc3339,
                gate: line.gate,
                gateReason: line.gateReason,
                gateSince: line.gateSince?.rfc3339,
                nextProbeAt: line.nextProbeAt?.rfc3339,
                rampingSince: line.rampBegan?.rfc3339,
                brokenOrigin: line.brokenOrigin,
                dailyCap: line.dailyCap.number,
                timeZone: line.timeZone,
                dailyCapUsed: line.capUsed,
                paceMilliseconds: line.pace.interval.milliseconds,
                concurrency: line.pace.concurrency,
                recipientGapMilliseconds: line.pace.recipientGap.milliseconds,
                pausedUntil: line.pausedUntil?.rfc3339,
                shard: line.shard,
                owned: line.isOwned,
                backlog: line.backlog,
                scheduled: line.scheduled,
                retrying: line.retrying,
                sentToday: line.sentToday,
                oldestWaitingMilliseconds: line.oldestWaiting?.milliseconds
            )
        }
        workers = status.workers.map { worker in
            Worker(
                boot: worker.boot,
                host: worker.host,
                pid: worker.pid,
                version: worker.version,
                startedAt: worker.startedAt.rfc3339,
                heartbeatAgeMilliseconds: worker.heartbeatAge.milliseconds,
                shards: worker.shards,
                brokerConnected: worker.isBrokerConnected,
                stopping: worker.isStopping,
                alive: worker.isAlive
            )
        }
        shards = status.shards
        shardsWithoutOwner = status.shardsWithoutOwner
        backlog = status.backlog
        sentToday = status.sentToday
        refusalsToday = status.refusalsToday
        breakers = status.breakers.map {
            Breaker(
                origin: $0.origin,
                since: $0.since.rfc3339,
                reason: $0.reason,
                nextProbeAt: $0.nextProbeAt?.rfc3339,
                beingAsked: $0.isBeingAsked
            )
        }
    }
}

extension Duration {
    fileprivate var milliseconds: Int64 { components.seconds * 1_000 + components.attoseconds / 1_000_000_000_000_000 }
}
