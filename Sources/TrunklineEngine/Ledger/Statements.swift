internal import PostgresDriver

/// The statements of a worker, beside `TakeBatch.statement`. The rules are in `migrations/`; these only call them.
enum Statements {
    /// Settings of every session that runs hot statements. Their plans are cached: one that was made while `jobs` was nearly
    /// empty would go on reading the whole table when it is full, until somebody analyses it.
    static let hotSettings = [("enable_seqscan", "off"), ("jit", "off")]

    /// Columns that `trunkline.seen_job` yields, in order; decoded by `SeenJob`.
    private static let seen = """
        job, lane, person, class, state, place, due_in_ms, attempt, tries, stamped, claimed_by, lease_left_ms, suspect,
        claimed_ago_ms
        """

    static let adopt = PostgresStatement(
        name: "adopt",
        sql: "select \(seen) from trunkline.adopt($1, $2, $3, $4, $5, $6, $7)",
        parameterTypes: [.uuid, .int4, .int4Array, .int8Array, .int4, .int4, .int8]
    )
    static let placeDue = PostgresStatement(
        name: "place_due",
        sql: "select \(seen) from trunkline.place_due($1, $2, $3, $4, $5)",
        parameterTypes: [.uuid, .int4, .int4Array, .int8Array, .int8Array]
    )
    static let load = PostgresStatement(
        name: "load",
        sql: "select \(seen) from trunkline.load($1, $2, $3, $4, $5)",
        parameterTypes: [.int4Array, .int8, .int8, .int8, .int4]
    )
    static let lastSends = PostgresStatement(
        name: "last_sends",
        sql: "select lane, person, ago_ms from trunkline.last_sends($1, $2)",
        parameterTypes: [.int4, .int4Array]
    )
    /// What former owners left of lanes: pace, pause and gate. Decoded by `KeptLane`.
    static let laneStates = PostgresStatement(
        name: "lane_states",
        sql: """
            select s.lane,
                   greatest(0, least(86400000, extract(epoch from greatest(s.next_send_at, now()) - now()) * 1000))::int8,
                   greatest(0, least(86400000, extract(epoch from greatest(s.paused_until, now()) - now()) * 1000))::int8,
                   s.gate, s.gate_reason, s.probes,
                   greatest(0, least(86400000, extract(epoch from s.next_probe_at - now()) * 1000))::int8,
                   greatest(0, least(86400000, extract(epoch from now() - s.ramp_started_at) * 1000))::int8,
                   greatest(0, least(8640000000, extract(epoch from now() - s.gate_since) * 1000))::int8, s.hold_told
            from trunkline.lane_state s join trunkline.lanes n on n.number = s.lane
            where trunkline.shard_of(n.shard_hash, $1) = any ($2)
              and (greatest(s.next_send_at, s.paused_until) > now() or s.gate not in ('unknown', 'open'))
            """,
        parameterTypes: [.int4, .int4Array]
    )
    static let claim = PostgresStatement(
        name: "claim",
        sql: """
            select job, verdict, attempt, tries, key, request, send_before, wait_ms
            from trunkline.claim($1, $2, $3, $4, $5, $6, $7, $8)
            """,
        parameterTypes: [.uuid, .int4, .int4Array, .int8Array, .int4, .int8Array, .int4Array, .int4Array]
    )
    static let expire = PostgresStatement(
        name: "expire",
        sql: "select job, lane, person from trunkline.expire($1, $2, $3, $4, $5)",
        parameterTypes: [.uuid, .int4, .int4Array, .int8Array, .int4]
    )
    static let abandon = PostgresStatement(
        name: "abandon",
        sql: "select \(seen) from trunkline.abandon($1, $2, $3, $4, $5, $6)",
        parameterTypes: [.uuid, .int4, .int4Array, .int8Array, .int8Array, .int4Array]
    )
    /// How attempts of other workers stand.
    static let watch = PostgresStatement(
        name: "watch",
        sql: "select \(seen) from (select (trunkline.seen(j)).* from trunkline.jobs j where j.id = any ($1)) s",
        parameterTypes: [.int8Array]
    )
    static let takeEvents = PostgresStatement(
        name: "take_events",
        sql: "select item, verdict from trunkline.take_events($1, $2, $3, $4, $5, $6)",
        parameterTypes: [.textArray, .textArray, .textArray, .byteaArray, .byteaArray, .timestamptzArray]
    )
    static let refuse = PostgresStatement(
        name: "refuse",
        sql: "select trunkline.refuse($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        parameterTypes: [
            .textArray, .textArray, .textArray, .textArray, .textArray, .textArray, .byteaArray, .byteaArray,
            .int8Array,
        ]
    )
    static let suspect = PostgresStatement(
        name: "suspect",
        sql: "select trunkline.suspect($1, $2, $3, $4, $5)",
        parameterTypes: [.uuid, .bytea, .text, .bytea, .int8]
    )
    /// It was read to its end.
    static let unsuspect = PostgresStatement(
        name: "unsuspect",
        sql: "delete from trunkline.suspects where digest = $1",
        parameterTypes: [.bytea]
    )
    static let settle = PostgresStatement(
        name: "settle",
        sql: "select job, verdict, attempt from trunkline.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        parameterTypes: [
            .uuid, .int8Array, .int4Array, .textArray, .textArray, .int4Array, .boolArray, .textArray, .int4Array,
            .textArray,
        ]
    )
    static let pause = PostgresStatement(
        name: "pause",
        sql: """
            update trunkline.lane_state set paused_until = greatest(paused_until, now() + make_interval(secs => $2 / 1000.0))
            where lane = $1
            """,
        parameterTypes: [.int4, .int4]
    )
    /// A hold is as old as its beginning, whatever is asked in between.
    static let gate = PostgresStatement(
        name: "gate",
        sql: """
            update trunkline.lane_state s
            set gate = g.gate, gate_reason = g.reason, probes = g.probes,
                next_probe_at = now() + make_interval(secs => g.next_probe_ms / 1000.0),
                ramp_started_at = now() - make_interval(secs => g.ramp_ms / 1000.0),
                hold_told = s.hold_told and g.gate in ('held_transient', 'held_human', 'probing'),
                gate_since = case
                    when s.gate = g.gate
                      or s.gate in ('held_transient', 'held_human', 'probing') and g.gate in ('held_transient', 'held_human', 'probing')
                    then s.gate_since else now() end
            from (select * from unnest($1, $2, $3, $4, $5, $6) as u (lane, gate, reason, probes, next_probe_ms, ramp_ms) order by lane) g
            where s.lane = g.lane
            """,
        parameterTypes: [.int4Array, .textArray, .textArray, .int4Array, .int4Array, .int4Array]
    )

    /// That a hold has been long was said; its end makes it news again.
    static let holdTold = PostgresStatement(
        name: "hold_told",
        sql: "update trunkline.lane_state set hold_told = true where lane = any ($1)",
        parameterTypes: [.int4Array]
    )

    /// Jobs that should have begun in lanes of which their owner knows no work.
    static let forgotten = PostgresStatement(
        name: "forgotten",
        sql: """
            select distinct trunkline.shard_of(n.shard_hash, $1) from trunkline.jobs j join trunkline.lanes n on n.number = j.lane
            where j.lane = any (array(
                    select l.number from trunkline.lanes l
                    where trunkline.shard_of(l.shard_hash, $1) = any ($2)
                      -- Hashed. `<> all ($3)` would compare every lane with every busy one.
                      and not exists (select from unnest($3) as busy (lane) where busy.lane = l.number)))
              and j.place <> 0 and j.parked_at is null and j.due_at < now() - interval '5 seconds'
            """,
        parameterTypes: [.int4, .int4Array, .int4Array]
    )

    // The control connection.
    static let beat = PostgresStatement(
        name: "beat",
        sql: """
            insert into trunkline.workers as w (boot, host, pid, version, backend_pids, backend_starts, broker_connected, stopping,
                origins, lines_active, lines_failing, reach)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            on conflict (boot) do update set beat = w.beat + 1, renewed_at = now(), backend_pids = excluded.backend_pids,
                backend_starts = excluded.backend_starts, broker_connected = excluded.broker_connected, stopping = excluded.stopping,
                origins = excluded.origins, lines_active = excluded.lines_active, lines_failing = excluded.lines_failing,
                reach = excluded.reach
            """,
        parameterTypes: [
            .uuid, .text, .int4, .text, .int4Array, .timestamptzArray, .bool, .bool, .textArray, .int4Array, .int4Array,
            .textArray,
        ]
    )
    static let fleet = PostgresStatement(
        name: "fleet",
        sql: """
            select boot, beat, stopping, broker_connected, origins, lines_active, lines_failing, reach
            from trunkline.workers
            """
    )
    /// Whether a session of ours does nothing but wait for its client; no row when there is no such session.
    static let waitsForUs = PostgresStatement(
        name: "waits_for_us",
        sql: """
            select state is distinct from 'active' or coalesce(wait_event_type = 'Client', false)
            from pg_stat_activity where pid = $1 and backend_start = $2
            """,
        parameterTypes: [.int4, .timestamptz]
    )
    static let breakers = PostgresStatement(
        name: "breakers",
        sql: "select origin, next_probe_at <= now() from trunkline.breakers where opened_at is not null"
    )
    /// One row tells that this call opened it: the one alarm.
    static let openBreaker = PostgresStatement(
        name: "open_breaker",
        sql: """
            insert into trunkline.breakers as b (origin, opened_at, reason, opened_by, next_probe_at)
            values ($2, now(), $3, $1, now() + make_interval(secs => $4 / 1000.0))
            on conflict (origin) do update set opened_at = now(), reason = excluded.reason, opened_by = excluded.opened_by,
                prober = null, probes = 0, next_probe_at = excluded.next_probe_at, closed_at = null
            -- Heartbeats that are older than its end still tell of the failures before.
            where b.opened_at is null and b.closed_at < now() - interval '5 seconds'
            returning b.origin
            """,
        parameterTypes: [.uuid, .text, .text, .int4]
    )
    /// One row: the caller is the one that asks, until the time-out of a call is over.
    static let probeBreaker = PostgresStatement(
        name: "probe_breaker",
        sql: """
            update trunkline.breakers set prober = $1, probes = probes + 1, next_probe_at = now() + interval '20 seconds'
            where origin = $2 and opened_at is not null and next_probe_at <= now()
            returning probes
            """,
        parameterTypes: [.uuid, .text]
    )
    /// The probe was answered: closed. Or not: asked again later.
    static let endProbe = PostgresStatement(
        name: "end_probe",
        sql: """
            update trunkline.breakers
            set prober = null, next_probe_at = now() + make_interval(secs => $4 / 1000.0),
                opened_at = case when $3 then null else opened_at end, closed_at = case when $3 then now() else closed_at end
            where origin = $2 and prober = $1
            """,
        parameterTypes: [.uuid, .text, .bool, .int4]
    )
    static let shards = PostgresStatement(
        name: "shards",
        sql: "select shard, owner, fence from trunkline.shards order by shard"
    )
    static let acquire = PostgresStatement(
        name: "acquire",
        sql: """
            with wanted as (
                select s.shard from trunkline.shards s join unnest($2, $3) as w (shard, fence) on w.shard = s.shard and w.fence = s.fence
                order by s.shard for update of s
            )
            update trunkline.shards s set owner = $1, fence = s.fence + 1, changed_at = now()
            from wanted w where w.shard = s.shard
            returning s.shard, s.fence
            """,
        parameterTypes: [.uuid, .int4Array, .int8Array]
    )
    static let release = PostgresStatement(
        name: "release",
        sql: """
            with mine as (
                select shard from trunkline.shards where owner = $1 and shard = any ($2) order by shard for update
            )
            update trunkline.shards s set owner = null, fence = s.fence + 1, changed_at = now()
            from mine m where m.shard = s.shard
            """,
        parameterTypes: [.uuid, .int4Array]
    )
    /// Ends the backends of silent workers, each only if pid, start and application name are still the same ones.
    static let terminate = PostgresStatement(
        name: "terminate",
        sql: """
            select count(pg_terminate_backend(a.pid))
            from trunkline.workers w cross join unnest(w.backend_pids, w.backend_starts) as b (pid, start)
            join pg_stat_activity a on a.pid = b.pid and a.backend_start = b.start and a.application_name = w.boot::text
            where w.boot = any ($1)
            """,
        parameterTypes: [.uuidArray]
    )
    static let forget = PostgresStatement(
        name: "forget",
        sql: """
            delete from trunkline.workers w where boot = any ($1)
            and not exists (select from trunkline.shards s where s.owner = w.boot)
            """,
        parameterTypes: [.uuidArray]
    )
    static let lines = PostgresStatement(
        name: "lines",
        sql: """
            select l.id, l.lane, n.shard_hash, l.base_url, l.token_sealed, l.token_reference, l.pace_interval_ms, l.concurrency,
                   l.recipient_gap_ms, l.hold_reason is not null,
                   (extract(epoch from l.hold_until - now()) * 1000)::int8, l.removed_at is not null, l.revision,
                   l.token_key_version, l.daily_cap
            from trunkline.lines l join trunkline.lanes n on n.number = l.lane
            where l.revision > $1 or l.id = any ($2) order by l.revision
            """,
        parameterTypes: [.int8, .textArray]
    )
    static let shardCount = PostgresStatement(
        name: "shard_count",
        sql: "select value from trunkline.settings where name = 'shards'"
    )
}

