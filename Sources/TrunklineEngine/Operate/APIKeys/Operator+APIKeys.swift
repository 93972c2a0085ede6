internal import PostgresDriver
package import TrunklineCore

/// API keys: who may talk to a gateway.
extension Operator {
    /// Makes a key. Its secret is returned here, and never again.
    ///
    /// Throws a ``Refusal`` for what breaks a rule, ``LaneError`` and ``APIKeyError`` for a line that it cannot be bound to.
    package func createAPIKey(_ new: NewAPIKey) async throws -> (key: APIKey, secret: APIKeySecret) {
        try new.validate()
        if let line = new.binding?.line {
            let lane = try await lane(.line(line))
            guard lane.workspace == new.workspace else { throw APIKeyError.lineOfAnotherWorkspace(line) }
            guard lane.removedAt == nil else { throw LaneError.removed(.line(line)) }
        }
        var random = SystemRandomNumberGenerator()
        let (id, secret) = (APIKeyID(using: &random), APIKeySecret(using: &random))
        try await query(
            """
            insert into trunkline.api_keys (id, digest, hint, workspace, scopes, line, purpose, requests_per_minute, label)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            """,
            [
                .text(id.value), .bytes(secret.digest), .text(secret.hint), .text(new.workspace.value),
                .textArray(new.scopes.map(\.rawValue).sorted()),
                new.binding.map { .text($0.line.value) } ?? .null,
                new.binding.map { .text($0.purpose.rawValue) } ?? .null,
                new.requestsPerMinute.map { .int4(Int32($0)) } ?? .null, new.label.map { .text($0) } ?? .null,
            ]
        )
        return (try await apiKey(id), secret)
    }

    /// All keys in the order in which they were made, of one workspace or of all.
    package func allAPIKeys(workspace: WorkspaceID? = nil, withRevoked: Bool = false) async throws -> [APIKey] {
        try await apiKeys(
            where: "($1::text is null or k.workspace = $1) and ($2 or k.revoked_at is null)",
            [workspace.map { .text($0.value) } ?? .null, .bool(withRevoked)]
        ).map(\.key)
    }

    /// From now on nobody is let in with it; gateways hear of it within a second. Again: it stays as it is.
    package func revokeAPIKey(_ id: APIKeyID) async throws -> APIKey {
        try await query(
            "update trunkline.api_keys set revoked_at = now() where id = $1 and revoked_at is null",
            [.text(id.value)]
        )
        return try await apiKey(id)
    }

    /// The keys that were made or revoked after a revision, for whoever lets people in.
    ///
    /// - Parameter revision: 0 for all; then what the last call returned.
    /// - Returns: each with the digest of its secret, and the newest revision among them, or the one given.
    package func apiKeyChanges(
        since revision: Int64
    ) async throws -> (keys: [(digest: [UInt8], key: APIKey)], revision: Int64) {
        let found = try await apiKeys(where: "k.revision > $1", [.int8(revision)])
        return (found.map { ($0.digest, $0.key) }, found.map(\.revision).max() ?? revision)
    }

    private func apiKey(_ id: APIKeyID) async throws -> APIKey {
        guard let found = try await apiKeys(where: "k.id = $1", [.text(id.value)]).first else {
            throw APIKeyError.unknown(id)
        }
        return found.key
    }

    private func apiKeys(
        where condition: String,
        _ parameters: [PostgresParameter]
    ) async throws -> [(digest: [UInt8], key: APIKey, revision: Int64)] {
        let rows = try await query(
            """
            select k.digest, k.revision, k.id, k.hint, k.workspace, k.scopes, k.line, k.purpose, k.requests_per_minute, k.label,
                k.created_at, k.revoked_at
            from trunkline.api_keys k where \(condition) order by k.created_at, k.id
            """,
            parameters
        )
        return try (0..<rows.count).map { row in
            (rows.bytes(row, 0) ?? [], try APIKey(rows, row), rows.int8(row, 1) ?? 0)
        }
    }
}

extension APIKey {
    /// Scopes and purposes that only a later version knows allow nothing here.
    fileprivate init(_ rows: PostgresRows, _ row: Int) throws {
        func time(_ column: Int) -> Timestamp? { rows.timestamp(row, column).map(Timestamp.init(microseconds:)) }
        id = try APIKeyID(rows.text(row, 2) ?? "")
        hint = rows.text(row, 3) ?? ""
        workspace = try WorkspaceID(rows.text(row, 4) ?? "")
        let scopes = Set((rows.textArray(row, 5) ?? []).compactMap { $0.flatMap(APIScope.init(rawValue:)) })
        if let line = rows.text(row, 6) {
            let purpose = rows.text(row, 7).flatMap(Purpose.init(rawValue:))
            binding = try purpose.map { Binding(line: try LineID(line), purpose: $0) }
            // A key that is bound to what is not known here must not be free of it.
            self.scopes = purpose == nil ? [] : scopes
        } else {
            binding = nil
            self.scopes = scopes
        }
        requestsPerMinute = rows.int4(row, 8).map { Int($0) }
        label = rows.text(row, 9)
        createdAt = time(10) ?? Timestamp(microseconds: 0)
        revokedAt = time(11)
    }
}
