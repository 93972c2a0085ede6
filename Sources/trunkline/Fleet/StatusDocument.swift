internal import TrunklineCore
internal import TrunklineEngine

/// The fleet as programs read it.
struct StatusDocument: Encodable {
    struct Lane: Encodable {
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
    let lines: [Lane]
    let destinations: [Lane]
    let sources: [Lane]
    let workers: [Worker]
    let shards: Int
    let shardsWithoutOwner: Int
    let backlog: [String: Int64]
    let sentToday: Int64
    let eventsToday: Int64
    let refusalsToday: Int64
    let breakers: [Breaker]

    init(_ status: FleetStatus) {
        readAt = status.readAt.rfc3339
        lines = status.lines.map { Lane($0) }
        destinations = status.destinations.map { Lane($0) }
        sources = status.sources.map { Lane($0) }
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
        eventsToday = status.eventsToday
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

extension StatusDocument.Lane {
    init(_ lane: FleetStatus.Lane) {
        id = lane.id
        workspace = lane.workspace
        holdReason = lane.holdReason
        heldSince = lane.heldSince?.rfc3339
        heldUntil = lane.heldUntil?.rfc3339
        gate = lane.gate
        gateReason = lane.gateReason
        gateSince = lane.gateSince?.rfc3339
        nextProbeAt = lane.nextProbeAt?.rfc3339
        rampingSince = lane.rampBegan?.rfc3339
        brokenOrigin = lane.brokenOrigin
        dailyCap = lane.dailyCap.number
        timeZone = lane.timeZone
        dailyCapUsed = lane.capUsed
        paceMilliseconds = lane.pace.interval.milliseconds
        concurrency = lane.pace.concurrency
        recipientGapMilliseconds = lane.pace.recipientGap.milliseconds
        pausedUntil = lane.pausedUntil?.rfc3339
        shard = lane.shard
        owned = lane.isOwned
        backlog = lane.backlog
        scheduled = lane.scheduled
        retrying = lane.retrying
        sentToday = lane.sentToday
        oldestWaitingMilliseconds = lane.oldestWaiting?.milliseconds
    }
}
