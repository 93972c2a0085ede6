import PostgresDriver
import Testing
import TrunklineCore

@testable import TrunklineEngine

@Suite("Why, status and check of what gates, breakers, caps and newer facts do")
struct WhyTests {
    /// A live worker that owns every shard, however long the test takes.
    private static let owner = """
        insert into trunkline.workers (boot, host, pid, version, renewed_at)
        values ('07070707-0707-0707-0707-070707070707', 'alpha', 17, '0.1.0', now() + interval '1 hour');
        update trunkline.shards set owner = '07070707-0707-0707-0707-070707070707', fence = 1;
        update trunkline.lane_state set gate = 'open';
        """

    private static func sentence(_ database: AdminDatabase, _ id: JobID) async throws -> String {
        let text = try #require(try await database.install.stories(id.description).first).sentence
        #expect(!text.contains("97250") && !text.contains("is ready."), "\(text)")
        return text
    }

    private static func fact(_ number: Int, key: String, at: Timestamp) throws -> SendJob {
        try SendJob(
            line: LineID("acme-1"),
            key: IdempotencyKey("order:acme.1:fact\(number)"),
            to: PhoneNumber("+972501000001"),
            body: "Your order is ready.",
            purpose: .order,
            supersedeKey: key,
            factAt: at
        )
    }

    @Test("why names what holds a line, since when, and when it goes on")
    func obstacles() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let now = Timestamp(microseconds: try await session.query("select now()").timestamp(0, 0) ?? 0)
            let ids = try await database.accept([
                notice(0), notice(1, notBefore: now + .seconds(86_400)), notice(2),
            ]).compactMap(\.job)
            try await session.script(Self.owner)
            try await database.run([], outcome: "none")
            func said(_ sql: String, job: Int = 0) async throws -> String {
                try await session.script(sql)
                return try await Self.sentence(database, ids[job])
            }
            #expect(try await said("select 1").contains("for the pace of the line acme-1"))

