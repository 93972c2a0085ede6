package import PostgresDriver
internal import TrunklineCore

/// Heartbeats, fences, breakers and lanes as configured.
extension PostgresLedger: FleetLedger {
    package func beat(_ heartbeat: Heartbeat, _ done: @escaping LedgerReply<Void>) {
        let origins = heartbeat.origins
        run(
            Statements.beat,
            [
                .uuid(heartbeat.boot.bytes), .text(heartbeat.host), .int4(heartbeat.processID),
                .text(heartbeat.version), .int4Array(heartbeat.backends.map(\.pid)),
                .timestampArray(heartbeat.backends.map(\.start)), .bool(heartbeat.hasBroker),
                .bool(heartbeat.isStopping), .textArray(origins.map(\.origin)),
                .int4Array(origins.map { Int32(clamping: $0.counts.active) }),
                .int4Array(origins.map { Int32(clamping: $0.counts.failing) }),
                .textArray(origins.map { $0.reach?.rawValue }),
            ],
            done
        )
    }

    package func fleet(_ done: @escaping LedgerReply<[WorkerRow]>) {
        run(Statements.fleet, [], done) { rows in
            rows.each { row in
                guard let boot = rows.boot(row, 0), let beat = rows.int8(row, 1) else { return nil }
                return WorkerRow(
                    boot: boot,
                    beat: beat,
                    isStopping: rows.bool(row, 2) ?? false,
                    hasBroker: rows.bool(row, 3) ?? false,
                    origins: OriginReport.all(rows, row)
                )
            }
        }
    }

    package func waitsForUs(_ backend: PostgresBackend, _ done: @escaping LedgerReply<Bool?>) {
        run(Statements.waitsForUs, [.int4(backend.pid), .timestamp(microseconds: backend.start)], done) { rows in
            rows.count == 0 ? nil : rows.bool(0, 0) == true
        }
    }

    package func shards(_ done: @escaping LedgerReply<[ShardRow]>) {
        run(Statements.shards, [], done) { rows in
            rows.each { row in
                guard let shard = rows.int4(row, 0), let fence = rows.int8(row, 2) else { return nil }
                return ShardRow(shard: shard, owner: rows.boot(row, 1), fence: fence)
            }
        }
    }

    package func acquire(_ wanted: [ShardFence], by boot: BootID, _ done: @escaping LedgerReply<[ShardFence]>) {
        run(
            Statements.acquire,
            [.uuid(boot.bytes), .int4Array(wanted.map(\.shard)), .int8Array(wanted.map(\.fence))],
            done
        ) { rows in
            rows.each { row in
                guard let shard = rows.int4(row, 0), let fence = rows.int8(row, 1) else { return nil }
                return ShardFence(shard: shard, fence: fence)
            }
        }
    }

    package func release(_ shards: [Int32], by boot: BootID, _ done: @escaping LedgerReply<Void>) {
        run(Statements.release, [.uuid(boot.bytes), .int4Array(shards)], done)
    }

    package func terminate(_ boots: [BootID], _ done: @escaping LedgerReply<Void>) {
        run(Statements.terminate, [.uuidArray(boots.map(\.bytes))], done)
    }

    package func forget(_ boots: [BootID], _ done: @escaping LedgerReply<Void>) {
        run(Statements.forget, [.uuidArray(boots.map(\.bytes))], done)
    }

    package func breakers(_ done: @escaping LedgerReply<[BreakerRow]>) {
        run(Statements.breakers, [], done) { rows in
            rows.each { row in
                rows.text(row, 0).map { BreakerRow(origin: $0, isProbeDue: rows.bool(row, 1) ?? false) }
            }
        }
    }

    package func openBreaker(_ opening: BreakerOpening, by boot: BootID, _ done: @escaping LedgerReply<Bool>) {
        run(
            Statements.openBreaker,
            [
                .uuid(boot.bytes), .text(opening.origin), .text(opening.reason),
                .int4(opening.nextProbeIn.int4Milliseconds),
            ],
            done
        ) { $0.count == 1 }
    }

    package func probeBreaker(_ origin: String, by boot: BootID, _ done: @escaping LedgerReply<Int32?>) {
        run(Statements.probeBreaker, [.uuid(boot.bytes), .text(origin)], done) { rows in
            rows.count == 1 ? rows.int4(0, 0) : nil
        }
    }

