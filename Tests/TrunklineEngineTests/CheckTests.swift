import PostgresDriver
import Testing
import TrunklineCore

@testable import TrunklineEngine

@Suite("The conservation proof")
struct CheckTests {
    /// Twelve jobs with every kind of history that the functions of the schema can write.
    private func history(_ database: AdminDatabase) async throws -> [JobID] {
        let jobs = try (0..<12).map { number in
            try notice(
                number,
                line: number % 2 == 0 ? "acme-1" : "acme-2",
                button: number == 3 ? Button(text: "See", url: "https://shop.example/o/1?a=1&b=2") : nil
            )
        }
        let ids = try await database.accept(jobs).compactMap(\.job)
        #expect(ids.count == 12)
        try await database.run([ids[0], ids[1]])
        // Sent by the second and by the third attempt.
        try await database.run([ids[2]], outcome: "retry", reason: "unreachable")
        try await database.run([ids[2]])
        try await database.run([ids[3]], outcome: "given_back", reason: "slow_down")
        try await database.run([ids[3]], outcome: "retry", reason: "unreachable")
        try await database.run([ids[3]])
        // Waiting, unknown, parked, in the air.
        try await database.run([ids[4]], outcome: "retry", reason: "unreachable")
        try await database.run([ids[5]], outcome: "unknown", reason: "timed_out", mayHaveLeft: true)
        try await database.run([ids[6]], outcome: "park", reason: "message_refused")
        try await database.run([ids[7]], outcome: "none")
        // Ended without being sent, after an attempt and before any.
        try await database.run([ids[8]], outcome: "retry", reason: "unreachable")
        try await database.session.query(
            "select trunkline.finish($1, 'expired', 'send_before_passed')",
            [.int8Array([ids[8].value, ids[9].value])]
        )
        // Given up for lost, then the answer came after all.
        try await database.run([ids[10]], outcome: "none")
        try await abandon(database, ids[10], attempt: 1)
        try await settleSent(database, ids[10], attempt: 1)
        return ids
    }

    private func abandon(_ database: AdminDatabase, _ id: JobID, attempt: Int32) async throws {
        try await database.session.query(
            "update trunkline.jobs set lease_until = now() - interval '1 second' where id = $1",
            [.int8(id.value)]
        )
        let rows = try await database.session.query(
            "select job from trunkline.abandon($1, 16, $2, $3, $4, $5)",
            [
                .uuid(Array(repeating: 7, count: 16)), .int4Array((0..<16).map { $0 }),
                .int8Array([Int64?](repeating: 1, count: 16)),
                .int8Array([id.value]), .int4Array([attempt]),
            ]
        )
        #expect(rows.count == 1)
    }

    private func settleSent(_ database: AdminDatabase, _ id: JobID, attempt: Int32) async throws {
        try await database.session.query(
            "select * from trunkline.settle($1, $2, $3, '{sent}', '{null}', '{0}', '{t}', '{null}', '{202}', '{null}')",
            [.uuid(Array(repeating: 7, count: 16)), .int8Array([id.value]), .int4Array([attempt])]
        )
    }

    @Test("every history that the steps can write adds up")
    func addsUp() async throws {
        try await AdminDatabase.with { database in
            let ids = try await history(database)
            let report = try await Check.run(database.session)
            #expect(report.findings.isEmpty, "\(report.findings)")
            #expect(report.addsUp)
            #expect(report.lanes.map(\.lane.line) == ["acme-1", "acme-2"])
            #expect(report.lanes.reduce(0) { $0 + $1.ledger } == Int64(ids.count))
            #expect(report.lanes.reduce(0) { $0 + $1.finishedCount } == 7)
            // A late answer of an attempt that another one overtook, while that one is in the air, and after it.
            let late = try #require(try await database.accept([notice(100)])[0].job)
            try await database.run([late], outcome: "none")
            try await abandon(database, late, attempt: 1)
            try await database.run([late], outcome: "none")
            try await settleSent(database, late, attempt: 1)
            #expect(try await Check.run(database.session).addsUp)
            try await settleSent(database, late, attempt: 2)
            let after = try await Check.run(database.session)
            #expect(after.addsUp, "\(after.findings)")
        }
    }

