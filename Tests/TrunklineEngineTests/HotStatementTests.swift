import PostgresDriver
import Testing
import TrunklineCore

@testable import TrunklineEngine

/// What the statements of the workers read and lock, counted by PostgreSQL itself.
@Suite struct HotStatementTests {
    private static let boot = [UInt8](repeating: 7, count: 16)

    /// What every statement of an owner begins with, for a worker that owns all shards.
    private static func owner(_ session: PostgresSession) async throws -> [PostgresParameter] {
        try await session.query("update trunkline.shards set owner = $1, fence = 1", [.uuid(boot)])
        let shards: [Int32?] = (0..<16).map { $0 }
        return [.uuid(boot), .int4(16), .int4Array(shards), .int8Array([Int64?](repeating: 1, count: 16))]
    }

    /// Rows of `jobs` that `body` reads, by whatever plan, and how often it reads the whole table.
    private static func reads(
        _ session: PostgresSession,
        _ body: (PostgresSession) async throws -> Void
    ) async throws -> (rows: Int64, wholeTable: Int64) {
        func counts(_ session: PostgresSession) async throws -> (rows: Int64, wholeTable: Int64) {
            let rows = try await session.query(
                "select seq_tup_read + coalesce(idx_tup_fetch, 0), seq_scan from pg_stat_xact_user_tables where relid = 'trunkline.jobs'::regclass"
            )
            return (rows.int8(0, 0) ?? 0, rows.int8(0, 1) ?? 0)
        }
        return try await session.transaction { session in
            let before = try await counts(session)
            try await body(session)
            let after = try await counts(session)
            return (after.rows - before.rows, after.wholeTable - before.wholeTable)
        }
    }

    private static func fill(_ session: PostgresSession, _ count: Int, columns: String, values: String) async throws {
        try await session.query(
            """
            insert into trunkline.jobs (id, lane, scope, key, key_digest, person, recipient, request, purpose, attempt, \(columns))
            select nextval('trunkline.job_number'), (select min(lane) from trunkline.lines), 1, 'fill:' || g,
                decode(lpad(to_hex(g), 32, '0'), 'hex'), g % 100, '+1', '', 'order', 1, \(values)
            from generate_series(1, \(count)) g
            """
        )
    }

