internal import PostgresDriver
package import TrunklineCore
package import TrunklineIntegrations

extension Operator {
    // MARK: Making

    /// Makes a line with its lane and its lane's state; a line that was removed from the same workspace comes back.
    ///
    /// The token is sealed here, for this line and the address's origin. Throws ``LineError`` when the id is taken.
    package func addLine(
        _ id: LineID,
        workspace: WorkspaceID,
        baseURL: EZWhatsApp.BaseURL,
        token: LineToken,
        pace: Pace,
        dailyCap: DailyCap = .unlimited,
        timeZone: String = "UTC"
    ) async throws -> Line {
        let stored = try StoredToken(token, line: id, base: baseURL)
        try await transaction {
            try await requireTimeZone(timeZone)
            let lane = try await query(
                """
                insert into trunkline.lanes (name, shard_hash) values ($1, $2)
                on conflict on constraint lanes_name_key do update set name = excluded.name
                returning number
                """,
                [.text(id.laneName), .int8(Int64(CRC32.checksum(id.laneName.utf8)))]
            )
            let scope = try await query(
                """
                insert into trunkline.scopes (name) values ($1)
                on conflict on constraint scopes_name_key do update set name = excluded.name
                returning number
                """,
                [.text("workspace:" + workspace.value)]
            )
            guard let lane = lane.int4(0, 0), let scope = scope.int4(0, 0) else {
                preconditionFailure("RETURNING of one inserted row has one row")
            }
            let made = try await query(
                """
                insert into trunkline.lines (id, lane, scope, workspace, base_url, token_sealed, token_reference,
                    token_key_version, token_hint, pace_interval_ms, concurrency, recipient_gap_ms, daily_cap, time_zone)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
                on conflict (id) do update set
                    base_url = excluded.base_url, token_sealed = excluded.token_sealed,
                    token_reference = excluded.token_reference, token_key_version = excluded.token_key_version,
                    token_hint = excluded.token_hint, pace_interval_ms = excluded.pace_interval_ms,
                    concurrency = excluded.concurrency, recipient_gap_ms = excluded.recipient_gap_ms,
                    daily_cap = excluded.daily_cap, time_zone = excluded.time_zone,
                    hold_reason = null, hold_until = null, held_at = null, removed_at = null
                where lines.removed_at is not null and lines.scope = excluded.scope
                """,
                [.text(id.value), .int4(lane), .int4(scope), .text(workspace.value), .text(baseURL.value)]
                    + stored.parameters + pace.parameters + [dailyCap.parameter, .text(timeZone)]
            )
            guard made.affectedRows == 1 else {
                let existing = try await query(
                    "select scope from trunkline.lines where id = $1",
                    [.text(id.value)]
                )
                let isOurs = existing.count == 1 && existing.int4(0, 0) == scope
                throw isOurs ? LineError.exists(id) : LineError.ofAnotherWorkspace(id)
            }
            try await query(
                "insert into trunkline.lane_state (lane) values ($1) on conflict (lane) do nothing",
                [.int4(lane)]
            )
        }
        return try await line(id)
    }

    // MARK: Changing

    /// Changes a line; workers follow within a second. A new origin needs the token again, and a new token an address that
    /// was not changed behind Trunkline's back: see ``LineError/tokenOfAnotherAddress(_:)`` and
    /// ``LineError/addressNotProven(_:origin:)``.
    package func changeLine(_ id: LineID, _ changes: LineChanges) async throws -> Line {
        try await transaction {
            try await lockLine(id)
            let before = try await line(id)
            let token = try await newToken(of: id, changes)
            let pace = try changes.pace.applied(to: before.pace)
            if let timeZone = changes.timeZone { try await requireTimeZone(timeZone) }
            try await query(
                """
                update trunkline.lines
                set pace_interval_ms = $2, concurrency = $3, recipient_gap_ms = $4, base_url = coalesce($5, base_url),
                    daily_cap = $6, time_zone = coalesce($7, time_zone)
                where id = $1
                """,
                [.text(id.value)] + pace.parameters
                    + [
                        changes.baseURL.map { .text($0.value) } ?? .null,
                        (changes.dailyCap ?? before.dailyCap).parameter,
                        changes.timeZone.map { .text($0) } ?? .null,
                    ]
            )
            if let token {
                try await query(
                    """
                    update trunkline.lines
                    set token_sealed = $2, token_reference = $3, token_key_version = $4, token_hint = $5 where id = $1
                    """,
                    [.text(id.value)] + token.parameters
                )
            }
        }
        return try await line(id)
    }

