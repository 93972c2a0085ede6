internal import PostgresDriver
package import TrunklineCore

/// A habit of a caller that defeats the key, as it was counted.
package struct LintFinding: Sendable, Hashable {
    package let workspace: WorkspaceID
    /// A word of ``CallerLint/Rule``, or one of a later program.
    package let rule: String
    /// The id of an API key, or the way in of whoever has none.
    package let caller: String
    /// The latest example.
    package let key: String
    package let times: Int64
    package let firstAt: Timestamp
    package let lastAt: Timestamp

    /// One sentence; nil for a rule of a later program.
    package var sentence: String? { CallerLint.Rule(rawValue: rule)?.sentence }
}

/// A text that went to one person on one line under several keys.
package struct RepeatedText: Sendable, Hashable {
    package let workspace: WorkspaceID
    package let lane: LaneLabel
    /// How many keys it had.
    package let keys: Int64
    /// The first and the last of them, by when they were accepted.
    package let firstKey: String
    package let lastKey: String
    package let lastAt: Timestamp
}

extension Operator {
    /// What was counted, the latest first, of one workspace or of all.
    ///
    /// - Parameter limit: at most so many.
    package func lintFindings(workspace: WorkspaceID? = nil, limit: Int) async throws -> [LintFinding] {
        let rows = try await query(
            """
            select workspace, rule, caller, key, times, first_at, last_at from trunkline.lint_findings
            where $1::text is null or workspace = $1 order by last_at desc, workspace, rule, caller limit $2
            """,
            [workspace.map { .text($0.value) } ?? .null, .int8(Int64(limit))]
        )
        return try (0..<rows.count).map { row in
            LintFinding(
                workspace: try WorkspaceID(rows.text(row, 0) ?? ""),
                rule: rows.text(row, 1) ?? "",
                caller: rows.text(row, 2) ?? "",
                key: rows.text(row, 3) ?? "",
                times: rows.int8(row, 4) ?? 0,
                firstAt: Timestamp(microseconds: rows.timestamp(row, 5) ?? 0),
                lastAt: Timestamp(microseconds: rows.timestamp(row, 6) ?? 0)
            )
        }
    }

    /// Texts that went, or wait to go, to the same person on the same line under several keys, of what was accepted within a
    /// day, whatever way it came in; most keys first. Reads all notices of that day: for a person who asks.
    ///
    /// - Parameter limit: at most so many.
    package func repeatedTexts(workspace: WorkspaceID? = nil, limit: Int) async throws -> [RepeatedText] {
        let rows = try await query(
            """
            with day as (
                select lane, key, request, accepted_at from trunkline.jobs
                where recipient is not null and accepted_at > now() - interval '1 day'
                union all
                select lane, key, request, accepted_at from trunkline.finished
                where recipient is not null and state = 'sent' and ended_on >= (now() at time zone 'UTC')::date - 1
                  and accepted_at > now() - interval '1 day'
            ), repeated as (
                -- The request holds recipient, text and button.
                select lane, count(*) as keys, (array_agg(key order by accepted_at, key))[1] as first_key,
                    (array_agg(key order by accepted_at desc, key desc))[1] as last_key, max(accepted_at) as last_at
                from day group by lane, request having count(*) > 1
            )
            select n.workspace, n.name, r.keys, r.first_key, r.last_key, r.last_at
            from repeated r join trunkline.lanes n on n.number = r.lane
            where $1::text is null or n.workspace = $1 order by r.keys desc, r.last_at desc, r.last_key limit $2
            """,
            [workspace.map { .text($0.value) } ?? .null, .int8(Int64(limit))]
        )
        return try (0..<rows.count).map { row in
            RepeatedText(
                workspace: try WorkspaceID(rows.text(row, 0) ?? ""),
                lane: LaneLabel(stored: rows.text(row, 1) ?? ""),
                keys: rows.int8(row, 2) ?? 0,
                firstKey: rows.text(row, 3) ?? "",
                lastKey: rows.text(row, 4) ?? "",
                lastAt: Timestamp(microseconds: rows.timestamp(row, 5) ?? 0)
            )
        }
    }
}
