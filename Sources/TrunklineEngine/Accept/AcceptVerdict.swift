package import TrunklineCore

/// What became of one job that was given at the desk.
package enum AcceptVerdict: Sendable, Hashable {
    // MARK: Row first

    /// It is a job now, committed as `accepted`.
    case new(JobID)
    /// The same key with the same content was accepted before: it is that job. `lane` is where it is, `finalState` how it
    /// ended, if it did.
    case `repeat`(JobID, lane: LaneName?, finalState: String?)
    /// The same key is other work, of that job in that lane. Refused and recorded.
    case conflict(JobID, lane: LaneName?, Contents)
    /// No line or destination of that id. Refused and recorded.
    case unknownLane
    /// The line or destination was removed. Refused and recorded.
    case removedLane
    /// It never reached the database, or the database cannot store it. Refused.
    case refused(Refusal)

    // MARK: Broker first

    /// RabbitMQ has it; the worker that takes it from there finds repeats, conflicts and unknown lines.
    case confirmed
    /// No queue is bound for it.
    case unroutable
    /// The broker said no.
    case rejected
    /// It surely did not reach the broker; why.
    case notSent(String)
    /// The broker may have it or not; why. Giving it again is the way to know: the key makes it one notice.
    case unknown(String)

    /// The two contents of one key, as 32 hexadecimal digits each: the 16 bytes of `SendJob.contentDigest` or
    /// `DeliverJob.contentDigest`. They tell a caller which of two texts was accepted without showing either.
    package struct Contents: Sendable, Hashable {
        /// Of the job that has the key.
        package let stored: String
        /// Of what was given now.
        package let given: String

        init(stored: [UInt8], given: [UInt8]) {
            self.stored = Digest.hex(stored)
            self.given = Digest.hex(given)
        }
    }

    /// What did not go well with a job: which field of it, if it is one, and a sentence.
    package struct Complaint: Sendable, Hashable {
        package let field: String?
        package let reason: String
    }

    /// Whether the job is in the ledger, from this call or an earlier one.
    package var isTaken: Bool {
        switch self {
        case .new, .repeat: true
        case .conflict, .unknownLane, .removedLane, .refused: false
        case .confirmed, .unroutable, .rejected, .notSent, .unknown: false
        }
    }

    /// The verdict in one word, for counts and programs.
    package var word: String {
        switch self {
        case .new: "new"
        case .repeat: "repeat"
        case .conflict: "conflict"
        case .unknownLane, .removedLane, .refused: "refused"
        case .confirmed: "confirmed"
        case .unroutable: "unroutable"
        case .rejected: "rejected"
        case .notSent: "not_sent"
        case .unknown: "unknown"
        }
    }

    /// The rule that forbids it; nil when none does.
    package func refusal(of job: CarriedWork) -> Refusal? {
        switch self {
        case .new, .repeat, .confirmed, .unroutable, .rejected, .notSent, .unknown: nil
        case .conflict(let id, let lane, _):
            Refusal(
                kind: .conflict,
                field: "key",
                reason: "the key \(job.key) is another \(job.noun) already: job \(id)\(lane.map { " on \($0)" } ?? "")"
            )
        case .unknownLane:
            Refusal(kind: job.lane.unknownKind, field: job.lane.noun, reason: "there is no \(job.lane)")
        case .removedLane:
            Refusal(kind: job.lane.unknownKind, field: job.lane.noun, reason: "the \(job.lane) was removed")
        case .refused(let refusal): refusal
        }
    }

    /// What did not go well; nil when nothing is to be complained of.
    package func complaint(about job: CarriedWork) -> Complaint? {
        switch self {
        case .new, .repeat, .confirmed: nil
        case .conflict, .unknownLane, .removedLane, .refused: refusal(of: job).map(Complaint.init)
        case .unroutable:
            Complaint(field: nil, reason: "the broker has no queue for it: run 'trunkline topology apply'")
        case .rejected: Complaint(field: nil, reason: "the broker refused it, for example because a queue is full")
        case .notSent(let reason): Complaint(field: nil, reason: "it did not reach the broker: \(reason)")
        case .unknown(let reason):
            Complaint(
                field: nil,
                reason: "the broker may have it or not (\(reason)); the same row again is the same \(job.noun)"
            )
        }
    }
}

extension AcceptVerdict.Complaint {
    /// A refusal's field and reason.
    package init(_ refusal: Refusal) { self.init(field: refusal.field, reason: refusal.reason) }
}

extension CarriedWork {
    /// What people call it.
    package var noun: String {
        switch self {
        case .send: "notice"
        case .deliver: "delivery"
        }
    }
}

extension LaneName {
    /// What is said of work for a lane that is not there.
    package var unknownKind: Refusal.Kind {
        switch self {
        case .line: .unknownLine
        case .destination: .unknownDestination
        }
    }
}
