internal import PostgresDriver
package import TrunklineCore

/// What an event asked for and is not done, in writing. Holds no customer's data.
package struct PolicyDecision: Sendable, Hashable {
    package let number: Int64
    package let workspace: WorkspaceID
    package let source: String
    package let event: String
    /// A word of ``PolicyAsk``, or one of a later program.
    package let ask: String
    /// The rule that asked for it; nil where the event itself did.
    package let rule: String?
    package let at: Timestamp

    /// Why it is not done; nil for an ask of a later program.
    package var sentence: String? { PolicyAsk(rawValue: ask)?.sentence }
}

/// Refusals by policy, one for an event and what it asked for.
extension Operator {
    private static let columns = "id, workspace, source, event_key, ask, rule, at"

    /// The latest first.
    ///
    /// - Parameters:
    ///   - workspace, source, ask: only of these; nil for all.
    ///   - limit: at most so many.
    package func decisions(
        workspace: WorkspaceID? = nil,
        source: SourceID? = nil,
        ask: PolicyAsk? = nil,
        limit: Int
    ) async throws -> [PolicyDecision] {
        try Self.decisions(
            try await query(
                """
                select \(Self.columns) from trunkline.policy_decisions
                where ($1::text is null or workspace = $1) and ($2::text is null or source = $2) and ($3::text is null or ask = $3)
                order by id desc limit $4
                """,
                [
                    workspace.map { .text($0.value) } ?? .null, source.map { .text($0.value) } ?? .null,
                    ask.map { .text($0.rawValue) } ?? .null, .int8(Int64(limit)),
                ]
            )
        )
    }

    /// One of them; nil when there is none of that number.
    package func decision(_ number: Int64) async throws -> PolicyDecision? {
        try Self.decisions(
            try await query("select \(Self.columns) from trunkline.policy_decisions where id = $1", [.int8(number)])
        ).first
    }

    private static func decisions(_ rows: PostgresRows) throws -> [PolicyDecision] {
        try (0..<rows.count).map { row in
            PolicyDecision(
                number: rows.int8(row, 0) ?? 0,
                workspace: try WorkspaceID(rows.text(row, 1) ?? ""),
                source: rows.text(row, 2) ?? "",
                event: rows.text(row, 3) ?? "",
                ask: rows.text(row, 4) ?? "",
                rule: rows.text(row, 5),
                at: Timestamp(microseconds: rows.timestamp(row, 6) ?? 0)
            )
        }
    }
}
