internal import PostgresDriver
package import TrunklineCore

/// A job that was put aside for a person.
package struct ParkedJob: Sendable, Hashable {
    package let id: JobID
    package let lane: LaneLabel
    package let key: String
    /// Masked; nil of a delivery.
    package let recipient: String?
    package let purpose: String?
    /// The word, as stored.
    package let reason: String
    /// When it was put aside.
    package let since: Timestamp
    package let acceptedAt: Timestamp
    package let attempt: Int32
    package let tries: Int32
    /// When the first attempt began that may have sent it; nil when surely none has.
    package let maybeSentSince: Timestamp?
    /// What was kept of the last answer. May hold what the other side wrote.
    package let evidence: String?
}

extension Operator {
    /// Parked jobs, the longest parked first.
    package func parkedJobs(lane: LaneName? = nil, reason: String? = nil, limit: Int) async throws -> [ParkedJob] {
        try await parkedJobs(
            where: "($1::text is null or n.name = $1) and ($2::text is null or j.reason = $2)",
            [lane.map { .text($0.value) } ?? .null, reason.map { .text($0) } ?? .null, .int8(Int64(limit))]
        )
    }

    /// One parked job; nil when there is none of that id.
    package func parkedJob(_ id: JobID) async throws -> ParkedJob? {
        try await parkedJobs(where: "j.id = $1 and $2::text is null", [.int8(id.value), .null, .int8(1)]).first
    }

    private func parkedJobs(where condition: String, _ parameters: [PostgresParameter]) async throws -> [ParkedJob] {
        let rows = try await query(
            """
            select j.id, n.name, j.key, j.recipient, j.purpose, j.reason,
                   j.parked_at, j.accepted_at,
                   j.attempt, j.tries, j.maybe_sent_since, j.evidence
            from trunkline.jobs j
            join trunkline.lanes n on n.number = j.lane
            where j.parked_at is not null and \(condition)
            order by 7, j.id limit $3
            """,
            parameters
        )
        return (0..<rows.count).map { row in
            ParkedJob(
                id: JobID(rows.int8(row, 0) ?? 0),
                lane: LaneLabel(stored: rows.text(row, 1) ?? ""),
                key: rows.text(row, 2) ?? "",
                recipient: rows.text(row, 3).map { JobStory.masked($0) },
                purpose: rows.text(row, 4),
                reason: rows.text(row, 5) ?? "",
                since: Timestamp(microseconds: rows.timestamp(row, 6) ?? 0),
                acceptedAt: Timestamp(microseconds: rows.timestamp(row, 7) ?? 0),
                attempt: rows.int4(row, 8) ?? 0,
                tries: rows.int4(row, 9) ?? 0,
                maybeSentSince: rows.timestamp(row, 10).map(Timestamp.init(microseconds:)),
                evidence: rows.text(row, 11)
            )
        }
    }
}
