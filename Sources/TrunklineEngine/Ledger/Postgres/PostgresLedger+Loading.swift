internal import PostgresDriver
internal import TrunklineCore

/// What an owner must know before it begins anything: load, watch, lanes, last sends, forgotten shards.
extension PostgresLedger: JobLedger {
    package func load(
        _ lanes: [Int32],
        after key: RowKey,
        limit: Int32,
        _ done: @escaping LedgerReply<[SeenJob]>
    ) {
        run(
            Statements.load,
            [.int4Array(lanes), .int8(key.person), .int8(key.place), .int8(key.job), .int4(limit)],
            done,
            SeenJob.all
        )
    }

    package func watch(_ jobs: [Int64], _ done: @escaping LedgerReply<[SeenJob]>) {
        run(Statements.watch, [.int8Array(jobs)], done, SeenJob.all)
    }

    package func lanes(ofShards shards: [Int32], of count: Int32, _ done: @escaping LedgerReply<[LaneRow]>) {
        run(Statements.laneStates, [.int4(count), .int4Array(shards)], done) { rows in
            rows.each { row in
                guard let lane = rows.int4(row, 0), let next = rows.milliseconds(row, 1),
                    let pause = rows.milliseconds(row, 2), let gate = rows.text(row, 3)
                else { return nil }
                return LaneRow(
                    lane: lane,
                    nextSendIn: next,
                    pausedFor: pause,
                    gate: GateWord(word: gate),
                    gateReason: rows.text(row, 4),
                    probes: rows.int4(row, 5) ?? 0,
                    nextProbeIn: rows.milliseconds(row, 6),
                    rampingFor: rows.milliseconds(row, 7),
                    gateFor: rows.milliseconds(row, 8) ?? .zero,
                    isHoldTold: rows.bool(row, 9) ?? false
                )
            }
        }
    }

    package func lastSends(ofShards shards: [Int32], of count: Int32, _ done: @escaping LedgerReply<[LastSend]>) {
        run(Statements.lastSends, [.int4(count), .int4Array(shards)], done) { rows in
            rows.each { row in
                guard let lane = rows.int4(row, 0), let person = rows.int8(row, 1), let ago = rows.milliseconds(row, 2)
                else { return nil }
                return LastSend(lane: lane, person: person, ago: ago)
            }
        }
    }

    package func forgotten(
        ofShards shards: [Int32],
        of count: Int32,
        busy: [Int32],
        _ done: @escaping LedgerReply<[Int32]>
    ) {
        run(Statements.forgotten, [.int4(count), .int4Array(shards), .int4Array(busy)], done) { rows in
            rows.each { rows.int4($0, 0) }
        }
    }
}

extension Statements {
    static let load = PostgresStatement(
        name: "load",
        sql: "select \(seen) from trunkline.load($1, $2, $3, $4, $5)",
        parameterTypes: [.int4Array, .int8, .int8, .int8, .int4]
    )
    static let watch = PostgresStatement(
        name: "watch",
        sql: "select \(seen) from (select (trunkline.seen(j)).* from trunkline.jobs j where j.id = any ($1)) s",
        parameterTypes: [.int8Array]
    )
    static let laneStates = PostgresStatement(
        name: "lane_states",
        sql: """
            select s.lane,
                   greatest(0, least(86400000, extract(epoch from greatest(s.next_send_at, now()) - now()) * 1000))::int8,
                   greatest(0, least(86400000, extract(epoch from greatest(s.paused_until, now()) - now()) * 1000))::int8,
                   s.gate, s.gate_reason, s.probes,
                   -- least and greatest pass over null.
                   case when s.next_probe_at is not null
                       then greatest(0, least(86400000, extract(epoch from s.next_probe_at - now()) * 1000)) end::int8,
                   case when s.ramp_started_at is not null
                       then greatest(0, least(86400000, extract(epoch from now() - s.ramp_started_at) * 1000)) end::int8,
                   greatest(0, least(8640000000, extract(epoch from now() - s.gate_since) * 1000))::int8, s.hold_told
            from trunkline.lane_state s join trunkline.lanes n on n.number = s.lane
            where trunkline.shard_of(n.shard_hash, $1) = any ($2)
              and (greatest(s.next_send_at, s.paused_until) > now() or s.gate not in ('unknown', 'open'))
            """,
        parameterTypes: [.int4, .int4Array]
    )
    static let lastSends = PostgresStatement(
        name: "last_sends",
        sql: "select lane, person, ago_ms from trunkline.last_sends($1, $2)",
        parameterTypes: [.int4, .int4Array]
    )
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
}