    /// Holds a line: from now on no send of it begins; its jobs wait. Replaces an earlier hold.
    ///
    /// - Parameter until: nil until it is resumed; in the future, at most a year.
    package func holdLine(_ id: LineID, reason: String, until: Timestamp?) async throws -> Line {
        let isReadable = !reason.unicodeScalars.contains { $0.properties.generalCategory == .control }
        guard (1...200).contains(reason.count), isReadable, !reason.allSatisfy(\.isWhitespace) else {
            throw LineError.holdWithoutReason
        }
        try await transaction {
            try await lockLine(id)
            if let until {
                // The database's clock decides when a hold ends, so it also says whether that is in the future.
                let look = try await query(
                    "select $1 > now(), $1 <= now() + interval '366 days'",
                    [.timestamp(microseconds: until.microseconds)]
                )
                guard look.bool(0, 0) == true else { throw LineError.holdIsOver }
                guard look.bool(0, 1) == true else { throw LineError.holdTooLong }
            }
            try await query(
                "update trunkline.lines set hold_reason = $2, hold_until = $3, held_at = now() where id = $1",
                [.text(id.value), .text(reason), until.map { .timestamp(microseconds: $0.microseconds) } ?? .null]
            )
        }
        return try await line(id)
    }

    /// Ends the operator's hold. The automatic gate stays what it is. Does nothing to a line that is not held.
    package func resumeLine(_ id: LineID) async throws -> Line {
        try await transaction {
            try await lockLine(id)
            try await query(
                """
                update trunkline.lines set hold_reason = null, hold_until = null, held_at = null
                where id = $1 and hold_reason is not null
                """,
                [.text(id.value)]
            )
        }
        return try await line(id)
    }

    /// Removes a line: it accepts no more jobs. Its id, its keys and its finished jobs stay, and so does the stored token,
    /// for a job that is taken in this very moment.
    ///
    /// Throws ``LineError/unfinishedJobs(_:count:)`` while it has any.
    package func removeLine(_ id: LineID) async throws -> Line {
        try await transaction {
            try await lockLine(id)
            let jobs = try await query(
                "select count(*) from trunkline.jobs where lane = (select lane from trunkline.lines where id = $1)",
                [.text(id.value)]
            )
            let count = jobs.int8(0, 0) ?? 0
            guard count == 0 else { throw LineError.unfinishedJobs(id, count: count) }
            try await query("update trunkline.lines set removed_at = now() where id = $1", [.text(id.value)])
        }
        return try await line(id)
    }

    /// The token to store, nil when it stays.
    private func newToken(of id: LineID, _ changes: LineChanges) async throws -> StoredToken? {
        guard changes.baseURL != nil || changes.token != nil else { return nil }
        let (address, stored) = try await storedToken(of: id)
        let before = try? EZWhatsApp.BaseURL(address)
        guard let token = changes.token else {
            guard changes.baseURL?.origin == before?.origin else { throw LineError.tokenOfAnotherAddress(id) }
            return nil
        }
        if let base = changes.baseURL { return try StoredToken(token, line: id, base: base) }
        guard let before, stored.isBound(to: id, before, token.masterKey) else {
            throw LineError.addressNotProven(id, origin: before?.origin ?? address)
        }
        return try StoredToken(token, line: id, base: before)
    }

    /// As the database knows them, since it is the one that looks for midnight. Abbreviations like EST have no summer.
    private func requireTimeZone(_ name: String) async throws {
        if name == "UTC" { return }
        let known = try await query(
            "select exists (select from pg_timezone_names where name = $1) and $1 !~ '^(posix|right)/'",
            [.text(name)]
        )
        guard known.bool(0, 0) == true else { throw LineError.unknownTimeZone }
    }

    /// Two operators at once must not undo each other's change. Throws for a line that is unknown or removed.
    private func lockLine(_ id: LineID) async throws {
        let rows = try await query(
            "select removed_at is not null from trunkline.lines where id = $1 for no key update",
            [.text(id.value)]
        )
        guard rows.count == 1 else { throw LineError.unknown(id) }
        guard rows.bool(0, 0) == false else { throw LineError.removed(id) }
    }
}

extension Pace {
    /// pace_interval_ms, concurrency, recipient_gap_ms.
    fileprivate var parameters: [PostgresParameter] {
        [
            .int4(Int32(interval / .milliseconds(1))), .int4(Int32(concurrency)),
            .int4(Int32(recipientGap / .milliseconds(1))),
        ]
    }
}
