package import TrunklineCore

// What a worker tells the ledger and hears from it. Milliseconds and microseconds are matters of the form: here time spans
// are durations, and moments microseconds since 1970.

/// A worker and the shards that it believes to own, each with its fence.
package struct LedgerOwner: Sendable, Hashable {
    package let boot: BootID
    package let shardCount: Int32
    package let shards: [Int32]
    package let fences: [Int64]

    package init(boot: BootID, shardCount: Int32, shards: [Int32], fences: [Int64]) {
        precondition(shards.count == fences.count, "one fence per shard")
        self.boot = boot
        self.shardCount = shardCount
        self.shards = shards
        self.fences = fences
    }
}

/// When the next send of each of some lanes may begin, kept for the next owner.
package struct PaceWrites: Sendable, Hashable {
    package var lanes: [Int32] = []
    /// Milliseconds from now.
    package var next: [Int32] = []
    package init() {}
}

// MARK: Jobs

/// What a take is to do.
package struct TakeRequest: Sendable {
    package let batch: TakeBatch
    /// Nil: rows of nobody's shards.
    package let owner: LedgerOwner?
    /// How long a claim made here is good for.
    package let lease: Duration
    package let jobClass: JobClass
    /// A reason, to put every new job aside for a person.
    package let parked: Reason?
    package let pace: PaceWrites

    package init(
        batch: TakeBatch,
        owner: LedgerOwner?,
        lease: Duration = .zero,
        jobClass: JobClass = .single,
        parked: Reason? = nil,
        pace: PaceWrites = PaceWrites()
    ) {
        self.batch = batch
        self.owner = owner
        self.lease = lease
        self.jobClass = jobClass
        self.parked = parked
        self.pace = pace
    }
}

package struct TakeAnswer: Sendable, Hashable {
    /// Which one of the batch; counted from 0.
    package let item: Int
    package let verdict: TakeVerdict
    package init(item: Int, verdict: TakeVerdict) {
        self.item = item
        self.verdict = verdict
    }
}

/// A job that a take has made.
package struct TakenJob: Sendable, Hashable {
    package let job: Int64
    package let lane: Int32
    package let state: JobState
    package let place: Int64
    /// Negative when its time has passed.
    package let dueIn: Duration
    /// Its attempt, if one has begun, else 0.
    package let attempt: Int32

    package init(job: Int64, lane: Int32, state: JobState, place: Int64, dueIn: Duration, attempt: Int32) {
        self.job = job
        self.lane = lane
        self.state = state
        self.place = place
        self.dueIn = dueIn
        self.attempt = attempt
    }
}

package struct ClaimRequest: Sendable {
    package let jobs: [Int64]
    package let owner: LedgerOwner
    package let lease: Duration
    package let pace: PaceWrites
    package init(jobs: [Int64], owner: LedgerOwner, lease: Duration, pace: PaceWrites = PaceWrites()) {
        self.jobs = jobs
        self.owner = owner
        self.lease = lease
        self.pace = pace
    }
}

package struct ClaimAnswer: Sendable, Hashable {
    package let job: Int64
    package let verdict: ClaimVerdict
    package init(job: Int64, verdict: ClaimVerdict) {
        self.job = job
        self.verdict = verdict
    }
}

/// What an attempt needs.
package struct ClaimedJob: Sendable, Hashable {
    package let attempt: Int32
    package let tries: Int32
    package let key: IdempotencyKey
    package let request: [UInt8]
    package let sendBefore: Int64?
    /// Whether nothing of it counts as sent before ``OutcomeLedger/beginEffect(_:by:lease:_:)``.
    package let isQuiet: Bool
    package init(
        attempt: Int32,
        tries: Int32,
        key: IdempotencyKey,
        request: [UInt8],
        sendBefore: Int64?,
        isQuiet: Bool
    ) {
        self.attempt = attempt
        self.tries = tries
        self.key = key
        self.request = request
        self.sendBefore = sendBefore
        self.isQuiet = isQuiet
    }
}

package struct JobAttempt: Sendable, Hashable {
    package let job: Int64
    package let attempt: Int32
    package init(job: Int64, attempt: Int32) {
        self.job = job
        self.attempt = attempt
    }
}

package struct JobOfPerson: Sendable, Hashable {
    package let job: Int64
    package let lane: Int32
    package let person: Int64
    package init(job: Int64, lane: Int32, person: Int64) {
        self.job = job
        self.lane = lane
        self.person = person
    }
}

