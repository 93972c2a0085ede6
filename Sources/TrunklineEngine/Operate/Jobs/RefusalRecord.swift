internal import PostgresDriver
package import TrunklineCore

/// A refusal as it was recorded: input that never became a job.
package struct RefusalRecord: Sendable, Hashable {
    package let id: Int64
    package let firstAt: Timestamp
    package let lastAt: Timestamp
    /// How often the same bytes came.
    package let times: Int32
    /// How it came: `amqp`, `cli`, `http`, …
    package let via: String
    package let kind: String
    package let field: String?
    package let reason: String
    package let lane: LaneLabel?
    package let key: String?
    /// The original's whole length in bytes.
    package let rawLength: Int64
    /// When a person gave it again and it was accepted.
    package let replayedAt: Timestamp?
    /// As which job; nil for a received event.
    package let replayedJob: JobID?
}

extension Operator {
    /// The latest refusals first.
    ///
    /// - Parameters:
    ///   - kind, lane, via: only those of this kind, lane, way in; nil for all.
    ///   - limit: at most so many.
    package func refusals(
        kind: String? = nil,
        lane: LaneName? = nil,
        via: String? = nil,
        limit: Int
    ) async throws -> [RefusalRecord] {
        func text(_ value: String?) -> PostgresParameter { value.map { .text($0) } ?? .null }
        return try await refusals(
            where:
                "($1::text is null or kind = $1) and ($2::text is null or lane = $2) and ($3::text is null or via = $3)",
            [text(kind), text(lane?.value), text(via), .int8(Int64(limit))]
        )
    }

    /// One refusal; nil when there is none of that number.
    package func refusal(_ id: Int64) async throws -> RefusalRecord? {
        try await refusals(
            where: "id = $1 and $2::text is null and $3::text is null",
            [.int8(id), .null, .null, .int8(1)]
        ).first
    }

    /// The original bytes, as far as they were kept. Customers' data.
    package func refusalBytes(_ id: Int64) async throws -> [UInt8]? {
        let rows = try await query("select raw from trunkline.refusals where id = $1", [.int8(id)])
        return rows.count == 1 ? rows.bytes(0, 0) : nil
    }

    private func refusals(where condition: String, _ parameters: [PostgresParameter]) async throws -> [RefusalRecord] {
        let rows = try await query(
            """
            select id, first_at, last_at, times, via, kind, field, reason, lane, key, raw_length,
                   replayed_at, replayed_job
            from trunkline.refusals where \(condition) order by last_at desc, id desc limit $4
            """,
            parameters
        )
        return (0..<rows.count).map { row in
            RefusalRecord(
                id: rows.int8(row, 0) ?? 0,
                firstAt: Timestamp(microseconds: rows.timestamp(row, 1) ?? 0),
                lastAt: Timestamp(microseconds: rows.timestamp(row, 2) ?? 0),
                times: rows.int4(row, 3) ?? 0,
                via: rows.text(row, 4) ?? "",
                kind: rows.text(row, 5) ?? "",
                field: rows.text(row, 6),
                reason: rows.text(row, 7) ?? "",
                lane: rows.text(row, 8).map { LaneLabel(stored: $0) },
                key: rows.text(row, 9),
                rawLength: rows.int8(row, 10) ?? 0,
                replayedAt: rows.timestamp(row, 11).map(Timestamp.init(microseconds:)),
                replayedJob: rows.int8(row, 12).map(JobID.init)
            )
        }
    }
}
