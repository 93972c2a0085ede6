package import PostgresDriver
internal import TrunklineCore

extension FleetStatus {
    /// Reads it in one snapshot.
    package static func read(_ session: PostgresSession) async throws -> FleetStatus {
        try await session.transaction { session in
            try await session.query("set transaction isolation level repeatable read, read only")
            let shards = try await Install.shards(session)
            let facts = try await session.query(
                """
                select now(),
                    (select count(*) from trunkline.shards s
                     where not exists (select from trunkline.workers w
                                       where w.boot = s.owner and w.renewed_at > now() - interval '7 seconds')),
                    (select count(*) from trunkline.refusals r where r.last_at > now() - interval '1 day')
                """
            )
            return FleetStatus(
                readAt: Timestamp(microseconds: facts.timestamp(0, 0) ?? 0),
                lanes: try await lanes(session, shards),
                workers: try await workers(session),
                shards: shards,
                shardsWithoutOwner: Int(facts.int8(0, 1) ?? 0),
                refusalsToday: facts.int8(0, 2) ?? 0,
                breakers: try await breakers(session)
            )
        }
    }

    /// $1: the number of shards; $2: how long a ramp lasts, in seconds.
    private static let laneQuestion = """
        with counted as (
            select j.lane, array_agg(j.state) as states, array_agg(j.jobs) as counts, sum(j.scheduled)::bigint as scheduled,
                   sum(j.retrying)::bigint as retrying, min(j.oldest) as oldest
            from (
                select lane, state, count(*) as jobs,
                       count(*) filter (where not_before > now() and due_at > now() and state in ('accepted', 'waiting')) as scheduled,
                       count(*) filter (where attempt > 0 and due_at > now() and state = 'waiting') as retrying,
                       min(accepted_at) filter (where due_at <= now() and state in ('accepted', 'waiting')) as oldest
                from trunkline.jobs group by lane, state
            ) j group by j.lane
        )
        select n.name, n.workspace,
            case when n.hold_reason is not null and (n.hold_until is null or n.hold_until > now()) then n.hold_reason end,
            n.held_at, n.hold_until, coalesce(s.gate, 'unknown'), s.gate_reason, s.gate_since,
            n.pace_interval_ms, n.concurrency, n.recipient_gap_ms,
            case when s.paused_until > now() and s.paused_until < 'infinity' then s.paused_until end,
            (n.shard_hash % $1)::int,
            exists (select from trunkline.shards h join trunkline.workers w on w.boot = h.owner
                    where h.shard = (n.shard_hash % $1)::int and w.renewed_at > now() - interval '7 seconds'),
            c.states, c.counts, coalesce(c.scheduled, 0), coalesce(t.jobs, 0),
            (extract(epoch from now() - c.oldest) * 1000)::bigint,
            coalesce(c.retrying, 0), s.next_probe_at,
            case when s.gate = 'ramping' and s.ramp_started_at > now() - make_interval(secs => $2) then s.ramp_started_at end,
            (select b.origin from trunkline.breakers b
             where b.origin = substring(n.address from '^https?://[^/]*') and b.opened_at is not null),
            n.daily_cap, n.time_zone,
            case when s.sent_on = (now() at time zone n.time_zone)::date then s.sent_today else 0 end,
            (extract(epoch from now() - s.gate_since) * 1000)::bigint
        from trunkline.lanes n
        left join trunkline.lane_state s on s.lane = n.number
        left join counted c on c.lane = n.number
        left join trunkline.sent_today t on t.lane = n.number and t.day = (now() at time zone 'UTC')::date
        where n.removed_at is null or c.lane is not null
        order by n.name
        """

    private static func lanes(_ session: PostgresSession, _ shards: Int) async throws -> [Lane] {
        let rows = try await session.query(
            laneQuestion,
            [.int8(Int64(shards)), .float8(Gate.rampLength / .seconds(1))]
        )
        return (0..<rows.count).map { lane(rows, $0) }.sorted { $0.label < $1.label }
    }