    @Test(
        "twenty thousand parked jobs, stamped and too late: nothing that a worker asks all the time reads one of them"
    )
    func parkedJobsCostNothing() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let owner = try await Self.owner(session)
            let ids = try await database.accept([notice(1)]).compactMap(\.job)
            try await Self.fill(
                session,
                20_000,
                columns: "place, claimed_at, state, reason, parked_at, maybe_sent_since, send_before, due_at",
                values: """
                    g, now() - interval '1 day', 'parked', 'unknown_horizon', now(), now() - interval '1 day',
                    now() - interval '1 hour', now() - interval '1 hour'
                    """
            )
            // The waiting one is of a person that has parked jobs before it.
            try await session.query(
                "update trunkline.jobs set person = 5, lane = (select min(lane) from trunkline.lines) where id = $1",
                [.int8(ids[0].value)]
            )
            try await session.query("analyze trunkline.jobs")
            for setting in Statements.hotSettings { try await session.query("set \(setting.0) = \(setting.1)") }
            let shards = [owner[1], owner[2]]
            let statements: [(PostgresStatement, [PostgresParameter])] = [
                (Statements.expire, owner + [.int4(500)]),
                (Statements.adopt, owner + [.int4(0), .int4(500), .int8(0)]),
                (
                    Statements.load,
                    [.int4Array([1, 2, 3]), .int8(.min), .int8(.min), .int8(.min), .int4(1_000)]
                ),
                (Statements.forgotten, shards + [.int4Array([])]),
                (Statements.lastSends, shards),
                (
                    Statements.claim,
                    owner + [.int4(30_000), .int8Array(ids.map(\.value)), .int4Array([]), .int4Array([])]
                ),
            ]
            for (statement, parameters) in statements {
                let read = try await Self.reads(session) { try await $0.query(statement.sql, parameters) }
                #expect(read.rows < 20, "\(statement.name) read \(read.rows) rows of jobs")
            }
            #expect(
                try await session.query("select count(*) from trunkline.jobs where state = 'sending'").int8(0, 0) == 1
            )
        }
    }

    @Test(
        "plans that were made on an empty table use the indexes when it is full and nobody has analysed it",
        arguments: [true, false]
    )
    func plansDoNotAge(isGuarded: Bool) async throws {
        try await AdminDatabase.with { database in
            // Nobody but this test analyses.
            try await database.session.query("alter table trunkline.jobs set (autovacuum_enabled = off)")
            try await database.session.query("analyze trunkline.jobs")
            let owner = try await Self.owner(database.session)
            try await PostgresSession.withSession(
                url: database.url,
                applicationName: "tests",
                settings: isGuarded ? Statements.hotSettings : []
            ) { session in
                func work(_ session: PostgresSession, _ jobs: [Int64?]) async throws {
                    try await session.query(
                        Statements.claim.sql,
                        owner + [.int4(30_000), .int8Array(jobs), .int4Array([]), .int4Array([])]
                    )
                    let attempts = [Int32?](repeating: 1, count: jobs.count)
                    let none = [String?](repeating: nil, count: jobs.count)
                    try await session.query(
                        Statements.settle.sql,
                        [
                            .uuid(Self.boot), .int8Array(jobs), .int4Array(attempts),
                            .textArray(jobs.map { _ in "sent" }),
                            .textArray(none), .int4Array(jobs.map { _ in 0 }), .boolArray(jobs.map { _ in true }),
                            .textArray(none), .int4Array(jobs.map { _ in 200 }), .textArray(none),
                        ]
                    )
                    try await session.query(Statements.expire.sql, owner + [.int4(500)])
                }
                // Often enough for plans that are kept.
                for _ in 0..<10 { try await work(session, [-1]) }
                try await Self.fill(
                    database.session,
                    20_000,
                    columns: "place, state, claimed_at",
                    values: "g, 'waiting', now()"
                )
                let some = try await database.session.query("select id from trunkline.jobs order by id limit 3")
                let read = try await Self.reads(session) { session in
                    try await work(session, (0..<3).map { some.int8($0, 0) })
                }
                if isGuarded {
                    #expect(read.wholeTable == 0 && read.rows < 1_000, "\(read)")
                } else {
                    // The reason for it all.
                    #expect(read.wholeTable > 0)
                }
            }
        }
    }

    @Test("while somebody holds an old snapshot, a look for unseen rows does not walk those that were seen long ago")
    func oldSnapshots() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let owner = try await Self.owner(session)
            try await PostgresSession.withSession(url: database.url, applicationName: "tests") { reader in
                try await reader.transaction { reader in
                    try await reader.query("set transaction isolation level repeatable read")
                    try await reader.query("select count(*) from trunkline.jobs")
                    _ = try await database.accept((0..<3_000).map { try notice($0) })
                    var newest: Int64 = 0
                    while true {
                        let rows = try await session.query(
                            Statements.adopt.sql,
                            owner + [.int4(0), .int4(500), .int8(0)]
                        )
                        guard rows.count > 0 else { break }
                        newest = max(newest, (0..<rows.count).compactMap { rows.int8($0, 0) }.max() ?? 0)
                    }
                    let last = try await database.accept([notice(5_000)]).compactMap(\.job)
                    func walked(from start: Int64) async throws -> (entries: Int64, found: [Int64?]) {
                        let counter = "select pg_stat_get_xact_tuples_returned('trunkline.jobs_unseen'::regclass)"
                        return try await session.transaction { session in
                            let before = try await session.query(counter).int8(0, 0) ?? 0
                            let rows = try await session.query(
                                Statements.adopt.sql,
                                owner + [.int4(0), .int4(500), .int8(start)]
                            )
                            let entries = (try await session.query(counter).int8(0, 0) ?? 0) - before
                            // The next look finds it again.
                            try await session.query(
                                "update trunkline.jobs set state = 'accepted', place = 0 where place <> 0 and id = $1",
                                [.int8(last[0].value)]
                            )
                            return (entries, (0..<rows.count).map { rows.int8($0, 0) })
                        }
                    }
                    for setting in Statements.hotSettings { try await session.query("set \(setting.0) = \(setting.1)") }
                    let whole = try await walked(from: 0)
                    #expect(whole.found == [last[0].value] && whole.entries >= 3_000, "\(whole.entries)")
                    let short = try await walked(from: newest)
                    #expect(short.found == [last[0].value] && short.entries < 10, "\(short.entries)")
                }
            }
        }
    }

    @Test("looks begin behind what was seen half a minute ago, and now and then at the start")
    func horizon() {
        var horizon = UnseenHorizon()
        let start = ContinuousClock.now
        func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }
        #expect(horizon.start(at: at(0), shards: [1]) == 0)
        // There was more than a look takes: again from the start.
        horizon.looked(from: 0, newest: 500, isAll: false, sent: at(0), now: at(0))
        #expect(horizon.start(at: at(0.1), shards: [1]) == 0)
        horizon.looked(from: 0, newest: 900, isAll: true, sent: at(0.1), now: at(0.1))
        // Commits may come late: nothing is skipped yet.
        #expect(horizon.start(at: at(1), shards: [1]) == 0)
        horizon.looked(from: 0, newest: nil, isAll: true, sent: at(1), now: at(4))
        #expect(horizon.start(at: at(31), shards: [1]) == 0, "what was seen at the first turn is not old enough")
        #expect(horizon.start(at: at(62), shards: [1]) == 900)
        horizon.looked(from: 900, newest: 2_000, isAll: true, sent: at(62), now: at(62))
        #expect(horizon.start(at: at(63), shards: [1]) == 900)
        // Other shards may have rows of any age.
        #expect(horizon.start(at: at(64), shards: [1, 5]) == 0)
        horizon.looked(from: 0, newest: nil, isAll: true, sent: at(64), now: at(64))
        #expect(horizon.start(at: at(70), shards: [1, 5]) == 900)
        #expect(horizon.start(at: at(75), shards: [1, 5]) == 0, "every ten seconds a whole look")
        // One that takes 3 s is made every 300 s.
        horizon.looked(from: 0, newest: nil, isAll: true, sent: at(75), now: at(78))
        #expect(horizon.start(at: at(370), shards: [1, 5]) > 0)
        #expect(horizon.start(at: at(378), shards: [1, 5]) == 0)
    }

    @Test("the audit does not compare every lane with every busy one")
    func audit() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            try await session.query("set plan_cache_mode = force_generic_plan")
            try await session.query("prepare audit (int, int[], int[]) as \(Statements.forgotten.sql)")
            let rows = try await session.query("explain execute audit (16, '{1}', '{1}')")
            let plan = (0..<rows.count).compactMap { rows.text($0, 0) }.joined(separator: "\n")
            #expect(plan.contains("Anti Join") && !plan.contains("ALL ($3)"), "\(plan)")
        }
    }

    @Test("a settle locks the partitions of its own days and no others; a claim locks none")
    func settleLocksItsDays() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let owner = try await Self.owner(session)
            let ids = try await database.accept([notice(1), notice(2), notice(3)]).compactMap(\.job).map(\.value)
            try await session.query(Statements.adopt.sql, owner + [.int4(0), .int4(500), .int8(0)])
            func locks(_ session: PostgresSession) async throws -> [String: Set<String>] {
                let rows = try await session.query(
                    """
                    select c.relname, l.mode from pg_locks l join pg_class c on c.oid = l.relation
                    where l.pid = pg_backend_pid() and c.relkind = 'r' and c.relispartition and c.relname ~ '^(finished|attempts)'
                    """
                )
                var modes: [String: Set<String>] = [:]
                for row in 0..<rows.count {
                    modes[rows.text(row, 0) ?? "", default: []].insert(rows.text(row, 1) ?? "")
                }
                return modes
            }
            let today = try await session.query("select to_char(now() at time zone 'UTC', 'YYYYMMDD')").text(0, 0) ?? ""
            func settle(_ session: PostgresSession, _ jobs: [Int64], _ attempts: [Int32], _ outcomes: [String])
                async throws
            {
                let none = [String?](repeating: nil, count: jobs.count)
                try await session.query(
                    Statements.settle.sql,
                    [
                        .uuid(Self.boot), .int8Array(jobs), .int4Array(attempts), .textArray(outcomes),
                        .textArray(jobs.map { _ in "http_500" }),
                        .int4Array(jobs.map { _ in 0 }), .boolArray(jobs.map { _ in false }), .textArray(none),
                        .int4Array(jobs.map { _ in 200 }), .textArray(none),
                    ]
                )
            }
            let claimed = try await session.transaction { session in
                try await session.query(
                    Statements.claim.sql,
                    owner + [.int4(30_000), .int8Array(ids), .int4Array([]), .int4Array([])]
                )
                return try await locks(session)
            }
            #expect(claimed.isEmpty, "\(claimed)")
            let settled = try await session.transaction { session in
                try await settle(session, [ids[0], ids[1], ids[2]], [1, 1, 1], ["sent", "retry", "park"])
                return try await locks(session)
            }
            #expect(Set(settled.keys) == ["finished_" + today, "attempts_" + today], "\(settled)")
            // A word about a job that has ended reads every day, and writes one.
            let late = try await session.transaction { session in
                try await settle(session, [ids[0]], [1], ["sent"])
                return try await locks(session)
            }
            let written = late.filter { $0.value != ["AccessShareLock"] }.keys
            #expect(Set(written).isSubset(of: ["finished_" + today, "attempts_" + today]), "\(late)")
            #expect(try await Check.run(session).addsUp)
        }
    }

    @Test("what waits is not read to find out whom the former owner wrote to: its own row says so")
    func waitingJobsAreNoLastSends() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let owner = try await Self.owner(session)
            try await Self.fill(
                session,
                5_000,
                columns: "place, state, claimed_at",
                values: "g, 'waiting', now() - interval '2 s'"
            )
            let read = try await Self.reads(session) {
                try await $0.query(Statements.lastSends.sql, [owner[1], owner[2]])
            }
            #expect(read.rows < 20, "last_sends read \(read.rows) rows of jobs")
            let rows = try await session.query(
                Statements.load.sql,
                [.int4Array([1, 2, 3]), .int8(.min), .int8(.min), .int8(.min), .int4(10)]
            )
            #expect(SeenJob.all(rows).count == 10)
            #expect(
                SeenJob.all(rows).allSatisfy { $0.claimedAgo.map { $0 >= .seconds(2) && $0 < .seconds(600) } ?? false }
            )
            // One that was parked after its attempt is among them, as long as the gap reaches: longer than this test takes.
            try await session.query("update trunkline.lanes set recipient_gap_ms = 3600000")
            try await session.query(
                "update trunkline.jobs set state = 'parked', reason = 'x', parked_at = now() where key = 'fill:7'"
            )
            let parked = try await session.query(Statements.lastSends.sql, [owner[1], owner[2]])
            #expect(parked.count == 1 && parked.int8(0, 1) == 7)
        }
    }

    @Test("each line's last sends are remembered as long as its own gap; the newest pages have their summary")
    func lastSends() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let ids = try await database.accept([notice(1), notice(2, line: "acme-2")]).compactMap(\.job)
            try await database.run(ids)
            try await session.query("update trunkline.lanes set recipient_gap_ms = 3600000 where name = 'line:acme-2'")
            try await session.query(
                "update trunkline.finished set ended_at = ended_at - interval '1 minute' where ended_at - interval '1 minute' >= ended_on"
            )
            let lanes = try await session.query(
                "select lane from trunkline.last_sends(16, array(select generate_series(0, 15)))"
            )
            let second = try await session.query("select lane from trunkline.lines where id = 'acme-2'").int4(0, 0)
            #expect((0..<lanes.count).map { lanes.int4($0, 0) } == [second])
            let indexes = try await session.query(
                """
                select count(*), count(*) filter (where 'autosummarize=on' = any (reloptions)) from pg_class
                where relkind = 'i' and relname ~ '^finished.*ended_at'
                """
            )
            #expect(indexes.int8(0, 0) ?? 0 > 7 && indexes.int8(0, 0) == indexes.int8(0, 1))
        }
    }

    @Test("status knows what was sent today without the finished rows")
    func sentToday() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let ids = try await database.accept([notice(1), notice(2), notice(3)]).compactMap(\.job)
            try await database.run([ids[0]])
            try await database.run([ids[1]])
            // One that was cancelled, and sent after all.
            try await database.run([ids[2]], outcome: "none")
            try await session.query(
                "select trunkline.finish(array[$1::bigint], 'discarded', 'test')",
                [.int8(ids[2].value)]
            )
            func sent() async throws -> Int64? {
                try await FleetStatus.read(session).lines.first { $0.id == "acme-1" }?.sentToday
            }
            #expect(try await sent() == 2)
            try await session.query(
                "select trunkline.settle($1, array[$2::bigint], '{1}', '{sent}', '{null}', '{0}', '{true}', '{null}', '{200}', '{null}')",
                [.uuid(Self.boot), .int8(ids[2].value)]
            )
            #expect(try await sent() == 3)
            try await session.query("alter table trunkline.finished rename to elsewhere")
            #expect(try await sent() == 3)
            try await session.query("update trunkline.sent_today set day = day - 1")
            #expect(try await sent() == 0)
        }
    }
}
