public import PostgresDriver
public import TrunklineCore

/// A job that was put aside for a person.
public struct ParkedJob: Sendable, Hashable {
    public let id: JobID
    public let line: String
    public let key: String
    /// Masked.
    public let recipient: String
    public let purpose: String
    /// The word, as stored.
    public let reason: String
    /// When it was put aside.
    public let since: Timestamp
    public let acceptedAt: Timestamp
    public let attempt: Int32
    public let tries: Int32
    /// When the first attempt began that may have sent it; nil when surely none has.
    public let maybeSentSince: Timestamp?
    /// What was kept of the last answer. May hold what the other side wrote.
    public let evidence: String?
}

extension PostgresSession {
    /// Parked jobs, the longest parked first.
    public func parkedJobs(line: String? = nil, reason: String? = nil, limit: Int) async throws -> [ParkedJob] {
        try await parkedJobs(
            where: "($1::text is null or l.id = $1) and ($2::text is null or j.reason = $2)",
            [line.map { .text($0) } ?? .null, reason.map { .text($0) } ?? .null, .int8(Int64(limit))]
        )
    }

    /// One parked job; nil when there is none of that id.
    public func parkedJob(_ id: JobID) async throws -> ParkedJob? {
        try await parkedJobs(where: "j.id = $1 and $2::text is null", [.int8(id.value), .null, .int8(1)]).first
    }

    private func parkedJobs(where condition: String, _ parameters: [PostgresParameter]) async throws -> [ParkedJob] {
        let rows = try await query(
            """
            select j.id, coalesce(l.id, n.name), j.key, j.recipient, j.purpose, j.reason,
                   j.parked_at, j.accepted_at,
                   j.attempt, j.tries, j.maybe_sent_since, j.evidence
            from trunkline.jobs j
            join trunkline.lanes n on n.number = j.lane
            left join trunkline.lines l on l.lane = j.lane
            where j.parked_at is not null and \(condition)
            order by 7, j.id limit $3
            """,
            parameters
        )
        return (0..<rows.count).map { row in
            ParkedJob(
                id: JobID(rows.int8(row, 0) ?? 0),
                line: rows.text(row, 1) ?? "",
                key: rows.text(row, 2) ?? "",
                recipient: JobStory.masked(rows.text(row, 3)),
                purpose: rows.text(row, 4) ?? "",
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