    /// A row of ``laneQuestion``.
    private static func lane(_ rows: PostgresRows, _ row: Int) -> Lane {
        let states = rows.textArray(row, 14) ?? []
        let counts = rows.int8Array(row, 15) ?? []
        var backlog: [String: Int64] = [:]
        for (state, count) in zip(states, counts) {
            if let state, let count { backlog[state, default: 0] += count }
        }
        let holdReason = rows.text(row, 2)
        let gate = rows.text(row, 5) ?? "unknown"
        let isClosed = Lane.isClosed(gate)
        return Lane(
            label: LaneLabel(stored: rows.text(row, 0) ?? ""),
            workspace: rows.text(row, 1) ?? "",
            holdReason: holdReason,
            heldSince: holdReason == nil ? nil : rows.timestamp(row, 3).map(Timestamp.init(microseconds:)),
            heldUntil: holdReason == nil ? nil : rows.timestamp(row, 4).map(Timestamp.init(microseconds:)),
            gate: gate,
            gateReason: rows.text(row, 6),
            gateSince: rows.timestamp(row, 7).map(Timestamp.init(microseconds:)),
            heldFor: isClosed ? rows.int8(row, 26).map { .milliseconds(max(0, $0)) } : nil,
            nextProbeAt: isClosed ? rows.timestamp(row, 20).map(Timestamp.init(microseconds:)) : nil,
            rampBegan: rows.timestamp(row, 21).map(Timestamp.init(microseconds:)),
            brokenOrigin: rows.text(row, 22),
            pace: Pace(
                interval: .milliseconds(rows.int4(row, 8) ?? 0),
                concurrency: Int(rows.int4(row, 9) ?? 1),
                recipientGap: .milliseconds(rows.int4(row, 10) ?? 0)
            ),
            dailyCap: DailyCap(stored: rows.int4(row, 23)),
            timeZone: rows.text(row, 24) ?? "UTC",
            capUsed: Int(rows.int4(row, 25) ?? 0),
            pausedUntil: rows.timestamp(row, 11).map(Timestamp.init(microseconds:)),
            shard: Int(rows.int4(row, 12) ?? 0),
            isOwned: rows.bool(row, 13) ?? false,
            backlog: backlog,
            scheduled: rows.int8(row, 16) ?? 0,
            retrying: rows.int8(row, 19) ?? 0,
            sentToday: rows.int8(row, 17) ?? 0,
            oldestWaiting: rows.int8(row, 18).map { .milliseconds(max(0, $0)) }
        )
    }

    private static func breakers(_ session: PostgresSession) async throws -> [OpenBreaker] {
        let rows = try await session.query(
            """
            select origin, opened_at, reason, next_probe_at, prober is not null from trunkline.breakers
            where opened_at is not null order by origin
            """
        )
        return (0..<rows.count).map { row in
            OpenBreaker(
                origin: rows.text(row, 0) ?? "",
                since: Timestamp(microseconds: rows.timestamp(row, 1) ?? 0),
                reason: rows.text(row, 2) ?? "",
                nextProbeAt: rows.timestamp(row, 3).map(Timestamp.init(microseconds:)),
                isBeingAsked: rows.bool(row, 4) ?? false
            )
        }
    }

    private static func workers(_ session: PostgresSession) async throws -> [Worker] {
        let rows = try await session.query(
            """
            select w.boot::text, w.host, w.pid, w.version, w.started_at, (extract(epoch from now() - w.renewed_at) * 1000)::bigint,
                   (select count(*) from trunkline.shards s where s.owner = w.boot), w.broker_connected, w.stopping
            from trunkline.workers w order by w.started_at, w.boot
            """
        )
        return (0..<rows.count).map { row in
            Worker(
                boot: rows.text(row, 0) ?? "",
                host: rows.text(row, 1) ?? "",
                pid: rows.int4(row, 2) ?? 0,
                version: rows.text(row, 3) ?? "",
                startedAt: Timestamp(microseconds: rows.timestamp(row, 4) ?? 0),
                heartbeatAge: .milliseconds(max(0, rows.int8(row, 5) ?? 0)),
                shards: rows.int8(row, 6) ?? 0,
                isBrokerConnected: rows.bool(row, 7) ?? false,
                isStopping: rows.bool(row, 8) ?? false
            )
        }
    }
}

extension Operator {
    /// What the install is doing. Counts every unfinished job, so once a second is often enough.
    package func fleetStatus() async throws -> FleetStatus { try await FleetStatus.read(session()) }
}