/// A row as its owner sees it.
package struct SeenJob: Sendable, Hashable {
    package let id: Int64
    package let lane: Int32
    package let person: Int64
    package let jobClass: JobClass
    package let state: JobState
    package let place: Int64
    package let dueIn: Duration
    package let attempt: Int32
    package let tries: Int32
    package let isStamped: Bool
    package let claimedBy: BootID?
    package let leaseLeft: Duration?
    package let isSuspect: Bool
    /// Since its last attempt began; nil: it had none.
    package let claimedAgo: Duration?

    package init(
        id: Int64,
        lane: Int32,
        person: Int64,
        jobClass: JobClass,
        state: JobState,
        place: Int64,
        dueIn: Duration,
        attempt: Int32,
        tries: Int32,
        isStamped: Bool,
        claimedBy: BootID?,
        leaseLeft: Duration?,
        isSuspect: Bool,
        claimedAgo: Duration?
    ) {
        self.id = id
        self.lane = lane
        self.person = person
        self.jobClass = jobClass
        self.state = state
        self.place = place
        self.dueIn = dueIn
        self.attempt = attempt
        self.tries = tries
        self.isStamped = isStamped
        self.claimedBy = claimedBy
        self.leaseLeft = leaseLeft
        self.isSuspect = isSuspect
        self.claimedAgo = claimedAgo
    }
}

/// Where a slice of rows ended, in the order in which they are loaded.
package struct RowKey: Sendable, Hashable {
    package let person: Int64
    package let place: Int64
    package let job: Int64
    package static let start = RowKey(person: .min, place: .min, job: .min)
    package init(person: Int64, place: Int64, job: Int64) {
        self.person = person
        self.place = place
        self.job = job
    }
}

/// When a person of a lane was written to.
package struct LastSend: Sendable, Hashable {
    package let lane: Int32
    package let person: Int64
    package let ago: Duration
    package init(lane: Int32, person: Int64, ago: Duration) {
        self.lane = lane
        self.person = person
        self.ago = ago
    }
}

/// An outcome that is to be recorded.
package struct Settlement: Sendable, Hashable {
    package let job: Int64
    package let attempt: Int32
    package let outcome: SettleOutcome
    /// A reason's word; of a send that went well, an oddity.
    package let reason: String?
    package let dueIn: Duration
    package let mayHaveLeft: Bool
    package let remoteID: String?
    package let status: Int32?
    package let evidence: String?

    package init(
        job: Int64,
        attempt: Int32,
        outcome: SettleOutcome,
        reason: String? = nil,
        dueIn: Duration = .zero,
        mayHaveLeft: Bool = false,
        remoteID: String? = nil,
        status: Int32? = nil,
        evidence: String? = nil
    ) {
        self.job = job
        self.attempt = attempt
        self.outcome = outcome
        self.reason = reason
        self.dueIn = dueIn
        self.mayHaveLeft = mayHaveLeft
        self.remoteID = remoteID
        self.status = status
        self.evidence = evidence
    }

    /// Without the other side's words.
    package var withoutEvidence: Settlement {
        Settlement(
            job: job,
            attempt: attempt,
            outcome: outcome,
            reason: reason,
            dueIn: dueIn,
            mayHaveLeft: mayHaveLeft,
            status: status
        )
    }
}

package struct SettleAnswer: Sendable, Hashable {
    package let job: Int64
    package let attempt: Int32
    package let verdict: SettleVerdict
    package init(job: Int64, attempt: Int32, verdict: SettleVerdict) {
        self.job = job
        self.attempt = attempt
        self.verdict = verdict
    }
}

package struct EventAnswer: Sendable, Hashable {
    /// Which one of those that were given; counted from 0.
    package let item: Int
    /// The job that runs it, if it is new.
    package let job: Int64?
    package let verdict: EventVerdict
    package init(item: Int, verdict: EventVerdict, job: Int64? = nil) {
        self.item = item
        self.verdict = verdict
        self.job = job
    }
}

/// A message that came back often.
package struct SuspectMessage: Sendable, Hashable {
    package let digest: [UInt8]
    /// The queue that it came from.
    package let via: String
    /// Its first bytes, and how many it has in all.
    package let raw: [UInt8]
    package let rawLength: Int64
    package init(digest: [UInt8], via: String, raw: [UInt8], rawLength: Int64) {
        self.digest = digest
        self.via = via
        self.raw = raw
        self.rawLength = rawLength
    }
}
