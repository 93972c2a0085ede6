package import TrunklineCore

/// The life of one job, for `trunkline why`: what state it is in, since when, why, and what releases it.
package struct JobStory: Sendable, Hashable {
    /// An attempt that has a row of its own.
    package struct Attempt: Sendable, Hashable {
        package let number: Int32
        package let startedAt: Timestamp
        package let endedAt: Timestamp
        package let outcome: String
        package let reason: String?
        package let status: Int32?
    }

    /// Another job that must be done first.
    package struct Ahead: Sendable, Hashable {
        package let job: JobID
        package let state: String
    }

    /// The event that sends a notice.
    package struct Origin: Sendable, Hashable {
        package let source: String
        package let event: String
        /// Its path.
        package let rule: String
        /// The revision in which the rule is.
        package let rules: Int64?
    }

    /// The newer notice that replaced a job.
    package struct Replacement: Sendable, Hashable {
        package let job: JobID
        /// When its fact happened.
        package let factAt: Timestamp
    }

    /// Where a job waits, as far as others decide it.
    package struct Lane: Sendable, Hashable {
        package var label: LaneLabel
        package var shard: Int
        /// `host (process pid)` of the live worker that owns the shard.
        package var owner: String?
        package var holdReason: String?
        package var heldSince: Timestamp?
        package var heldUntil: Timestamp?
        package var gate: String
        package var gateReason: String?
        package var gateSince: Timestamp?
        package var pausedUntil: Timestamp?
        package var nextSendAt: Timestamp?
        package var paceInterval: Duration
        /// How long after its stamp a job is asked about again.
        package var unknownHorizon: Duration
        /// When a held line is asked next.
        package var nextProbeAt: Timestamp?
        /// When the line began to go on after a hold, while it ramps.
        package var rampBegan: Timestamp?
        package var dailyCap: DailyCap = .unlimited
        package var timeZone = "UTC"
        /// The line's next midnight, when it has sent what it may today.
        package var cappedUntil: Timestamp?
        package var breaker: OpenBreaker?
    }

    package var readAt: Timestamp
    package var id: JobID
    /// Nil when the row was dropped by retention.
    package var key: String?
    /// Masked; nil when the row was dropped, and of a delivery.
    package var recipient: String?
    package var purpose: String?
    package var lane: Lane
    package var state: String
    package var reason: String?
    package var acceptedAt: Timestamp?
    package var endedAt: Timestamp?
    package var dueAt: Timestamp?
    package var sendBefore: Timestamp?
    package var isScheduled = false
    package var isPlaced = true
    package var attempt: Int32 = 0
    package var tries: Int32 = 0
    package var claimedAt: Timestamp?
    package var claimedBy: String?
    package var leaseUntil: Timestamp?
    package var maybeSentSince: Timestamp?
    package var remoteID: String?
    /// A job of the same person that comes first, and its state.
    package var ahead: Ahead?
    /// Jobs of the lane with an earlier place.
    package var jobsBefore: Int64 = 0
    /// A cancel came while an attempt ran, or after one that may have sent it.
    package var isCancelWanted = false
    /// A worker was lost during its last attempt: it goes as the only such one of its process.
    package var isSuspect = false
    /// The job that its worker must be done with first, when it is one of those.
    package var suspectAhead: JobID?
    package var factAt: Timestamp?
    /// Nil for one that was given otherwise.
    package var origin: Origin?
    /// What replaced it, of a superseded job.
    package var replacement: Replacement?
    package var attempts: [Attempt] = []
    /// What people decided about it, first to last.
    package var actions: [OperatorAction] = []
}