    @Test("a row deleted, one doubled and one flipped behind its back are three different findings, with their ids")
    func behindItsBack() async throws {
        try await AdminDatabase.with { database in
            let ids = try await history(database)
            try await database.session.query("delete from trunkline.finished where id = $1", [.int8(ids[0].value)])
            try await database.session.query(
                """
                insert into trunkline.finished
                select (f2).* from (select jsonb_populate_record(f, jsonb_build_object('ended_at', f.ended_at + interval '1 day',
                    'ended_on', f.ended_on + 1)) as f2 from trunkline.finished f where id = $1) x
                """,
                [.int8(ids[1].value)]
            )
            try await database.session.query(
                "update trunkline.finished set state = 'discarded' where id = $1",
                [.int8(ids[2].value)]
            )
            let report = try await Check.run(database.session)
            #expect(!report.addsUp)
            #expect(report.counts[.lost] == 1)
            #expect(report.counts[.doubled] == 1)
            #expect(report.counts[.flipped] == 1)
            #expect(jobs(report, .lost) == [ids[0]])
            #expect(jobs(report, .doubled) == [ids[1]])
            #expect(jobs(report, .flipped) == [ids[2]])
            #expect(report.findings.allSatisfy { $0.lane != nil })
        }
    }

    @Test("an unfinished job that vanishes is lost; one that stands in both tables is doubled")
    func unfinished() async throws {
        try await AdminDatabase.with { database in
            let ids = try await history(database)
            try await database.session.query("delete from trunkline.jobs where id = $1", [.int8(ids[4].value)])
            try await database.session.query(
                """
                insert into trunkline.jobs (id, lane, scope, key, key_digest, person, recipient, request, purpose, state, place, attempt)
                select id, lane, scope, key, key_digest, person, recipient, request, purpose, 'waiting', 1, 0
                from trunkline.finished where id = $1
                """,
                [.int8(ids[0].value)]
            )
            let report = try await Check.run(database.session)
            #expect(jobs(report, .lost) == [ids[4]])
            #expect(jobs(report, .doubled) == [ids[0]])
            #expect(report.counts[.flipped] == nil)
        }
    }

    @Test("what else is changed by hand is found: content, number, key, lane, end time, final state")
    func flips() async throws {
        let changes: [(String, Int)] = [
            (
                "update trunkline.finished set request = convert_to('{\"to\":\"' || recipient || '\",\"body\":\"Other\"}', 'UTF8') where id = $1",
                0
            ),
            ("update trunkline.finished set request = '\\xff00' where id = $1", 0),
            ("update trunkline.finished set recipient = '+972500000000' where id = $1", 0),
            ("update trunkline.finished set key = 'order:other' where id = $1", 0),
            ("update trunkline.jobs set lane = (select max(number) from trunkline.lanes) where id = $1", 4),
            ("update trunkline.ledger set final_at = final_at - interval '1 minute' where job = $1", 0),
            ("update trunkline.ledger set final_state = null, final_at = null where job = $1", 0),
            ("update trunkline.ledger set final_state = 'sent', final_at = now() where job = $1", 4),
            ("update trunkline.ledger set content_digest = decode(repeat('00', 16), 'hex') where job = $1", 5),
        ]
        try await AdminDatabase.with { database in
            let ids = try await history(database)
            for (change, index) in changes {
                try await database.session.script(
                    "create table keep_f as table trunkline.finished; create table keep_j as table trunkline.jobs; create table keep_l as table trunkline.ledger"
                )
                let changed = try await database.session.query(change, [.int8(ids[index].value)])
                #expect(changed.affectedRows == 1)
                let report = try await Check.run(database.session)
                #expect(jobs(report, .flipped) == [ids[index]], "\(change): \(report.findings)")
                #expect(report.counts[.flipped] == 1)
                #expect(Set(report.counts.keys) == [.flipped])
                try await database.session.script(
                    """
                    delete from trunkline.finished; insert into trunkline.finished table keep_f; drop table keep_f;
                    delete from trunkline.jobs;
                    -- Generated columns take no value.
                    do $$ declare columns text := (
                        select string_agg(attname, ', ') from pg_attribute
                        where attrelid = 'trunkline.jobs'::regclass and attnum > 0 and attgenerated = '' and not attisdropped);
                    begin
                        execute format('insert into trunkline.jobs (%1$s) select %1$s from keep_j', columns);
                    end $$;
                    drop table keep_j;
                    delete from trunkline.ledger; insert into trunkline.ledger table keep_l; drop table keep_l;
                    """
                )
            }
            #expect(try await Check.run(database.session).addsUp)
        }
    }

