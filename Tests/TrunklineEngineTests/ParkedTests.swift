import PostgresDriver
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

@Suite struct ParkedTests {
    private static func decide(
        _ database: AdminDatabase,
        _ action: ParkedAction,
        _ jobs: [JobID],
        isDryRun: Bool = false
    ) async throws -> [ParkedDecision.Item] {
        var items: [ParkedDecision.Item] = []
        _ = try await database.install.decide(
            action,
            .named(jobs.map(\.description), owner: nil),
            by: "anna@desk",
            why: "the customer said so",
            isDryRun: isDryRun
        ) { items += $0 }
        return items
    }

    private static func state(_ database: AdminDatabase, _ job: JobID) async throws -> String? {
        try await database.session.query(
            "select state from trunkline.jobs where id = $1 union all select state from trunkline.finished where id = $1",
            [.int8(job.value)]
        ).text(0, 0)
    }

    /// Two jobs that were refused, and two that may have been sent, all parked.
    private static func parked(_ database: AdminDatabase) async throws -> (refused: [JobID], doubtful: [JobID]) {
        let ids = try await database.accept((0..<4).map { try notice($0) }).compactMap(\.job)
        try await database.run(Array(ids[..<2]), outcome: "park", reason: "message_refused")
        try await database.run(Array(ids[2...]), outcome: "unknown", reason: "timed_out", mayHaveLeft: true)
        try await database.session.query(
            "update trunkline.jobs set maybe_sent_since = now() - interval '13 hours' where id = any ($1)",
            [.int8Array(ids[2...].map(\.value))]
        )
        let boot = [UInt8](repeating: 7, count: 16)
        let shards: [Int32?] = (0..<16).map { $0 }
        try await database.session.query(
            Statements.expire.sql,
            [.uuid(boot), .int4(16), .int4Array(shards), .int8Array([Int64?](repeating: 1, count: 16)), .int4(100)]
        )
        #expect(try await database.count("jobs where parked_at is not null") == 4)
        return (Array(ids[..<2]), Array(ids[2...]))
    }

    @Test("what may have been sent is resolved by a person's word; the check agrees, and why tells who said so")
    func resolve() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let (refused, doubtful) = try await Self.parked(database)
            // Never replayed on a guess.
            #expect(try await Self.decide(database, .replay, doubtful).map(\.verdict) == [.inDoubt, .inDoubt])
            #expect(try await Self.decide(database, .sent, refused).map(\.verdict) == [.notInDoubt, .notInDoubt])
            #expect(try await Check.run(session).addsUp)

            #expect(try await Self.decide(database, .sent, [doubtful[0]]).map(\.verdict) == [.done])
            #expect(try await Self.state(database, doubtful[0]) == "sent")
            #expect(try await Check.run(session).addsUp)

            #expect(try await Self.decide(database, .notSent, [doubtful[1]]).map(\.verdict) == [.done])
            #expect(try await Self.state(database, doubtful[1]) == "parked")
            #expect(try await Check.run(session).addsUp)
            #expect(try await Self.decide(database, .replay, [doubtful[1]]).map(\.verdict) == [.done])
            #expect(try await Check.run(session).addsUp)
            try await database.run([doubtful[1]])
            #expect(try await Self.state(database, doubtful[1]) == "sent")
            let check = try await Check.run(session)
            #expect(check.addsUp, "\(check.findings)")

