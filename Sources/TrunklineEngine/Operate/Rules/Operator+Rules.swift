internal import PostgresDriver
package import TrunklineCore

/// Which event sends which notice: rules of a workspace, of which the newest are in force.
extension Operator {
    private static let columns = "revision, workspace, text, applied_at"

    /// The rules that are in force; nil when none were ever applied.
    package func rules(of workspace: WorkspaceID) async throws -> AppliedRules? {
        try await rules(
            "where workspace = $1 order by revision desc limit 1",
            [.text(workspace.value)]
        ).first
    }

    /// The only rules that are in force; nil when nobody has any. Throws ``RulesError/severalWorkspaces(_:)``.
    package func onlyRules() async throws -> AppliedRules? {
        let all = try await rules(
            "where revision in (select max(revision) from trunkline.rules group by workspace) order by workspace"
        )
        guard all.count < 2 else { throw RulesError.severalWorkspaces(all.map(\.workspace)) }
        return all.first
    }

    /// Those of a revision, also when they are not in force any more.
    package func rules(revision: Int64) async throws -> AppliedRules? {
        try await rules("where revision = $1", [.int8(revision)]).first
    }

    /// Puts rules into force, in one commit; workers plan by them from the next event on. The same rules again change nothing.
    ///
    /// - Parameter decide: is told whose they are and what is in force, and says whether to go on; not asked when the same are in
    ///   force.
    /// - Returns: whose they are, and the rules that are in force now; `isNew`: they came into force by this call.
    /// - Throws: ``RulesError``, before anything is changed.
    package func applyRules(
        _ new: NewRules,
        decide: (WorkspaceID, AppliedRules?) throws -> Bool
    ) async throws -> (workspace: WorkspaceID, inForce: AppliedRules?, isNew: Bool) {
        try await transaction {
            let workspace = try await check(new)
            try await query(
                "select pg_advisory_xact_lock(hashtextextended('trunkline.rules:' || $1, 0))",
                [.text(workspace.value)]
            )
            let inForce = try await rules(of: workspace)
            guard inForce?.text != new.text, try decide(workspace, inForce) else { return (workspace, inForce, false) }
            let added = try await query(
                "insert into trunkline.rules (workspace, text, digest) values ($1, $2, $3) returning \(Self.columns)",
                [.text(workspace.value), .text(new.text), .bytes(Digest.sha256(new.text.utf8))]
            )
            return (workspace, try Self.rules(added).first, true)
        }
    }

    private func rules(_ condition: String, _ parameters: [PostgresParameter] = []) async throws -> [AppliedRules] {
        try Self.rules(try await query("select \(Self.columns) from trunkline.rules \(condition)", parameters))
    }

    private static func rules(_ rows: PostgresRows) throws -> [AppliedRules] {
        try (0..<rows.count).map { row in
            AppliedRules(
                revision: rows.int8(row, 0) ?? 0,
                workspace: try WorkspaceID(rows.text(row, 1) ?? ""),
                text: rows.text(row, 2) ?? "",
                appliedAt: Timestamp(microseconds: rows.timestamp(row, 3) ?? 0)
            )
        }
    }

    // MARK: What rules take for granted

    /// What a claim is held against.
    private struct Found {
        let workspace: WorkspaceID
        let kind: String
        let isRemoved: Bool
        let country: String?
        let settings: [String: String]
    }

    /// Whose the rules are. What they name stays as it is until the transaction ends.
    private func check(_ new: NewRules) async throws -> WorkspaceID {
        let found = try await lanes(new.claims.map(\.lane))
        let owner = new.workspace ?? new.claims.lazy.compactMap { found[$0.lane]?.workspace }.first
        var problems: [RulesError.Problem] = []
        func note(_ path: String, _ words: String) { problems.append(.init(path: path, words: words)) }
        for claim in new.claims {
            guard let lane = found[claim.lane] else {
                note(claim.path, "there is no \(claim.lane)")
                continue
            }
            if lane.workspace != owner, let owner {
                note(
                    claim.path,
                    "the \(claim.lane) is not of workspace \(owner): the rules of each workspace stand in a file of their own"
                )
            } else if lane.isRemoved {
                note(claim.path, "the \(claim.lane) was removed")
            } else if let kind = claim.kind, kind != lane.kind {
                note(claim.path + ".kind", "the \(claim.lane) is of kind \(lane.kind)")
            }
            if let country = claim.country, country != lane.country {
                let other = lane.country.map { "country \($0)" } ?? "no country"
                note(claim.path + ".country", "the \(claim.lane) has \(other) ('trunkline source set' changes it)")
            }
            if let settings = claim.settings, settings != lane.settings {
                note(
                    claim.path + ".settings",
                    "the \(claim.lane) has other settings ('trunkline source set' changes them)"
                )
            }
        }
        guard problems.isEmpty else { throw RulesError.problems(problems) }
        guard let owner else { throw RulesError.noWorkspace }
        return owner
    }

    private func lanes(_ names: [LaneName]) async throws -> [LaneName: Found] {
        let rows = try await query(
            """
            select n.name, n.workspace, n.carrier, n.removed_at is not null, s.country, coalesce(s.settings::text, '{}')
            from trunkline.lanes n left join trunkline.sources s on s.lane = n.number
            where n.name = any ($1) order by n.number for share of n
            """,
            [.textArray(names.map(\.value))]
        )
        var found: [LaneName: Found] = [:]
        for row in 0..<rows.count {
            guard let name = rows.text(row, 0).flatMap({ LaneName(stored: $0) }) else { continue }
            found[name] = Found(
                workspace: try WorkspaceID(rows.text(row, 1) ?? ""),
                kind: rows.text(row, 2) ?? "",
                isRemoved: rows.bool(row, 3) ?? false,
                country: rows.text(row, 4),
                settings: try SourceSettingsText.read(rows.text(row, 5))
            )
        }
        return found
    }
}