    @Test("a row without a ledger entry is an orphan, and so are attempts of nobody")
    func orphans() async throws {
        try await AdminDatabase.with { database in
            let ids = try await history(database)
            try await database.session.query("delete from trunkline.ledger where job = $1", [.int8(ids[4].value)])
            try await database.session.script(
                "insert into trunkline.attempts (job, number, started_at, started_on, outcome) values (99999, 1, now(), (now() at time zone 'UTC')::date, 'retry')"
            )
            let report = try await Check.run(database.session)
            #expect(Set(jobs(report, .orphan)) == [ids[4], JobID(99_999)])
            #expect(Set(report.counts.keys) == [.orphan])
        }
    }

    @Test("attempts that are missing, doubled or too many are found")
    func attempts() async throws {
        try await AdminDatabase.with { database in
            let ids = try await history(database)
            let session = database.session
            try await session.query(
                "delete from trunkline.attempts where job = $1 and number = 1",
                [.int8(ids[2].value)]
            )
            try await session.query("delete from trunkline.attempts where job = $1", [.int8(ids[5].value)])
            try await session.query(
                """
                insert into trunkline.attempts (job, number, started_at, started_on, outcome)
                select job, number, started_at + interval '1 day', started_on + 1, outcome from trunkline.attempts where job = $1
                """,
                [.int8(ids[4].value)]
            )
            try await session.query(
                """
                insert into trunkline.attempts (job, number, started_at, started_on, outcome)
                values ($1, 4, now(), (now() at time zone 'UTC')::date, 'retry')
                """,
                [.int8(ids[6].value)]
            )
            try await session.query(
                """
                insert into trunkline.attempts (job, number, started_at, started_on, outcome)
                values ($1, 1, now(), (now() at time zone 'UTC')::date, 'retry')
                """,
                [.int8(ids[7].value)]
            )
            try await session.query(
                "update trunkline.attempts set outcome = 'sent' where job = $1",
                [.int8(ids[8].value)]
            )
            let report = try await Check.run(session)
            #expect(Set(jobs(report, .attempts)) == [ids[2], ids[5], ids[4], ids[6], ids[7], ids[8]])
            #expect(Set(report.counts.keys) == [.attempts])
        }
    }

    @Test("two jobs of one person under way, and other rows that no step can write, are impossible")
    func impossible() async throws {
        try await AdminDatabase.with { database in
            let ids = try await history(database)
            try await database.session.query(
                "update trunkline.jobs set person = (select person from trunkline.jobs where id = $1), lane = (select lane from trunkline.jobs where id = $1) where id = $2",
                [.int8(ids[5].value), .int8(ids[7].value)]
            )
            try await database.session.query(
                "update trunkline.finished set maybe_sent_since = now() where id = $1",
                [.int8(ids[9].value)]
            )
            let report = try await Check.run(database.session)
            #expect(Set(jobs(report, .impossible)) == [ids[7], ids[9]])
        }
    }

    @Test("a dropped day is known by its tally; a tally that counts too few or too many is found")
    func droppedDays() async throws {
        try await AdminDatabase.with { database in
            let ids = try await history(database)
            let session = database.session
            // Two days ago, all that has ended; then that day is dropped.
            try await session.script(
                """
                create table trunkline.finished_20200101 partition of trunkline.finished for values from ('2020-01-01') to ('2020-01-02');
                update trunkline.ledger set final_at = '2020-01-01T12:00:00Z' where final_state is not null;
                update trunkline.finished set ended_at = '2020-01-01T12:00:00Z', ended_on = '2020-01-01';
                """
            )
            let before = try await Check.run(session)
            #expect(before.addsUp, "\(before.findings)")
            try await session.query("select trunkline.drop_day('finished', '2020-01-01')")
            #expect(try await database.count("finished") == 0)
            let after = try await Check.run(session)
            #expect(after.addsUp, "\(after.findings)")
            #expect(after.lanes.reduce(0) { $0 + $1.tallied } == 7)
            // The key is remembered and stays taken.
            #expect(
                try await database.accept([notice(0)])[0]
                    == .repeat(ids[0], lane: .line(try LineID("acme-1")), finalState: "sent")
            )
            try await session.script(
                "update trunkline.tallies set jobs = jobs - 1 where state = 'expired' and lane = (select min(lane) from trunkline.tallies where state = 'expired')"
            )
            #expect(Set(try await Check.run(session).counts.keys) == [.lost])
            try await session.script(
                "update trunkline.tallies set jobs = jobs + 2 where state = 'expired' and lane = (select min(lane) from trunkline.tallies where state = 'expired')"
            )
            #expect(Set(try await Check.run(session).counts.keys) == [.tally])
        }
    }

    private func jobs(_ report: CheckReport, _ kind: CheckReport.Kind) -> [JobID] {
        report.findings.filter { $0.kind == kind }.compactMap(\.job)
    }
}
