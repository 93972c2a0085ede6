internal import PostgresDriver
package import TrunklineCore

/// A job that got another time.
package struct RescheduledJob: Sendable, Hashable {
    package let job: JobID
    package let key: IdempotencyKey
    /// From when on it may be sent, by the database's clock.
    package let notBefore: Timestamp
    /// Whether that is in the future.
    package let isScheduled: Bool
}

/// Why a job keeps its time.
package enum RescheduleError: ExplainedError, Hashable {
    case unknownKey(IdempotencyKey)
    case begun(JobID, state: String, attempt: Int32)
    case ended(JobID, state: String)
    case afterSendBefore(Timestamp)

    package var isRefusal: Bool {
        if case .unknownKey = self { return false }
        return true
    }

    package var description: String {
        switch self {
        case .unknownKey(let key):
            "no job has the key \(key); a notice that only the broker has is not known here yet"
        case .begun(let job, "sending", let attempt): "too late: attempt \(attempt) of job \(job) has begun"
        case .begun(let job, "unknown", _): "too late: job \(job) may have been sent"
        case .begun(let job, "parked", _):
            "too late: job \(job) is put aside for a person; see 'trunkline parked show \(job)'"
        case .begun(let job, _, let attempt):
            "too late: job \(job) has had \(attempt) \(attempt == 1 ? "attempt" : "attempts"), and is tried again by itself"
        case .ended(let job, let state): "too late: job \(job) ended as \(state)"
        case .afterSendBefore(let time):
            "its sendBefore is \(time): it could never be sent at that time"
        }
    }
}

extension Operator {
    /// Gives a job that has not begun another time; its owner sees the row anew, within seconds.
    ///
    /// Throws ``RescheduleError`` or ``KeyScopeError``, and then nothing has changed.
    ///
    /// - Parameter time: nil or in the past: now.
    package func reschedule(_ key: IdempotencyKey, of owner: KeyOwner?, to time: Timestamp?) async throws
        -> RescheduledJob
    {
        try await patiently { database in
            try await database.perform { try await Self.reschedule($0, key, owner, time) }
        }
    }

    private static func reschedule(
        _ session: PostgresSession,
        _ key: IdempotencyKey,
        _ owner: KeyOwner?,
        _ time: Timestamp?
    ) async throws -> RescheduledJob {
        let scope = try await session.scope(of: KeyPattern(key.value), owner: owner)
        let found = try await session.query(
            "select job, final_state from trunkline.ledger where scope = $1 and key_digest = $2",
            [scope.map { .int4($0.number) } ?? .null, .bytes(key.digest)]
        )
        guard found.count == 1, let job = found.int8(0, 0).map(JobID.init) else {
            throw RescheduleError.unknownKey(key)
        }
        let rows = try await session.query(
            "select verdict, state, attempt, due_at, send_before, due_at > now() from trunkline.reschedule($1, $2)",
            [.int8(job.value), time.map { .timestamp(microseconds: $0.microseconds) } ?? .null]
        )
        let state = rows.text(0, 1) ?? found.text(0, 1) ?? "finished"
        switch rows.text(0, 0) {
        case "rescheduled":
            return RescheduledJob(
                job: job,
                key: key,
                notBefore: Timestamp(microseconds: rows.timestamp(0, 3) ?? 0),
                isScheduled: rows.bool(0, 5) ?? false
            )
        case "begun": throw RescheduleError.begun(job, state: state, attempt: rows.int4(0, 2) ?? 0)
        case "after_send_before":
            throw RescheduleError.afterSendBefore(Timestamp(microseconds: rows.timestamp(0, 4) ?? 0))
        // Its row is in `finished`, or retention has dropped it: the ledger knows the end.
        default: throw RescheduleError.ended(job, state: state)
        }
    }
}