            let told = try #require(try await database.install.stories(doubtful[0].description).first)
            #expect(told.sentence.contains("somebody said that it was") && told.actions.map(\.action) == ["sent"])
            let story = try #require(try await database.install.stories(doubtful[1].description).first)
            #expect(story.actions.map(\.action) == ["not_sent", "replay"])
            #expect(story.actions.allSatisfy { $0.by == "anna@desk" && $0.why == "the customer said so" })
        }
    }

    @Test("a replayed notice takes a new place, has all its tries, and says what was sent meanwhile")
    func replay() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let first = try await database.accept([notice(1)]).compactMap(\.job)
            for _ in 0..<3 { try await database.run(first, outcome: "retry", reason: "http_500") }
            try await database.run(first, outcome: "park", reason: "message_refused")
            // To the same person: one is sent, one waits.
            func another(_ number: Int) throws -> SendJob {
                try SendJob(
                    line: LineID("acme-1"),
                    key: IdempotencyKey("order:acme.\(number):later"),
                    to: notice(1).to,
                    body: "Later.",
                    purpose: .order
                )
            }
            let sent = try await database.accept([another(2)]).compactMap(\.job)
            try await database.run(sent)
            let waiting = try await database.accept([another(3)]).compactMap(\.job)
            try await database.run(waiting, outcome: "retry", reason: "http_500")

            let item = try #require(try await Self.decide(database, .replay, first).first)
            #expect(item.verdict == .done && item.overtakenBy == sent && item.behind == 1)
            let row = try await session.query(
                "select state, tries, attempt, parked_at is null from trunkline.jobs where id = $1",
                [.int8(first[0].value)]
            )
            #expect(row.text(0, 0) == "accepted" && row.int4(0, 1) == 0 && row.int4(0, 2) == 4)
            #expect(try await Check.run(session).addsUp)
            // Adopted behind the one that waits.
            try await database.run([])
            let order = try await session.query("select id from trunkline.jobs where place > 0 order by place")
            #expect((0..<order.count).map { order.int8($0, 0) } == [waiting[0].value, first[0].value])
            try await database.run(waiting)
            try await database.run(first)
            let check = try await Check.run(session)
            #expect(check.addsUp, "\(check.findings)")
            #expect(try await Self.decide(database, .replay, first).map(\.verdict) == [.gone])
        }
    }

    @Test("what can never be sent is not replayed; what was cancelled ends so; discarding ends the rest")
    func notReplayed() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let (refused, doubtful) = try await Self.parked(database)
            try await session.query(
                "update trunkline.jobs set send_before = now() - interval '1 minute' where id = $1",
                [.int8(refused[0].value)]
            )
            try await session.query(
                "update trunkline.jobs set cancel_wanted = true where id = $1",
                [.int8(refused[1].value)]
            )
            #expect(try await Self.decide(database, .replay, refused).map(\.verdict) == [.tooLate, .cancelled])
            #expect(try await Self.state(database, refused[1]) == "cancelled")
            #expect(try await Check.run(session).addsUp)
            let discarded = try await Self.decide(database, .discard, [refused[0], doubtful[0]])
            #expect(discarded.map(\.verdict) == [.done, .done])
            #expect(try await Self.state(database, doubtful[0]) == "discarded")
            let story = try #require(try await database.install.stories(doubtful[0].description).first)
            #expect(story.sentence.contains("may have been sent") && !story.sentence.contains("nothing was sent"))
            let check = try await Check.run(session)
            #expect(check.addsUp, "\(check.findings)")
            // Its worker speaks after all.
            try await session.query(
                "select trunkline.settle($1, array[$2::bigint], '{1}', '{sent}', '{null}', '{0}', '{true}', '{null}', '{200}', '{null}')",
                [.uuid([UInt8](repeating: 7, count: 16)), .int8(doubtful[0].value)]
            )
            #expect(try await Self.state(database, doubtful[0]) == "sent")
            #expect(try await Check.run(session).addsUp)
        }
    }

    @Test("a filter counts first, by line, reason and time; a dry run changes nothing")
    func filters() async throws {
        try await AdminDatabase.with { database in
            _ = try await Self.parked(database)
            func run(_ choice: ParkedChoice, isDryRun: Bool) async throws -> [ParkedVerdict: Int] {
                try await database.install.decide(
                    .replay,
                    choice,
                    by: "anna",
                    why: nil,
                    isDryRun: isDryRun
                ) { _ in }.counts
            }
            #expect(
                try await run(.filter(lane: nil, reason: nil, before: nil), isDryRun: true) == [
                    .done: 2, .inDoubt: 2,
                ]
            )
            #expect(
                try await run(.filter(lane: .line(try LineID("other-1")), reason: nil, before: nil), isDryRun: true)
                    == [:]
            )
            let past = Timestamp(microseconds: 0)
            #expect(
                try await run(.filter(lane: .line(try LineID("acme-1")), reason: nil, before: past), isDryRun: true)
                    == [:]
            )
            #expect(try await database.count("jobs where parked_at is not null") == 4)
            #expect(
                try await run(.filter(lane: nil, reason: "message_refused", before: nil), isDryRun: false) == [
                    .done: 2
                ]
            )
            #expect(try await database.count("jobs where parked_at is not null") == 2)
            #expect(try await database.count("actions") == 2)
        }
    }

    @Test("two people and a worker at once: each job has exactly one end, and one decision that counts")
    func races() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let ids = try await database.accept((0..<300).map { try notice($0) }).compactMap(\.job)
            try await database.run(ids, outcome: "park", reason: "message_refused")
            let everything = ParkedChoice.filter(lane: nil, reason: nil, before: nil)
            func decide(_ action: ParkedAction) async throws -> Int {
                try await Operator(databaseURL: database.url, name: "tests").decide(
                    action,
                    everything,
                    by: action.rawValue,
                    why: nil,
                    isDryRun: false
                ) { _ in }.done
            }
            async let replayed = decide(.replay)
            async let discarded = decide(.discard)
            async let again = decide(.replay)
            // A worker goes on with what is put back, in the middle of it.
            for _ in 0..<10 { try await database.run(ids) }
            let counts = try await (replayed, discarded, again)
            #expect(counts.0 + counts.1 + counts.2 == 300)
            try await database.run(ids)
            #expect(try await database.count("jobs") == 0)
            #expect(try await database.count("finished where state = 'discarded'") == Int64(counts.1))
            #expect(try await database.count("finished where state = 'sent'") == Int64(counts.0 + counts.2))
            #expect(try await database.count("actions") == 300)
            let check = try await Check.run(session)
            #expect(check.addsUp, "\(check.findings)")
        }
    }

    @Test("a decision whose reply was lost is given again and changes nothing more")
    func lostReply() async throws {
        try await AdminDatabase.with { database in
            let (refused, _) = try await Self.parked(database)
            for _ in 0..<2 {
                let rows = try await database.session.query(
                    "select verdict from trunkline.parked('discard', $1, '00000000-0000-0000-0000-000000000001', 'anna', null)",
                    [.int8Array(refused.map(\.value))]
                )
                #expect((0..<rows.count).map { rows.text($0, 0) } == ["done", "done"])
            }
            #expect(try await database.count("actions") == 2)
            #expect(try await Check.run(database.session).addsUp)
        }
    }

    @Test("a refused message is accepted when its reason is gone; given twice it does nothing twice")
    func refusals() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            #expect(try await database.accept([notice(1, line: "new-1")]) == [.unknownLane])
            try await session.script(
                """
                insert into trunkline.refusals (via, kind, reason, digest, raw, raw_length) values
                    ('amqp', 'unknown_schema', 'newer', sha256('a'), '{"schema":"trunkline.send.v9"}', 29),
                    ('amqp', 'too_large', 'cut', sha256('b'), 'x', 100000)
                """
            )
            func replay(isDryRun: Bool = false) async throws -> [Int64: RefusalReplay.Verdict] {
                let rows = try await session.query("select id from trunkline.refusals order by id")
                var verdicts: [Int64: RefusalReplay.Verdict] = [:]
                _ = try await database.install.replayRefusals(
                    .named((0..<rows.count).compactMap { rows.int8($0, 0) }),
                    by: "anna@desk",
                    why: "the line is there",
                    isDryRun: isDryRun,
                    carriers: .standard,
                    events: .standard
                ) { verdicts[$0.id] = $0.verdict }
                return verdicts
            }
            func isRefused(_ verdict: RefusalReplay.Verdict?) -> Bool {
                if case .refused = verdict { true } else { false }
            }
            let first = try await replay()
            #expect(first.count == 3 && first.values.allSatisfy(isRefused), "\(first)")
            // Looking at it was no new arrival.
            #expect(try await session.query("select sum(times)::int8 from trunkline.refusals").int8(0, 0) == 3)
            try await database.addLine("new-1", workspace: "acme")
            let readable = try await replay(isDryRun: true)
            #expect(readable.values.contains(.accepted(nil)))
            #expect(try await database.count("jobs") == 0)
            let second = try await replay()
            let id = try #require(second.keys.min())
            guard case .accepted(let job?) = second[id] else {
                Issue.record("\(second)")
                return
            }
            #expect(try await database.count("jobs") == 1)
            #expect(second.filter { isRefused($0.value) }.count == 2)
            #expect(try await replay()[id] == .done(job))
            // The reply of the mark was lost: its key is known.
            try await session.query("update trunkline.refusals set replayed_at = null, replayed_job = null")
            #expect(try await replay()[id] == .accepted(job))
            #expect(try await database.count("jobs") == 1)
            let story = try #require(try await database.install.stories(job.description).first)
            #expect(story.actions.first?.words == "accepted from a refusal by anna@desk: the line is there")
            #expect(try await Check.run(session).addsUp)
        }
    }
}
