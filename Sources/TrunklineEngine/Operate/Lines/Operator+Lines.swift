internal import PostgresDriver
package import TrunklineCore
package import TrunklineIntegrations

extension Operator {
    /// A line, also a removed one. Throws ``LineError/unknown(_:)``.
    package func line(_ id: LineID) async throws -> Line {
        guard let line = try await lines(where: "l.id = $1", [.text(id.value)]).first else {
            throw LineError.unknown(id)
        }
        return line
    }

    /// All lines in order of their ids, of one workspace or of all.
    package func allLines(workspace: WorkspaceID? = nil, withRemoved: Bool = false) async throws -> [Line] {
        try await lines(
            where: "($1::text is null or l.workspace = $1) and ($2 or l.removed_at is null)",
            [workspace.map { .text($0.value) } ?? .null, .bool(withRemoved)]
        )
    }

    private func lines(where condition: String, _ parameters: [PostgresParameter]) async throws -> [Line] {
        let rows = try await query(
            """
            select l.id, l.workspace, l.base_url, l.token_reference, l.token_key_version, l.token_hint, l.pace_interval_ms,
                l.concurrency, l.recipient_gap_ms, l.hold_reason, l.held_at, l.hold_until, coalesce(s.gate, 'unknown'),
                s.gate_reason, coalesce(s.gate_since, l.created_at), l.created_at, l.removed_at, l.lane, u.states, u.counts, now(),
                l.daily_cap, l.time_zone,
                case when s.sent_on = (now() at time zone l.time_zone)::date then s.sent_today else 0 end,
                case when s.gate in ('held_transient', 'held_human', 'probing') then s.next_probe_at end
            from trunkline.lines l
            left join trunkline.lane_state s on s.lane = l.lane
            left join lateral (
                select array_agg(c.state order by c.state) as states, array_agg(c.jobs order by c.state) as counts
                from (
                    select j.state, count(*) as jobs from trunkline.jobs j
                    where j.lane = l.lane and j.parked_at is null group by j.state
                    union all
                    select 'parked', count(*) from trunkline.jobs j
                    where j.lane = l.lane and j.parked_at is not null having count(*) > 0
                ) c
            ) u on true
            where \(condition)
            order by l.id
            """,
            parameters
        )
        return try (0..<rows.count).map { try Line(rows, $0) }
    }

    /// A line's token in the clear: for the call that needs it, never for showing.
    ///
    /// - Parameter ownFiles: paths of the program's own secrets, which no reference may name.
    /// - Returns: the only address that it may be sent to, and the token.
    package func access(
        to id: LineID,
        masterKey: MasterKey?,
        ownFiles: Set<String>
    ) async throws -> (base: EZWhatsApp.BaseURL, token: EZWhatsApp.Token) {
        let (address, stored) = try await storedToken(of: id)
        let base = try EZWhatsApp.BaseURL(address)
        return (base, try stored.open(line: id, base: base, masterKey: masterKey, ownFiles: ownFiles))
    }

    func storedToken(of id: LineID) async throws -> (address: String, StoredToken) {
        let rows = try await query(
            "select base_url, token_sealed, token_reference, token_key_version from trunkline.lines where id = $1",
            [.text(id.value)]
        )
        guard rows.count == 1 else { throw LineError.unknown(id) }
        return (
            rows.text(0, 0) ?? "",
            StoredToken(
                sealed: rows.bytes(0, 1) ?? [],
                reference: rows.text(0, 2),
                keyVersion: rows.int4(0, 3) ?? 0
            )
        )
    }

    /// Throws ``LineTokenError`` when there are stored tokens and the key opens none of the latest ones: a worker with a
    /// wrong key would take shards and hold their lines.
    package func requireMasterKey(_ key: MasterKey?) async throws {
        let rows = try await query(
            """
            select id, base_url, token_sealed, token_reference, token_key_version from trunkline.lines
            where removed_at is null order by revision desc limit 20
            """,
            []
        )
        guard rows.count > 0 else { return }
        guard let key else { throw LineTokenError.needsMasterKey }
        for row in 0..<rows.count {
            guard let line = try? LineID(rows.text(row, 0) ?? ""),
                let base = try? EZWhatsApp.BaseURL(rows.text(row, 1) ?? "")
            else { continue }
            let stored = StoredToken(
                sealed: rows.bytes(row, 2) ?? [],
                reference: rows.text(row, 3),
                keyVersion: rows.int4(row, 4) ?? 0
            )
            if stored.isBound(to: line, base, key) { return }
        }
        throw LineTokenError.opensNothing
    }
}

extension Line {
    fileprivate init(_ rows: PostgresRows, _ row: Int) throws {
        func text(_ column: Int) -> String { rows.text(row, column) ?? "" }
        func time(_ column: Int) -> Timestamp? { rows.timestamp(row, column).map(Timestamp.init(microseconds:)) }
        let epoch = Timestamp(microseconds: 0)
        id = try LineID(text(0))
        workspace = try WorkspaceID(text(1))
        baseURL = text(2)
        if let reference = rows.text(row, 3) {
            tokenPlace = .reference(reference)
        } else {
            tokenPlace = .sealed(keyVersion: rows.int4(row, 4) ?? 0)
        }
        tokenHint = text(5)
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
        lane = rows.int4(row, 17) ?? 0
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
    }
}
