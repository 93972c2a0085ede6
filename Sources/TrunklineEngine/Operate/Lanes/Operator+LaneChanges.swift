internal import PostgresDriver
internal import TrunklineCore

/// Making and changing lanes, whatever they lead to; lines, destinations and sources give these their own words.
extension Operator {
    // MARK: Making

    /// Makes a lane with its state and the row of its noun; one that was removed from the same workspace comes back.
    ///
    /// The secret is sealed here, for this lane and the address's origin. Throws ``LaneError`` when the id is taken.
    ///
    /// - Parameter besides: what else belongs to its making; in the same transaction, when its rows are there.
    func addLane(
        _ name: LaneName,
        _ new: NewLane,
        besides: () async throws -> Void = {}
    ) async throws -> LaneRecord {
        let stored = try StoredSecret(new.secret, lane: name, address: new.address.value)
        try await transaction {
            try await requireTimeZone(new.timeZone)
            let scope = try await scope(ofKeysIn: name, workspace: new.workspace)
            let made = try await query(
                """
                insert into trunkline.lanes as n (name, shard_hash, carrier, scope, workspace, address, private_network,
                    secret_sealed, secret_reference, secret_key_version, secret_hint,
                    pace_interval_ms, concurrency, recipient_gap_ms, daily_cap, time_zone, unknown_horizon_ms, begins_quietly)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
                on conflict on constraint lanes_name_key do update set
                    address = excluded.address, private_network = excluded.private_network,
                    secret_sealed = excluded.secret_sealed, secret_reference = excluded.secret_reference,
                    secret_key_version = excluded.secret_key_version, secret_hint = excluded.secret_hint,
                    pace_interval_ms = excluded.pace_interval_ms,
                    concurrency = excluded.concurrency, recipient_gap_ms = excluded.recipient_gap_ms,
                    daily_cap = excluded.daily_cap, time_zone = excluded.time_zone,
                    unknown_horizon_ms = excluded.unknown_horizon_ms, begins_quietly = excluded.begins_quietly,
                    hold_reason = null, hold_until = null, held_at = null, removed_at = null
                where n.removed_at is not null and n.workspace = excluded.workspace and n.carrier = excluded.carrier
                returning n.number
                """,
                [
                    .text(name.value), .int8(Int64(CRC32.checksum(name.value.utf8))), .text(new.carrier.value),
                    .int4(scope), .text(new.workspace.value), .text(new.address.value), .bool(new.address.mayBePrivate),
                ] + stored.parameters + new.pace.parameters + [
                    new.dailyCap.parameter, .text(new.timeZone), .int4(new.unknownHorizon.int4Milliseconds),
                    .bool(new.beginsQuietly),
                ]
            )
            guard made.count == 1, let number = made.int4(0, 0) else { throw try await whyTaken(name, new) }
            try await query(
                "insert into trunkline.\(name.noun)s (id, lane) values ($1, $2) on conflict (id) do nothing",
                [.text(name.id), .int4(number)]
            )
            try await query(
                "insert into trunkline.lane_state (lane) values ($1) on conflict (lane) do nothing",
                [.int4(number)]
            )
            try await besides()
        }
        return try await lane(name)
    }

    /// Keys of sends are unique in their workspace, so that moving a shop to another line doubles nothing; those of
    /// deliveries in their destination, because one event goes to several; those of events in their source.
    private func scope(ofKeysIn name: LaneName, workspace: WorkspaceID) async throws -> Int32 {
        let scope =
            switch name {
            case .line: "workspace:" + workspace.value
            case .destination, .source: name.value
            }
        let rows = try await query(
            """
            insert into trunkline.scopes (name) values ($1)
            on conflict on constraint scopes_name_key do update set name = excluded.name
            returning number
            """,
            [.text(scope)]
        )
        guard let number = rows.int4(0, 0) else { preconditionFailure("RETURNING of one inserted row has one row") }
        return number
    }

    private func whyTaken(_ name: LaneName, _ new: NewLane) async throws -> LaneError {
        let rows = try await query(
            "select workspace, removed_at is not null, carrier from trunkline.lanes where name = $1",
            [.text(name.value)]
        )
        guard rows.text(0, 0) == new.workspace.value else { return .ofAnotherWorkspace(name) }
        guard rows.bool(0, 1) == true, let kind = rows.text(0, 2) else { return .exists(name) }
        return .ofAnotherKind(name, kind: kind)
    }

    // MARK: Changing

    /// Changes a lane; workers follow within a second. A new origin needs the secret again, and a new secret an address that
    /// was not changed behind Trunkline's back: see ``LaneError/secretOfAnotherAddress(_:)`` and
    /// ``LaneError/addressNotProven(_:origin:)``.
    ///
    /// - Parameter usual: the pace that lanes of its kind have.
    /// - Parameter besides: what else is changed of it; in the same transaction.
    func changeLane(
        _ name: LaneName,
        _ changes: LaneChanges,
        usual: Pace,
        besides: () async throws -> Void = {}
    ) async throws -> LaneRecord {
        try await transaction {
            try await lockLane(name)
            let before = try await lane(name)
            let secret = try await newSecret(of: name, changes)
            let pace = try changes.pace.applied(to: before.pace, usual: usual)
            if let timeZone = changes.timeZone { try await requireTimeZone(timeZone) }
            try await query(
                """
                update trunkline.lanes
                set pace_interval_ms = $2, concurrency = $3, recipient_gap_ms = $4, address = coalesce($5, address),
                    private_network = coalesce($6, private_network), daily_cap = $7, time_zone = coalesce($8, time_zone)
                where name = $1
                """,
                [.text(name.value)] + pace.parameters
                    + [
                        changes.address.map { .text($0.value) } ?? .null,
                        changes.address.map { .bool($0.mayBePrivate) } ?? .null,
                        (changes.dailyCap ?? before.dailyCap).parameter,
                        changes.timeZone.map { .text($0) } ?? .null,
                    ]
            )
            if let secret {
                try await query(
                    """
                    update trunkline.lanes
                    set secret_sealed = $2, secret_reference = $3, secret_key_version = $4, secret_hint = $5 where name = $1
                    """,
                    [.text(name.value)] + secret.parameters
                )
            }
            try await besides()
        }
        return try await lane(name)
    }

