internal import PostgresDriver
package import TrunklineCore

/// Looking at lanes, whatever they lead to.
extension Operator {
    /// A lane, also a removed one. Throws ``LaneError/unknown(_:)``.
    func lane(_ name: LaneName) async throws -> LaneRecord {
        guard let lane = try await lanes(where: "n.name = $1", [.text(name.value)]).first else {
            throw LaneError.unknown(name)
        }
        return lane
    }

    /// All lanes of a noun in order of their ids, of one workspace or of all. `prefix`: `line:`, `destination:`, `source:`.
    func allLanes(_ prefix: String, workspace: WorkspaceID?, withRemoved: Bool) async throws -> [LaneRecord] {
        try await lanes(
            where:
                "starts_with(n.name, $1) and ($2::text is null or n.workspace = $2) and ($3 or n.removed_at is null)",
            [.text(prefix), workspace.map { .text($0.value) } ?? .null, .bool(withRemoved)]
        )
    }

    private func lanes(where condition: String, _ parameters: [PostgresParameter]) async throws -> [LaneRecord] {
        let rows = try await query(
            """
            select n.name, n.workspace, n.address, n.secret_reference, n.secret_key_version, n.secret_hint, n.pace_interval_ms,
                n.concurrency, n.recipient_gap_ms, n.hold_reason, n.held_at, n.hold_until, coalesce(s.gate, 'unknown'),
                s.gate_reason, coalesce(s.gate_since, n.created_at), n.created_at, n.removed_at, n.number, u.states, u.counts, now(),
                n.daily_cap, n.time_zone,
                case when s.sent_on = (now() at time zone n.time_zone)::date then s.sent_today else 0 end,
                case when s.gate in ('held_transient', 'held_human', 'probing') then s.next_probe_at end,
                n.carrier, n.private_network, n.unknown_horizon_ms::int8
            from trunkline.lanes n
            left join trunkline.lane_state s on s.lane = n.number
            left join lateral (
                select array_agg(c.state order by c.state) as states, array_agg(c.jobs order by c.state) as counts
                from (
                    select j.state, count(*) as jobs from trunkline.jobs j
                    where j.lane = n.number and j.parked_at is null group by j.state
                    union all
                    select 'parked', count(*) from trunkline.jobs j
                    where j.lane = n.number and j.parked_at is not null having count(*) > 0
                ) c
            ) u on true
            where \(condition)
            order by n.name
            """,
            parameters
        )
        return try (0..<rows.count).compactMap { try LaneRecord(rows, $0) }
    }

    /// A lane's secret in the clear: for the call that needs it, never for showing.
    ///
    /// - Parameter ownFiles: paths of the program's own secrets, which no reference may name.
    /// - Returns: the only address to whose origin it may be sent, and the secret.
    package func access(
        toLane name: LaneName,
        masterKey: MasterKey?,
        ownFiles: Set<String>
    ) async throws -> (address: String, secret: [UInt8]) {
        let (address, stored) = try await storedSecret(of: name)
        return (address, try stored.open(lane: name, address: address, masterKey: masterKey, ownFiles: ownFiles))
    }

    func storedSecret(of name: LaneName) async throws -> (address: String, StoredSecret) {
        let rows = try await query(
            """
            select address, secret_sealed, secret_reference, secret_key_version from trunkline.lanes where name = $1
            """,
            [.text(name.value)]
        )
        guard rows.count == 1 else { throw LaneError.unknown(name) }
        return (rows.text(0, 0) ?? "", StoredSecret(rows, 0, column: 1))
    }

    /// Throws ``LaneSecretError`` when there are stored secrets and the key opens none of the latest ones: a worker with a
    /// wrong key would take shards and hold their lanes.
    package func requireMasterKey(_ key: MasterKey?) async throws {
        let rows = try await query(
            """
            select name, address, secret_sealed, secret_reference, secret_key_version from trunkline.lanes
            where removed_at is null order by revision desc limit 20
            """,
            []
        )
        guard rows.count > 0 else { return }
        guard let key else { throw LaneSecretError.masterKeyMissing }
        for row in 0..<rows.count {
            guard let lane = rows.text(row, 0).flatMap({ LaneName(stored: $0) }), let address = rows.text(row, 1)
            else { continue }
            if StoredSecret(rows, row, column: 2).isBound(to: lane, address, key) { return }
        }
        throw LaneSecretError.opensNothing
    }
}

extension StoredSecret {
    /// secret_sealed, secret_reference, secret_key_version from `column` on.
    init(_ rows: PostgresRows, _ row: Int, column: Int) {
        self.init(
            sealed: rows.bytes(row, column) ?? [],
            reference: rows.text(row, column + 1),
            keyVersion: rows.int4(row, column + 2) ?? 0
        )
    }
}

extension LaneRecord {
    /// Nil for a lane of a noun that only a later version knows.
    fileprivate init?(_ rows: PostgresRows, _ row: Int) throws {
        func text(_ column: Int) -> String { rows.text(row, column) ?? "" }
        func time(_ column: Int) -> Timestamp? { rows.timestamp(row, column).map(Timestamp.init(microseconds:)) }
        let epoch = Timestamp(microseconds: 0)
        guard let name = LaneName(stored: text(0)) else { return nil }
        self.name = name
        workspace = try WorkspaceID(text(1))
        address = text(2)
        if let reference = rows.text(row, 3) {
            secretPlace = .reference(reference)
        } else {
            secretPlace = .sealed(keyVersion: rows.int4(row, 4) ?? 0)
        }
        secretHint = text(5)
        pace = Pace(
            interval: .milliseconds(rows.int4(row, 6) ?? 0),
            concurrency: Int(rows.int4(row, 7) ?? 1),
            recipientGap: .milliseconds(rows.int4(row, 8) ?? 0)
        )
        hold = rows.text(row, 9).map { Hold(reason: $0, since: time(10) ?? epoch, until: time(11)) }
        gate = text(12)
        gateReason = rows.text(row, 13)
        gateSince = time(14) ?? epoch
        createdAt = time(15) ?? epoch
        removedAt = time(16)
        number = rows.int4(row, 17) ?? 0
        let states = rows.textArray(row, 18) ?? []
        let counts = rows.int8Array(row, 19) ?? []
        var unfinished: [String: Int64] = [:]
        for (state, count) in zip(states, counts) { if let state, let count { unfinished[state] = count } }
        self.unfinished = unfinished
        readAt = time(20) ?? epoch
        dailyCap = DailyCap(stored: rows.int4(row, 21))
        timeZone = text(22)
        capUsed = Int(rows.int4(row, 23) ?? 0)
        nextProbeAt = time(24)
        carrier = text(25)
        mayBePrivate = rows.bool(row, 26) ?? false
        unknownHorizon = rows.milliseconds(row, 27) ?? .zero
    }
}