/// A row as its owner sees it (`trunkline.seen_job`).
struct SeenJob {
    let id: Int64
    let lane: Int32
    let person: Int64
    let jobClass: Int32
    let state: String
    let place: Int64
    let dueIn: Duration
    let attempt: Int32
    let tries: Int32
    let isStamped: Bool
    let claimedBy: [UInt8]?
    let leaseLeft: Duration?
    let isSuspect: Bool
    /// Since its last attempt began; nil: it had none.
    let claimedAgo: Duration?

    init?(_ rows: PostgresRows, _ row: Int) {
        guard let id = rows.int8(row, 0), let lane = rows.int4(row, 1), let person = rows.int8(row, 2),
            let jobClass = rows.int4(row, 3), let state = rows.text(row, 4), let place = rows.int8(row, 5),
            let attempt = rows.int4(row, 7), let tries = rows.int4(row, 8), let isStamped = rows.bool(row, 9)
        else { return nil }
        self.id = id
        self.lane = lane
        self.person = person
        self.jobClass = jobClass
        self.state = state
        self.place = place
        dueIn = .milliseconds(rows.int8(row, 6) ?? 0)
        self.attempt = attempt
        self.tries = tries
        self.isStamped = isStamped
        claimedBy = rows.uuid(row, 10)
        leaseLeft = rows.int8(row, 11).map { .milliseconds($0) }
        isSuspect = rows.bool(row, 12) ?? false
        claimedAgo = rows.int8(row, 13).map { .milliseconds($0) }
    }

    /// Every row of a result; nil where the result does not have the expected shape.
    static func all(_ rows: PostgresRows) -> [SeenJob] {
        (0..<rows.count).compactMap { SeenJob(rows, $0) }
    }
}
