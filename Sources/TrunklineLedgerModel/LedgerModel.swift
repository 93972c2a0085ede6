package import PostgresDriver
package import TrunklineCore
package import TrunklineEngine

/// The ledger in memory, by the rules of `migrations/functions/`: what simulations run on, and what PostgreSQL is compared
/// with. One call is one transaction, and transactions run one after the other: what locks do beyond that is the business of
/// tests with a real PostgreSQL.
///
/// Times are microseconds since 1970. For one thread.
package final class LedgerModel {
    /// What the rules can be made to forget, to show that somebody would notice.
    package enum Weakness: String, CaseIterable, Sendable {
        /// The fence is not looked at: whoever asks is believed.
        case fence
        /// A claim does not look at what of the person comes before.
        case order
        /// The fast path does not look at what of the person comes before.
        case head
        /// The next send of a lane is not kept for the next owner.
        case pace
        /// Nobody tells a new owner whom the former one wrote to.
        case gap
        /// A claim does not look at the operator's hold, and lanes do not show it.
        case hold
        /// The first attempt that may have sent leaves no stamp.
        case stamp
        /// A key is not remembered.
        case ledger
    }

    /// Rules that only the comparison with PostgreSQL looks at closely enough.
    package enum Mutation: String, CaseIterable, Sendable {
        case capIgnored, capNotGivenBack, capOfYesterdayCounts, capCountsStamped
        case keysOfAllScopes, factsOfAllScopes, olderFactWins, deliveriesInTheScopeOfSends
        case poisonAtTheSecond, suspicionStays, horizonForgotten, horizonOfAnotherLane, lateClaimExpiresNothing
        case lateSentIsStale, triesNotGivenBack, staleChangesTheJob, cancelForgotten
        case scheduledGetPlacesAtOnce, adoptIgnoresAge, placesInOrderOfNumbers
        case repeatIsConflict, removedLaneTakes, eventsRepeat, readersCountTwice
        case breakerReopensAtOnce, probeForEverybody, releaseKeepsFence, gateForgetsHold, loadShowsUnseen
        case quietOnesAreStamped, quietTriesCount, quietOnesKeepTheCap, quietOnesForgetTheirStamp, quietOnTheFastPath
        case effectOfAnotherAttempt, effectOfAnotherWorker, effectOfTheCancelled, effectKeepsTheLease, effectStaysQuiet
        case quietCancelForgotten
        case refreshBesideAnother, refreshFromAnyGeneration, refreshEndedByAnother, olderCredentialsWin
    }

    /// What happened, for whoever counts it.
    package enum Note: String, CaseIterable, Sendable {
        case fenceLost, overtaken, held, busy, gone, expired, superseded, cancelled, stale, lateSent, givenBack, unknown
        case parked, abandoned, adopted, placedDue, begunByTake, breakerOpened, breakerClosed, suspectMessage, takeover
        case handover, repeated, conflict, refused
    }

    /// A row of `trunkline.lanes`.
    package struct Lane: Sendable {
        package let name: LaneName
        package let number: Int32
        package let scope: Int32
        package let hash: Int64
        package let carrier: String
        /// Microseconds: how long after its stamp a job is asked about again.
        package let horizon: Int64
        package var beginsQuietly = false
        /// Milliseconds.
        package var interval: Int32
        package var concurrency: Int32
        /// Milliseconds.
        package var gap: Int32
        package var dailyCap: Int32?
        /// How far its midnight is from UTC's, in minutes east.
        package var zoneMinutes: Int64 = 0
        package var isHeld = false
        package var holdUntil: Int64?
        package var isRemoved = false
        package var revision: Int64
        package var address = ""
        package var secret = StoredSecret(sealed: [], reference: nil, keyVersion: 1)

        /// Without the noun.
        package var id: String { name.id }

        package init(
            name: LaneName,
            number: Int32,
            scope: Int32 = 1,
            hash: Int64,
            carrier: String,
            horizon: Duration,
            interval: Int32,
            concurrency: Int32,
            gap: Int32,
            revision: Int64
        ) {
            self.name = name
            self.number = number
            self.scope = scope
            self.hash = hash
            self.carrier = carrier
            self.horizon = horizon.microseconds
            self.interval = interval
            self.concurrency = concurrency
            self.gap = gap
            self.revision = revision
        }
    }

    package struct LaneState: Sendable {
        package var gate = Gate.Word.unknown
        package var reason: String?
        package var nextSend = Int64.min
        package var pausedUntil = Int64.min
        package var probes: Int32 = 0
        package var nextProbe: Int64?
        package var rampStarted: Int64?
        package var gateSince: Int64 = 0
        package var isHoldTold = false
        /// Day of the lane's zone.
        package var sentOn: Int64?
        package var sentToday: Int32 = 0
        package init() {}
    }

    package struct Worker: Sendable {
        package var heartbeat: Heartbeat
        package var beat: Int64
    }

    package struct Shard: Sendable {
        package var owner: BootID?
        package var fence: Int64 = 0
    }

    package struct Finished: Sendable {
        package let lane: Int32
        package let scope: Int32
        package let key: String
        package let person: Int64
        package var state: String
        package var reason: String?
        package let attempt: Int32
        package let tries: Int32
        package let claimedAt: Int64?
        package let stamp: Int64?
        package var remoteID: String?
        package let evidence: String?
        package let supersedeKey: String?
        package let at: Int64
    }

    /// A name within a scope.
    package struct Scoped: Hashable, Sendable {
        package let scope: Int32
        package let name: String
        package init(_ scope: Int32, _ name: String) {
            self.scope = scope
            self.name = name
        }
    }

    package struct Entry: Sendable {
        package let digest: [UInt8]
        package let job: Int64
        package let lane: Int32
        package var finalState: String?
    }

    package struct Fact: Sendable {
        package var at: Int64
        package var job: Int64
    }

    package struct Attempt: Sendable {
        package var outcome: String
        package var reason: String?
        package var status: Int32?
    }

    package struct Breaker: Sendable {
        package var openedAt: Int64?
        package var closedAt: Int64?
        package var prober: BootID?
        package var probes: Int32 = 0
        package var nextProbe: Int64
    }

    package struct Suspect: Sendable {
        package var reader: BootID
        package var readers: Int32
        package var lastAt: Int64
    }

    package struct Refused: Sendable {
        package let kind: String
        package let key: String?
        package let raw: [UInt8]
        package var times: Int32 = 1
    }

    package let shardCount: Int32
    package var clock: () -> Int64
    package var weakness: Weakness?
    package var mutation: Mutation?
    /// Told of what happens.
    package var onNote: ((Note, String) -> Void)?
    /// Told of every attempt that begins.
    package var onClaim: ((JobRow, BootID) -> Void)?
    package var onSent: ((JobRow) -> Void)?
    /// Whether somebody's transaction holds fence rows of these shards.
    package var isLocked: (([Int32]) -> Bool)?
    /// Jobs whose rows somebody's transaction holds.
    package var lockedJobs: Set<Int64> = []
    package var onTerminate: ((PostgresBackend) -> Void)?
    package var waits: ((PostgresBackend) -> Bool?)?

    package var shards: [Shard]
    package var lanes: [Lane] = []
    package var laneStates: [Int32: LaneState] = [:]
    package var credentials: [Int32: CredentialsRow] = [:]
    package var workers: [BootID: Worker] = [:]
    package var ledger: [Scoped: Entry] = [:]
    /// In the order of their numbers.
    package var jobs: [JobRow] = []
    package var finished: [Int64: Finished] = [:]
    package var facts: [Scoped: Fact] = [:]
    /// By job, number and day.
    package var attempts: [String: Attempt] = [:]
    package var sentToday: [Int32: (day: Int64, jobs: Int64)] = [:]
    package var breakers: [String: Breaker] = [:]
    package var suspects: [[UInt8]: Suspect] = [:]
    package var refusals: [[UInt8]: Refused] = [:]
    /// Digests by source and event key, with the number of repeats and the job that was made to run it.
    package var inbox: [String: (digest: [UInt8], repeats: Int32, job: Int64)] = [:]
    package var lastNumber: Int64 = 0
    package var lastRevision: Int64 = 0

    package init(shardCount: Int32, clock: @escaping () -> Int64) {
        self.shardCount = shardCount
        self.clock = clock
        shards = Array(repeating: Shard(), count: Int(shardCount))
    }

    // MARK: Looking

    package var now: Int64 { clock() }

    package func row(_ id: Int64) -> JobRow? { jobs.first { $0.id == id } }

    package func lane(_ number: Int32) -> Lane? { lanes.first { $0.number == number } }

    package func shard(of lane: Lane) -> Int32 { Int32(lane.hash % Int64(shardCount)) }

    package func shard(ofLane number: Int32) -> Int32 { lane(number).map { shard(of: $0) } ?? -1 }

    /// Within what keys of the lane's jobs are unique.
    func scope(of lane: Lane) -> Int32 {
        mutation == .deliveriesInTheScopeOfSends && lane.name.destination != nil ? lanes[0].scope : lane.scope
    }

    func isHeld(_ lane: Lane) -> Bool { lane.isHeld && lane.holdUntil.map { $0 > now } ?? true }

    /// Whether a newer fact than the job's was accepted.
    func isReplaced(_ row: JobRow) -> Bool {
        guard let key = row.supersedeKey, let at = row.factAt else { return false }
        if mutation == .factsOfAllScopes {
            return facts.contains { $0.key.name == key && $0.value.at > at }
        }
        return facts[Scoped(row.scope, key)].map { $0.at > at } ?? false
    }

    /// `trunkline.held_shards`.
    func held(_ owner: LedgerOwner?) -> Set<Int32> {
        guard let owner else { return [] }
        var held: Set<Int32> = []
        for (number, fence) in zip(owner.shards, owner.fences) {
            let shard = shards[Int(number)]
            if weakness == .fence || shard.owner == owner.boot && shard.fence == fence { held.insert(number) }
        }
        return held
    }

    // MARK: Time

    /// How long after its stamp a job of the lane is asked about again.
    func horizon(ofLane number: Int32) -> Int64 {
        (mutation == .horizonOfAnotherLane ? lanes.first : lane(number))?.horizon ?? 0
    }

    static let dayLength: Int64 = 86_400 * 1_000_000

    static func floorDay(_ time: Int64) -> Int64 { time >= 0 ? time / dayLength : (time - dayLength + 1) / dayLength }

    /// The day of UTC.
    package var today: Int64 { Self.floorDay(now) }

    func localTime(_ time: Int64, _ lane: Lane) -> Int64 { time + lane.zoneMinutes * 60_000_000 }

    /// Rounded up to milliseconds, as the SQL does.
    func dueIn(_ row: JobRow) -> Duration {
        let wait = row.dueAt - now
        return .milliseconds(wait > 0 ? (wait + 999) / 1_000 : wait / 1_000)
    }

    static func milliseconds(_ microseconds: Int64) -> Duration { .milliseconds(microseconds / 1_000) }

    // MARK: Changing

    func nextNumber() -> Int64 {
        lastNumber += 1
        return lastNumber
    }

    func note(_ note: Note, _ what: @autoclosure () -> String = "") { onNote?(note, what()) }

    package func changeLane(_ index: Int, _ change: (inout Lane) -> Void) {
        change(&lanes[index])
        lastRevision += 1
        lanes[index].revision = lastRevision
    }

    func park(_ row: JobRow, _ reason: Reason) {
        row.state = .parked
        row.reason = reason.code
        row.dueAt = now
        row.parkedAt = now
        note(.parked, row.key)
    }

    /// `trunkline.end_jobs`, for one job. `attempt`: the one that sent it.
    func end(
        _ id: Int64,
        _ state: String,
        _ reason: String?,
        attempt: Int32? = nil,
        remoteID: String? = nil,
        evidence: String? = nil
    ) {
        guard let index = jobs.firstIndex(where: { $0.id == id }) else { return }
        let row = jobs.remove(at: index)
        ledger[Scoped(row.scope, row.key)]?.finalState = state
        finished[id] = Finished(
            lane: row.lane,
            scope: row.scope,
            key: row.key,
            person: row.person,
            state: state,
            reason: attempt.map { $0 == row.attempt ? nil : Reason.late.code } ?? reason,
            attempt: row.attempt,
            tries: row.tries,
            claimedAt: row.claimedAt,
            stamp: row.stamp,
            remoteID: remoteID,
            evidence: evidence ?? row.evidence,
            supersedeKey: attempt == nil ? row.supersedeKey : nil,
            at: now
        )
    }

    static func attemptName(_ job: Int64, _ number: Int32, _ day: Int64) -> String { "\(job) \(number) \(day)" }
}