    /// Holds a lane: from now on nothing of it begins; its jobs wait. Replaces an earlier hold.
    ///
    /// - Parameter until: nil until it is resumed; in the future, at most a year.
    func holdLane(_ name: LaneName, reason: String, until: Timestamp?) async throws -> LaneRecord {
        let isReadable = !reason.unicodeScalars.contains { $0.properties.generalCategory == .control }
        guard (1...200).contains(reason.count), isReadable, !reason.allSatisfy(\.isWhitespace) else {
            throw LaneError.holdWithoutReason
        }
        try await transaction {
            try await lockLane(name)
            if let until {
                // The database's clock decides when a hold ends, so it also says whether that is in the future.
                let look = try await query(
                    "select $1 > now(), $1 <= now() + interval '366 days'",
                    [.timestamp(microseconds: until.microseconds)]
                )
                guard look.bool(0, 0) == true else { throw LaneError.holdIsOver }
                guard look.bool(0, 1) == true else { throw LaneError.holdTooLong }
            }
            try await query(
                "update trunkline.lanes set hold_reason = $2, hold_until = $3, held_at = now() where name = $1",
                [.text(name.value), .text(reason), until.map { .timestamp(microseconds: $0.microseconds) } ?? .null]
            )
        }
        return try await lane(name)
    }

    /// Ends the operator's hold, and makes the probe of a closed gate due: also without a hold workers see that somebody has
    /// changed something. The automatic gate stays what it is until they have asked.
    func resumeLane(_ name: LaneName) async throws -> LaneRecord {
        try await transaction {
            try await lockLane(name)
            try await query(
                "update trunkline.lanes set hold_reason = null, hold_until = null, held_at = null where name = $1",
                [.text(name.value)]
            )
            try await query(
                """
                update trunkline.lane_state set next_probe_at = now()
                where lane = (select number from trunkline.lanes where name = $1)
                  and gate in ('held_transient', 'held_human', 'probing')
                  -- Without a moment only a person's word makes it due.
                  and coalesce(next_probe_at > now(), true)
                """,
                [.text(name.value)]
            )
        }
        return try await lane(name)
    }

    /// Removes a lane: it accepts no more jobs. Its id, its keys and its finished jobs stay, and so does the stored secret,
    /// for a job that is taken in this very moment.
    ///
    /// Throws ``LaneError/unfinishedJobs(_:count:)`` while it has any.
    ///
    /// - Parameter besides: what else goes with it; in the same transaction.
    func removeLane(_ name: LaneName, besides: () async throws -> Void = {}) async throws -> LaneRecord {
        try await transaction {
            try await lockLane(name)
            let jobs = try await query(
                "select count(*) from trunkline.jobs where lane = (select number from trunkline.lanes where name = $1)",
                [.text(name.value)]
            )
            let count = jobs.int8(0, 0) ?? 0
            guard count == 0 else { throw LaneError.unfinishedJobs(name, count: count) }
            try await query("update trunkline.lanes set removed_at = now() where name = $1", [.text(name.value)])
            try await besides()
        }
        return try await lane(name)
    }

    /// The secret to store, nil when it stays.
    private func newSecret(of name: LaneName, _ changes: LaneChanges) async throws -> StoredSecret? {
        guard changes.address != nil || changes.secret != nil else { return nil }
        let (before, stored) = try await storedSecret(of: name)
        guard let secret = changes.secret else {
            guard changes.address.map({ Origin.of($0.value) }) == Origin.of(before) else {
                throw LaneError.secretOfAnotherAddress(name)
            }
            return nil
        }
        if let address = changes.address { return try StoredSecret(secret, lane: name, address: address.value) }
        guard stored.isBound(to: name, before, secret.masterKey) else {
            throw LaneError.addressNotProven(name, origin: Origin.of(before))
        }
        return try StoredSecret(secret, lane: name, address: before)
    }

    /// As the database knows them, since it is the one that looks for midnight. Abbreviations like EST have no summer.
    private func requireTimeZone(_ name: String) async throws {
        if name == "UTC" { return }
        let known = try await query(
            "select exists (select from pg_timezone_names where name = $1) and $1 !~ '^(posix|right)/'",
            [.text(name)]
        )
        guard known.bool(0, 0) == true else { throw LaneError.unknownTimeZone }
    }

    /// Two operators at once must not undo each other's change. Throws for a lane that is unknown or removed.
    private func lockLane(_ name: LaneName) async throws {
        let rows = try await query(
            "select removed_at is not null from trunkline.lanes where name = $1 for no key update",
            [.text(name.value)]
        )
        guard rows.count == 1 else { throw LaneError.unknown(name) }
        guard rows.bool(0, 0) == false else { throw LaneError.removed(name) }
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
