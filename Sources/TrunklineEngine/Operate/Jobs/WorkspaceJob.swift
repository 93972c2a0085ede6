internal import PostgresDriver
package import TrunklineCore

/// A job as whoever may see one workspace only finds it.
package struct WorkspaceJob: Sendable, Hashable {
    package let id: JobID
    package let key: IdempotencyKey
    /// Within what its key is unique.
    package let owner: KeyOwner
}

/// How a job is named: by its number, by its key, or by whichever of the two the name is.
package enum JobNaming: String, Sendable, Hashable, CaseIterable {
    case id, key
}

/// The name is the number of one job and the key of another.
package struct AmbiguousJobError: ExplainedError, Hashable {
    package let byNumber: JobID
    package let byKey: JobID
    package var isRefusal: Bool { true }
    package var description: String { "the name is the number of job \(byNumber) and the key of job \(byKey)" }
}

/// What the ledger knows of a key.
package struct KnownKey: Sendable, Hashable {
    package let job: JobID
    /// Nil for a lane of a noun that only a later version knows.
    package let lane: LaneName?
    /// What ``SendJob/contentDigest`` or ``DeliverJob/contentDigest`` gave for it.
    package let contentDigest: [UInt8]
}

extension Operator {
    /// The job of a workspace that a name means: any job by its number, as long as it has a row, and a notice by its key, for
    /// ever. Nil when the workspace has none, whoever else may have one.
    ///
    /// - Parameter naming: nil: whichever it is; throws ``AmbiguousJobError`` when it is both, of two jobs.
    package func job(
        named name: String,
        by naming: JobNaming? = nil,
        in workspace: WorkspaceID
    ) async throws -> WorkspaceJob? {
        var byNumber: WorkspaceJob?
        if naming != .key, let id = JobID(text: name) { byNumber = try await job(id, in: workspace) }
        var byKey: WorkspaceJob?
        if naming != .id, let key = try? IdempotencyKey(name),
            let known = try await known(key, of: .workspace(workspace))
        {
            byKey = WorkspaceJob(id: known.job, key: key, owner: .workspace(workspace))
        }
        if let byNumber, let byKey, byNumber.id != byKey.id {
            throw AmbiguousJobError(byNumber: byNumber.id, byKey: byKey.id)
        }
        return byNumber ?? byKey
    }

    private func job(_ id: JobID, in workspace: WorkspaceID) async throws -> WorkspaceJob? {
        let rows = try await query(
            """
            select r.key, s.name
            from (
                select key, lane, scope from trunkline.jobs where id = $1
                union all
                select key, lane, scope from trunkline.finished where id = $1
            ) r
            join trunkline.lanes n on n.number = r.lane
            join trunkline.scopes s on s.number = r.scope
            where n.workspace = $2
            limit 1
            """,
            [.int8(id.value), .text(workspace.value)]
        )
        guard rows.count == 1, let key = rows.text(0, 0), let owner = rows.text(0, 1).flatMap({ KeyOwner(scope: $0) })
        else { return nil }
        return WorkspaceJob(id: id, key: try IdempotencyKey(key), owner: owner)
    }

    /// What the ledger knows of a key; nil when nothing.
    package func known(_ key: IdempotencyKey, of owner: KeyOwner) async throws -> KnownKey? {
        let rows = try await query(
            """
            select l.job, n.name, l.content_digest
            from trunkline.ledger l
            join trunkline.scopes s on s.number = l.scope
            left join trunkline.lanes n on n.number = l.lane
            where s.name = $1 and l.key_digest = $2
            """,
            [.text(owner.scope), .bytes(key.digest)]
        )
        guard rows.count == 1, let job = rows.int8(0, 0), let digest = rows.bytes(0, 2) else { return nil }
        return KnownKey(
            job: JobID(job),
            lane: rows.text(0, 1).flatMap { LaneName(stored: $0) },
            contentDigest: digest
        )
    }
}
