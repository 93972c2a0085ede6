import Foundation
import PostgresDriver
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

@Suite struct RetentionTests {
    /// Moves all that has ended, and its attempts, to a day of the past.
    private static func age(_ session: PostgresSession, byDays days: Int) async throws {
        try await session.query("select trunkline.make_day('finished', (now() at time zone 'UTC')::date - \(days))")
        try await session.query("select trunkline.make_day('attempts', (now() at time zone 'UTC')::date - \(days))")
        try await session.script(
            """
            update trunkline.ledger set final_at = final_at - interval '\(days) days' where final_at > now() - interval '1 day';
            update trunkline.finished set ended_at = ended_at - interval '\(days) days', ended_on = ended_on - \(days),
                accepted_at = accepted_at - interval '\(days) days'
                where ended_at > now() - interval '1 day';
            update trunkline.attempts set started_at = started_at - interval '\(days) days', started_on = started_on - \(days)
                where started_at > now() - interval '1 day';
            """
        )
    }

    @Test("old days are counted and dropped, young ones stay, keys stay taken, and the check adds up after each step")
    func days() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let old = try await database.accept((0..<10).map { try notice($0) }).compactMap(\.job)
            try await database.run(old, outcome: "retry", reason: "http_500")
            try await database.run(old)
            try await Self.age(session, byDays: 9)
            let young = try await database.accept((10..<15).map { try notice($0) }).compactMap(\.job)
            try await database.run(young, outcome: "retry", reason: "http_500")
            try await database.run(young)
            #expect(try await Check.run(session).addsUp)

            let ages = RetentionAges(finished: 5, attempts: 5)
            let planned = try await database.install.retain(ages, isDryRun: true)
            #expect(planned.days.map(\.table) == ["finished", "attempts"] && planned.days.map(\.rows) == [10, 20])
            #expect(try await database.count("finished") == 15)