    package func endProbe(_ end: ProbeEnd, by boot: BootID, _ done: @escaping LedgerReply<Void>) {
        run(
            Statements.endProbe,
            [.uuid(boot.bytes), .text(end.origin), .bool(end.isAnswered), .int4(end.nextProbeIn.int4Milliseconds)],
            done
        )
    }

    package func configuredLanes(
        after revision: Int64,
        and numbers: [Int32],
        _ done: @escaping LedgerReply<[ConfiguredLane]>
    ) {
        run(Statements.configuredLanes, [.int8(revision), .int4Array(numbers)], done) { rows in
            rows.each { ConfiguredLane(rows, $0) }
        }
    }

    package func shardCount(_ done: @escaping LedgerReply<Int32?>) {
        run(Statements.shardCount, [], done) { rows in
            rows.count == 1 ? rows.text(0, 0).flatMap { Int32($0) } : nil
        }
    }
}

extension OriginReport {
    /// Columns 4 to 7 of ``Statements/fleet``.
    fileprivate static func all(_ rows: PostgresRows, _ row: Int) -> [OriginReport] {
        guard let origins = rows.textArray(row, 4), let active = rows.int4Array(row, 5),
            let failing = rows.int4Array(row, 6), let words = rows.textArray(row, 7),
            [active.count, failing.count, words.count].allSatisfy({ $0 == origins.count })
        else { return [] }
        return origins.indices.compactMap { index in
            origins[index].map {
                OriginReport(
                    origin: $0,
                    counts: CallCounts(active: Int(active[index] ?? 0), failing: Int(failing[index] ?? 0)),
                    reach: words[index].flatMap { Reach.Word(rawValue: $0) }
                )
            }
        }
    }
}

extension ConfiguredLane {
    /// The columns of ``Statements/configuredLanes``.
    fileprivate init?(_ rows: PostgresRows, _ row: Int) {
        guard let number = rows.int4(row, 0), let name = rows.text(row, 1), let hash = rows.int8(row, 2),
            let carrier = rows.text(row, 3), let address = rows.text(row, 4), let mayBePrivate = rows.bool(row, 5),
            let horizon = rows.milliseconds(row, 9), let interval = rows.int4(row, 10),
            let concurrency = rows.int4(row, 11), let gap = rows.int4(row, 12), let isHeld = rows.bool(row, 14),
            let isRemoved = rows.bool(row, 16), let revision = rows.int8(row, 17)
        else { return nil }
        self.init(
            number: number,
            name: name,
            shardHash: hash,
            carrier: carrier,
            address: address,
            mayBePrivate: mayBePrivate,
            secret: StoredSecret(
                sealed: rows.bytes(row, 6) ?? [],
                reference: rows.text(row, 7),
                keyVersion: rows.int4(row, 8) ?? 0
            ),
            unknownHorizon: horizon,
            interval: .milliseconds(interval),
            concurrency: concurrency,
            recipientGap: .milliseconds(gap),
            dailyCap: rows.int4(row, 13),
            isHeld: isHeld,
            holdLeft: rows.milliseconds(row, 15),
            isRemoved: isRemoved,
            revision: revision
        )
    }
}

extension Statements {
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
            -- Heartbeats that are older than its end still tell of the failures before; and workers that still fail for a reason
            -- of their own are known as cut off only after doubt, question and a heartbeat, some 7 s.
            where b.opened_at is null and b.closed_at < now() - interval '10 seconds'
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
    static let configuredLanes = PostgresStatement(
        name: "configured_lanes",
        sql: """
            select number, name, shard_hash, carrier, address, private_network, secret_sealed, secret_reference, secret_key_version,
                   unknown_horizon_ms::int8, pace_interval_ms, concurrency, recipient_gap_ms, daily_cap, hold_reason is not null,
                   (extract(epoch from hold_until - now()) * 1000)::int8, removed_at is not null, revision
            from trunkline.lanes
            where revision > $1 or number = any ($2) order by revision
            """,
        parameterTypes: [.int8, .int4Array]
    )
    static let shardCount = PostgresStatement(
        name: "shard_count",
        sql: "select value from trunkline.settings where name = 'shards'"
    )
}