            var text = try await said(
                "update trunkline.lane_state set gate = 'ramping', ramp_started_at = now() - interval '20 seconds'"
            )
            #expect(
                text.contains("goes on slowly after a hold (since") && text.contains("at full pace from"),
                "\(text)"
            )
            // The minute is over, and nothing has been written since.
            text = try await said("update trunkline.lane_state set ramp_started_at = now() - interval '61 seconds'")
            #expect(text.contains("for the pace of the line acme-1"), "\(text)")

            text = try await said(
                """
                update trunkline.lanes set daily_cap = 3, time_zone = 'Pacific/Auckland' where name = 'line:acme-1';
                update trunkline.lane_state set gate = 'open', sent_today = 3, sent_on = (now() at time zone 'Pacific/Auckland')::date;
                """
            )
            #expect(
                text.contains("has sent what it may today (3); it goes on at")
                    && text.contains("midnight of Pacific/Auckland")
            )
            let midnight = try #require(try await database.install.stories(ids[0].description).first?.lane.cappedUntil)
            #expect(midnight > now && midnight - now <= .seconds(25 * 3_600))
            #expect(try await FleetStatus.read(session).lines.first?.isCapped == true)
            text = try await said("update trunkline.lane_state set sent_on = sent_on - 1")
            #expect(text.contains("for the pace of the line acme-1"))

            text = try await said(
                """
                update trunkline.lane_state set gate = 'held_transient', gate_reason = 'line_not_sendable: qr_required',
                    next_probe_at = now() + interval '5 minutes'
                """
            )
            #expect(text.contains("cannot send for now, since") && text.contains("(qr_required)"), "\(text)")
            #expect(text.contains("its health is asked again at"))
            text = try await said("update trunkline.lane_state set gate = 'held_human', next_probe_at = null")
            #expect(text.contains("somebody must mend the line; its health is asked again by itself"))
            text = try await said("update trunkline.lane_state set gate = 'probing'")
            #expect(text.contains("its health is being asked at this moment"))

            text = try await said(
                """
                insert into trunkline.breakers (origin, opened_at, reason, next_probe_at)
                values ('http://127.0.0.1:1', now(), '9 of 10 lines of one worker got no answer', now() + interval '7 seconds'),
                       ('http://127.0.0.1:2', null, null, null)
                """
            )
            #expect(
                text.contains("nothing is sent to http://127.0.0.1:1 since") && text.contains("9 of 10 lines")
                    && text.contains("it is asked again at"),
                "\(text)"
            )
            text = try await said(
                "update trunkline.breakers set prober = gen_random_uuid() where opened_at is not null"
            )
            #expect(text.contains("it is being asked at this moment"))
            let status = try await FleetStatus.read(session)
            #expect(
                status.breakers.map(\.origin) == ["http://127.0.0.1:1"] && status.breakers.first?.isBeingAsked == true
            )
            #expect(status.lines.allSatisfy { $0.brokenOrigin == "http://127.0.0.1:1" })

            text = try await said(
                "update trunkline.lanes set hold_reason = 'the shop asked', held_at = now(), hold_until = now() + interval '1 hour'"
            )
            #expect(text.contains("is held by hand since") && text.contains("(the shop asked), until 20"))
            // A scheduled notice waits for its time first.
            text = try await said("select 1", job: 1)
            #expect(text.contains("It is scheduled for") && text.contains("besides, the line acme-1 is held by hand"))
        }
    }

    @Test("why tells of tries, suspects, poison and a call that nobody can tell the end of")
    func attempts() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let ids = try await database.accept((0..<6).map { try notice($0) }).compactMap(\.job)
            try await session.script(Self.owner)
            // Sent at the first try: the attempt is shown although it has no row.
            try await database.run([ids[0]])
            let sent = try #require(try await database.install.stories(ids[0].description).first)
            #expect(sent.attempts.map(\.number) == [1] && sent.attempts.map(\.outcome) == ["sent"])
            #expect(try await database.count("attempts") == 0)

            try await database.run([ids[1]], outcome: "retry", reason: "line_locked")
            try await session.script("update trunkline.jobs set due_at = now() + interval '4 minutes' where tries = 1")
            let retry = try await Self.sentence(database, ids[1])
            #expect(
                retry.contains("attempt 1 did not succeed (the line is locked, status 200); 1 of 8 tries are used"),
                "\(retry)"
            )
            #expect(retry.contains("the next attempt is due at"))

            try await database.run([ids[2]], outcome: "unknown", reason: "timed_out", mayHaveLeft: true)
            let unknown = try await Self.sentence(database, ids[2])
            #expect(
                unknown.contains("as soon as the line is free; if that does not tell by") && unknown.contains("12 h")
            )
            try await session.script(
                "update trunkline.lane_state set gate = 'held_human', gate_reason = 'line_needs_person'"
            )
            let held = try await Self.sentence(database, ids[2])
            #expect(held.contains("when the line can send again: the line acme-1 cannot send"), "\(held)")
            try await session.script("update trunkline.lane_state set gate = 'open'")

            // A worker was lost during one attempt, and another such job is in the air.
            try await database.run([ids[3], ids[4]], outcome: "none")
            try await session.query(
                """
                update trunkline.jobs set suspect = true, crashes = 1, state = case id when $1 then 'unknown' else state end,
                    maybe_sent_since = case id when $1 then now() end, reason = case id when $1 then 'worker_lost' end
                where id = any ($2)
                """,
                [.int8(ids[3].value), .int8Array([ids[3].value, ids[4].value])]
            )
            let suspect = try await Self.sentence(database, ids[3])
            #expect(
                suspect.contains("it goes as the only such notice of its worker (job \(ids[4]) is under way)"),
                "\(suspect)"
            )
            try await session.query(
                "update trunkline.jobs set state = 'parked', parked_at = now(), reason = 'poison', crashes = 3 where id = $1",
                [.int8(ids[3].value)]
            )
            #expect(try await Self.sentence(database, ids[3]).contains("three workers died while they were sending it"))

            let status = try await FleetStatus.read(session)
            let line = try #require(status.lines.first { $0.id == "acme-1" })
            #expect(line.retrying == 1 && line.scheduled == 0 && line.backlog["waiting"] == 2)
        }
    }

    @Test("a superseded notice names what replaced it, and check asks the facts")
    func facts() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let now = Timestamp(microseconds: try await session.query("select now()").timestamp(0, 0) ?? 0)
            try await session.script(Self.owner)
            let old = try #require(
                try await database.accept([Self.fact(1, key: "order:1", at: now - .seconds(60))]).first?.job
            )
            let new = try #require(
                try await database.accept([Self.fact(2, key: "order:1", at: now - .seconds(30))]).first?.job
            )
            // Older, and later accepted.
            let late = try #require(
                try await database.accept([Self.fact(3, key: "order:1", at: now - .seconds(45))]).first?.job
            )
            for id in [old, late] {
                let text = try await Self.sentence(database, id)
                #expect(
                    text.contains("It ended as superseded at")
                        && text.contains("because job \(new) brought a newer fact"),
                    "\(text)"
                )
                #expect(text.contains("nothing was sent"))
            }
            try await database.run([new])
            var check = try await Check.run(session)
            #expect(check.addsUp, "\(check.findings)")
            #expect(check.lanes.first { $0.lane.line == "acme-1" }?.finished == ["superseded": 2, "sent": 1])

            try await session.script("update trunkline.facts set fact_at = fact_at - interval '50 seconds'")
            check = try await Check.run(session)
            #expect(!check.addsUp && check.counts[.impossible] ?? 0 >= 2)
            #expect(check.findings.contains { $0.detail.contains("newer than the newest") })
            #expect(check.findings.contains { $0.job == late && $0.detail.contains("superseded, and no newer fact") })
            try await session.script("update trunkline.facts set fact_at = fact_at + interval '50 seconds', job = 999")
            check = try await Check.run(session)
            #expect(check.findings.map(\.job) == [JobID(999)] && check.counts == [.orphan: 1])
            try await session.script("delete from trunkline.facts")
            check = try await Check.run(session)
            #expect(check.findings.contains { $0.job == old && $0.detail.contains("its fact is not remembered") })
        }
    }

    @Test("check finds a cancel that was forgotten")
    func forgottenCancel() async throws {
        try await AdminDatabase.with { database in
            let id = try #require(try await database.accept([notice(0)]).first?.job)
            try await database.session.script("update trunkline.jobs set cancel_wanted = true")
            let check = try await Check.run(database.session)
            #expect(check.findings.map(\.job) == [id] && check.counts == [.impossible: 1])
        }
    }
}