/// A row of `trunkline.jobs`.
package final class JobRow {
    package let id: Int64
    package let lane: Int32
    package let scope: Int32
    package let key: String
    package let person: Int64
    package let request: [UInt8]
    package var notBefore: Int64?
    package let sendBefore: Int64?
    package let supersedeKey: String?
    package let factAt: Int64?
    package let jobClass: JobClass
    package var state: JobState
    package var reason: String?
    package var place: Int64
    package var arrival: Int64
    package var dueAt: Int64
    package var attempt: Int32 = 0
    package var tries: Int32 = 0
    package var claimedAt: Int64?
    package var leaseUntil: Int64?
    package var claimedBy: BootID?
    package var stamp: Int64?
    package var evidence: String?
    package let acceptedAt: Int64
    package var cancelWanted = false
    package var isSuspect = false
    package var crashes: Int32 = 0
    package var isQuiet = false
    package var parkedAt: Int64?

    init(
        id: Int64,
        lane: LedgerModel.Lane,
        scope: Int32,
        key: String,
        person: Int64,
        request: [UInt8],
        notBefore: Int64?,
        sendBefore: Int64?,
        supersedeKey: String?,
        factAt: Int64?,
        jobClass: JobClass,
        state: JobState,
        place: Int64,
        dueAt: Int64,
        acceptedAt: Int64
    ) {
        self.id = id
        self.lane = lane.number
        self.scope = scope
        self.key = key
        self.person = person
        self.request = request
        self.notBefore = notBefore
        self.sendBefore = sendBefore
        self.supersedeKey = supersedeKey
        self.factAt = factAt
        self.jobClass = jobClass
        self.state = state
        self.place = place
        arrival = id
        self.dueAt = dueAt
        self.acceptedAt = acceptedAt
    }

    package var isParked: Bool { state == .parked }
}