            var told: [Retention.Report.Day] = []
            let report = try await database.install.retain(ages) { told.append($0) }
            #expect(report.days == planned.days && told == report.days && report.busy.isEmpty)
            #expect(try await database.count("finished") == 5)
            #expect(try await database.count("attempts") == 10)
            let check = try await Check.run(session)
            #expect(check.addsUp, "\(check.findings)")
            #expect(check.lanes.reduce(0) { $0 + $1.tallied } == 10)
            #expect(
                try await database.accept([notice(0)])[0]
                    == .repeat(old[0], lane: .line(try LineID("acme-1")), finalState: "sent")
            )
            #expect(try await database.install.retain(ages).isEmpty)
        }
    }

    @Test("rows of old days in the default partition are counted and dropped too")
    func strays() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let ids = try await database.accept((0..<10).map { try notice($0) }).compactMap(\.job)
            try await database.run(ids, outcome: "retry", reason: "http_500")
            try await database.run(ids)
            try await Self.age(session, byDays: 9)
            try await session.script(
                """
                do $$ begin
                    execute format('alter table trunkline.finished detach partition trunkline.finished_%s',
                        to_char((now() at time zone 'UTC')::date - 9, 'YYYYMMDD'));
                    execute format('insert into trunkline.finished select * from trunkline.finished_%s',
                        to_char((now() at time zone 'UTC')::date - 9, 'YYYYMMDD'));
                end $$
                """
            )
            #expect(try await database.count("finished_rest") == 10)
            let report = try await database.install.retain(RetentionAges(finished: 5))
            #expect(report.strays == ["finished": 10] && report.days.isEmpty)
            #expect(try await database.count("finished_rest") == 0)
            let check = try await Check.run(session)
            #expect(check.addsUp, "\(check.findings)")
        }
    }

    @Test("old refusals and bodies go; the keys of events stay, and an event that comes again is a repeat")
    func refusalsAndBodies() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            try await session.script(
                """
                insert into trunkline.refusals (via, kind, reason, digest, raw, raw_length, last_at)
                select 'amqp', 'malformed', 'r', sha256(convert_to(g::text, 'UTF8')), 'x', 1, now() - make_interval(days => g)
                from generate_series(0, 59) g;
                insert into trunkline.suspects (digest, via, raw, raw_length, reader, last_at)
                select sha256(convert_to(g::text, 'UTF8')), 'amqp', 'x', 1, gen_random_uuid(), now() - make_interval(days => g)
                from generate_series(0, 59) g;
                insert into trunkline.inbox (source, event_key, headers, body, digest, received_at, stored_at)
                select 's', 'e' || g, '{"a": ["b"]}', 'body', sha256('body'), now(), now() - make_interval(days => g)
                from generate_series(0, 59) g;
                """
            )
            let ages = RetentionAges(refusals: 30, inboxBodies: 30)
            let planned = try await database.install.retain(ages, isDryRun: true)
            let report = try await database.install.retain(ages)
            for report in [planned, report] {
                #expect(report.refusals == 30 && report.suspects == 30 && report.inboxBodies == 30)
            }
            #expect(try await database.count("refusals") == 30)
            #expect(try await database.count("inbox") == 60)
            #expect(
                try await database.count("inbox where body = '' and headers = '{}' and emptied_at is not null") == 30
            )
            try await database.addSource("s", workspace: "acme")
            let again = try await session.query(
                """
                select verdict from trunkline.accept_events('{s}', '{e59}', '{"{}"}', array['body'::bytea], array[sha256('body')],
                    array[now()], '{1}')
                """
            )
            #expect(again.text(0, 0) == "repeat")
            // What is still to be run keeps its bytes, however old it is.
            let fresh = try await session.query(
                """
                select verdict from trunkline.accept_events('{s}', '{new}', '{"{}"}', array['body'::bytea], array[sha256('body')],
                    array[now()], '{1}')
                """
            )
            #expect(fresh.text(0, 0) == "new")
            try await session.query(
                "update trunkline.inbox set stored_at = now() - interval '90 days' where event_key = 'new'"
            )
            #expect(try await database.install.retain(ages).inboxBodies == 0)
        }
    }

    @Test("a day that somebody reads is given up in words, and statements pass all the time")
    func inUse() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let ids = try await database.accept([notice(0)]).compactMap(\.job)
            try await database.run(ids)
            try await Self.age(session, byDays: 9)
            try await PostgresSession.withSession(url: database.url, applicationName: "tests") { reader in
                try await reader.transaction { reader in
                    try await reader.query("select count(*) from trunkline.finished")
                    async let drop = PostgresSession.withSession(url: database.url, applicationName: "tests") {
                        try await $0.query("set statement_timeout = 0")
                        return try await $0.query(
                            "select trunkline.drop_day('finished', (now() at time zone 'UTC')::date - 9)"
                        )
                    }
                    // They end, although the reader does not.
                    for number in 1...5 { try await database.run(database.accept([notice(number)]).compactMap(\.job)) }
                    do {
                        _ = try await drop
                        Issue.record("the day was dropped under its reader")
                    } catch let error as PostgresError {
                        #expect(error.sqlState == "55P03")
                    }
                }
            }
            #expect(try await database.count("tallies") == 0)
            #expect(
                try await database.install.retain(RetentionAges(finished: 5)).days.map(\.rows) == [1]
            )
            #expect(try await Check.run(session).addsUp)
        }
    }

    @Test("while day after day is dropped, claims and outcomes go on, and none of their statements fails")
    func underLoad() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            for day in 3...8 {
                try await session.query(
                    "select trunkline.make_day('finished', (now() at time zone 'UTC')::date - \(day))"
                )
                try await session.query(
                    "select trunkline.make_day('attempts', (now() at time zone 'UTC')::date - \(day))"
                )
                try await session.query(
                    """
                    with job as (
                        insert into trunkline.ledger (scope, key_digest, content_digest, job, lane, final_state, final_at)
                        select 9, decode(lpad(to_hex(n), 32, '0'), 'hex'), decode(repeat('00', 16), 'hex'), n,
                            (select min(lane) from trunkline.lines), 'sent', now() - interval '\(day) days'
                        from (select nextval('trunkline.job_number') as n from generate_series(1, 10000)) g
                        returning *
                    ), attempt as (
                        insert into trunkline.attempts (job, number, started_at, started_on, outcome)
                        select job, 1, final_at, (final_at at time zone 'UTC')::date, 'retry' from job
                    )
                    insert into trunkline.finished (id, lane, scope, key, key_digest, person, recipient, request, purpose, state,
                        attempt, tries, accepted_at, ended_at, ended_on)
                    select job, lane, scope, 'old:' || job, key_digest, 1, '+1', 'x', 'order', 'sent', 2, 2, final_at, final_at,
                        (final_at at time zone 'UTC')::date
                    from job
                    """
                )
            }
            let boot = [UInt8](repeating: 7, count: 16)
            try await session.query("update trunkline.shards set owner = $1, fence = 1", [.uuid(boot)])
            let first = try await database.accept([notice(0)]).compactMap(\.job)
            try await database.run(first)
            let isOver = Flag()
            async let rounds = load(database.url, boot, late: first[0].value, until: isOver)
            let report = try await database.install.retain(RetentionAges(finished: 2, attempts: 2))
            isOver.set()
            #expect(report.busy.isEmpty && report.days.count == 12)
            #expect(report.days.filter { $0.table == "finished" }.reduce(0) { $0 + $1.rows } == 60_000)
            // An error ends it, and would be thrown here.
            #expect(try await rounds > 0)
            #expect(try await database.count("finished where ended_on < (now() at time zone 'UTC')::date - 1") == 0)
            #expect(try await session.query("select sum(jobs)::int8 from trunkline.tallies").int8(0, 0) == 60_000)
        }
    }

    private final class Flag: @unchecked Sendable {
        // Unchecked: every access is under the lock.
        private let lock = NSLock()
        private var isSet = false
        func set() { lock.withLock { isSet = true } }
        var value: Bool { lock.withLock { isSet } }
    }

    /// What a worker does, with its settings, without a pause: take, claim, settle, look, and a late word. Returns how often.
    private func load(_ url: String, _ boot: [UInt8], late: Int64, until isOver: Flag) async throws -> Int {
        try await PostgresSession.withSession(
            url: url,
            applicationName: "tests",
            settings: [("lock_timeout", "1s")] + Statements.hotSettings
        ) { session in
            let acceptor = Acceptor(
                configuration: .init(databaseURL: url, applicationName: "tests", carriers: .standard)
            )
            let shards: [Int32?] = (0..<16).map { $0 }
            let owner: [PostgresParameter] = [
                .uuid(boot), .int4(16), .int4Array(shards), .int8Array([Int64?](repeating: 1, count: 16)),
            ]
            var rounds = 0
            repeat {
                let number = 1_000 + rounds * 10
                let jobs = try await acceptor.accept((number..<number + 10).map { try notice($0) }).compactMap(\.job)
                let ids: [Int64?] = jobs.map(\.value)
                try await session.query(Statements.adopt.sql, owner + [.int4(0), .int4(500), .int8(0)])
                try await session.query(
                    Statements.claim.sql,
                    owner + [.int4(30_000), .int8Array(ids), .int4Array([]), .int4Array([])]
                )
                let none = [String?](repeating: nil, count: 11)
                try await session.query(
                    Statements.settle.sql,
                    [
                        .uuid(boot), .int8Array(ids + [late]), .int4Array([Int32?](repeating: 1, count: 11)),
                        .textArray([String?](repeating: "sent", count: 11)), .textArray(none),
                        .int4Array([Int32?](repeating: 0, count: 11)), .boolArray([Bool?](repeating: true, count: 11)),
                        .textArray(none), .int4Array([Int32?](repeating: 200, count: 11)), .textArray(none),
                    ]
                )
                try await session.query(Statements.expire.sql, owner + [.int4(500)])
                rounds += 1
            } while !isOver.value
            await acceptor.close()
            return rounds
        }
    }

    @Test("one of the fleet does it, once a day")
    func daily() async throws {
        try await AdminDatabase.with { database in
            let ages = RetentionAges(finished: 5)
            func turn(_ database: PatientDatabase) async throws -> Bool {
                try await Retention.runDaily(database, ages, by: "tests") != nil
            }
            let one = PatientDatabase(url: database.url, applicationName: "tests")
            let two = PatientDatabase(url: database.url, applicationName: "tests")
            #expect(try await turn(one))
            // Also while the first one still has its turn.
            #expect(try await !turn(two))
            await one.close()
            await two.close()
            let three = PatientDatabase(url: database.url, applicationName: "tests")
            #expect(try await !turn(three))
            try await database.session.query("update trunkline.upkeep set done_on = done_on - 1")
            #expect(try await turn(three))
            #expect(try await Retention.runDaily(three, RetentionAges(), by: "tests") == nil)
            await three.close()
        }
    }

    @Test("ages are days", arguments: [("90d", 90), ("1d", 1), ("never", nil)] as [(String, Int?)])
    func goodAges(text: String, days: Int?) throws {
        #expect(try #require(RetentionAge(text)).days == days)
    }

    @Test("other ages are none", arguments: ["90", "0d", "-1d", "12h", "d", "", "99999d"])
    func badAges(text: String) {
        #expect(RetentionAge(text) == nil)
    }
}
