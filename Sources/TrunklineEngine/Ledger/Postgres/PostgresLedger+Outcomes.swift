internal import PostgresDriver
internal import TrunklineCore

/// Effects that begin, outcomes, pauses and gates.
extension PostgresLedger: OutcomeLedger {
    package func beginEffect(
        _ attempts: [JobAttempt],
        by boot: BootID,
        lease: Duration,
        _ done: @escaping LedgerReply<[JobAttempt]>
    ) {
        run(
            Statements.beginEffect,
            [
                .uuid(boot.bytes), .int8Array(attempts.map(\.job)), .int4Array(attempts.map(\.attempt)),
                .int4(lease.int4Milliseconds),
            ],
            done
        ) { rows in
            rows.each { row in
                guard let job = rows.int8(row, 0), let attempt = rows.int4(row, 1) else { return nil }
                return JobAttempt(job: job, attempt: attempt)
            }
        }
    }

    package func settle(_ outcomes: [Settlement], by boot: BootID, _ done: @escaping LedgerReply<[SettleAnswer]>) {
        run(Statements.settle, Statements.parameters(of: outcomes, by: boot), done, SettleAnswer.all)
    }

    package func pause(_ lane: Int32, for span: Duration, _ done: @escaping LedgerReply<Void>) {
        run(Statements.pause, [.int4(lane), .int4(span.int4Milliseconds)], done)
    }

    package func keepGates(_ gates: [GateRow], _ done: @escaping LedgerReply<Void>) {
        run(
            Statements.gate,
            [
                .int4Array(gates.map(\.lane)), .textArray(gates.map(\.gate.rawValue)), .textArray(gates.map(\.reason)),
                .int4Array(gates.map(\.probes)), .int4Array(gates.map { $0.nextProbeIn?.int4Milliseconds }),
                .int4Array(gates.map { $0.rampingFor?.int4Milliseconds }),
            ],
            done
        )
    }

    package func holdTold(_ lanes: [Int32], _ done: @escaping LedgerReply<Void>) {
        run(Statements.holdTold, [.int4Array(lanes)], done)
    }
}

extension Statements {
    static let beginEffect = PostgresStatement(
        name: "begin_effect",
        sql: "select job, attempt from trunkline.begin_effect($1, $2, $3, $4)",
        parameterTypes: [.uuid, .int8Array, .int4Array, .int4]
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
    static let holdTold = PostgresStatement(
        name: "hold_told",
        sql: "update trunkline.lane_state set hold_told = true where lane = any ($1)",
        parameterTypes: [.int4Array]
    )

    /// The parameters of ``settle``.
    static func parameters(of outcomes: [Settlement], by boot: BootID) -> [PostgresParameter] {
        [
            .uuid(boot.bytes), .int8Array(outcomes.map(\.job)), .int4Array(outcomes.map(\.attempt)),
            .textArray(outcomes.map(\.outcome.rawValue)), .textArray(outcomes.map(\.reason)),
            .int4Array(outcomes.map(\.dueIn.int4Milliseconds)), .boolArray(outcomes.map(\.mayHaveLeft)),
            .textArray(outcomes.map(\.remoteID)), .int4Array(outcomes.map(\.status)),
            .textArray(outcomes.map(\.evidence)),
        ]
    }
}

extension SettleAnswer {
    /// The columns of ``Statements/settle``.
    static func all(_ rows: PostgresRows) -> [SettleAnswer] {
        rows.each { row in
            guard let job = rows.int8(row, 0), let word = rows.text(row, 1), let attempt = rows.int4(row, 2) else {
                return nil
            }
            return SettleAnswer(job: job, attempt: attempt, verdict: SettleVerdict(word: word))
        }
    }
}
