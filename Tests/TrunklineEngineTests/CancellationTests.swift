import PostgresDriver
import Testing
import TrunklineCore

@testable import TrunklineEngine

@Suite("Cancelling and rescheduling")
struct CancellationTests {
    private static func cancel(
        _ database: AdminDatabase,
        _ pattern: String,
        workspace: String? = nil,
        isDryRun: Bool = false
    ) async throws -> (words: [String: String], report: Cancellation.Report) {
        var words: [String: String] = [:]
        let report = try await database.install.cancel(
            KeyPattern(pattern),
            in: workspace.map { .workspace(try WorkspaceID($0)) },
            isDryRun: isDryRun
        ) { items in
            for item in items {
                #expect(words[item.key] == nil, "a job is told of once")
                words[item.key] = "\(item.verdict)"
            }
        }
        return (words, report)
    }

    private static func state(_ database: AdminDatabase, _ job: JobID) async throws -> String? {
        try await database.session.query(
            """
            select state from trunkline.jobs where id = $1
            union all select state from trunkline.finished where id = $1
            """,
            [.int8(job.value)]
        ).text(0, 0)
    }

    @Test("a pattern is a key with *, and nothing else is a wildcard")
    func patterns() throws {
        #expect(try KeyPattern("order:a_b.1:*").like == "order:a\\_b.1:%")
        #expect(try KeyPattern("a*b*").like == "a%b%")
        #expect(try KeyPattern("order:1").key == IdempotencyKey("order:1"))
        #expect(try KeyPattern("order:*").key == nil)
        #expect(try KeyPattern("**").isEverything && !KeyPattern("*a").isEverything)
        for bad in ["", "a%", "a\\*", "a?", "ü", "a b", String(repeating: "a", count: 129)] {
            #expect(throws: Refusal.self, "\(bad)") { try KeyPattern(bad) }
        }
    }

    @Test("each state has its verdict, what was cancelled never begins, and everything adds up")
    func verdicts() async throws {
        try await AdminDatabase.with { database in
            let now = Timestamp(microseconds: try await database.session.query("select now()").timestamp(0, 0) ?? 0)
            let jobs = try (0..<8).map { try notice($0) } + [notice(8, notBefore: now + .seconds(86_400))]
            let ids = try await database.accept(jobs).compactMap(\.job)
            try await database.run([ids[1]])
            try await database.run([ids[2]], outcome: "retry", reason: "unreachable")
            try await database.run([ids[3]], outcome: "unknown", reason: "timed_out", mayHaveLeft: true)
            try await database.run([ids[4]], outcome: "park", reason: "message_refused")
            try await database.run([ids[5]], outcome: "park", reason: "conflict", mayHaveLeft: true)
            try await database.run([ids[6]], outcome: "none")
            func key(_ number: Int) -> String { "order:acme.\(number):ready" }
            let expected = [
                key(0): "cancelled", key(1): "ended(\"sent\")", key(2): "cancelled", key(3): "mayHaveBeenSent",
                key(4): "cancelled", key(5): "mayHaveBeenSent", key(6): "inTheAir(attempt: 1)", key(8): "cancelled",
            ]

            let before = try await database.session.query("select sum(id), count(*) from trunkline.jobs").int8(0, 1)
            let dry = try await Self.cancel(database, "order:acme.*", isDryRun: true)
            #expect(dry.words.filter { $0.key != key(7) } == expected)
            #expect(
                try await database.session.query("select sum(id), count(*) from trunkline.jobs").int8(0, 1) == before
            )
            #expect(try await database.count("jobs where cancel_wanted") == 0)

            // By exact key first, then the rest.
            let one = try await Self.cancel(database, key(7))
            #expect(one.words == [key(7): "cancelled"] && one.report.owner?.workspace?.value == "acme")
            let (words, report) = try await Self.cancel(database, "order:acme.*")
            #expect(words == expected.merging([key(7): "ended(\"cancelled\")"]) { $1 })
            #expect(report.cancelled == 4 && report.inTheAir == 1 && report.mayHaveBeenSent == 2 && report.tooLate == 3)
            #expect(report.ended == ["sent": 1, "cancelled": 1] && report.lookedAtAllEnded)
            for number in [0, 2, 4, 7, 8] { #expect(try await Self.state(database, ids[number]) == "cancelled") }
            #expect(try await database.count("ledger where final_state = 'cancelled'") == 5)
            // A claim that its owner had in mind finds nothing.
            try await database.run([ids[0], ids[2], ids[8]])
            #expect(try await database.count("finished where state = 'sent'") == 1)
            let again = try await Self.cancel(database, key(1))
            #expect(again.words == [key(1): "ended(\"sent\")"])
            let nobody = try await Self.cancel(database, "order:nobody")
            #expect(nobody.report.isEmpty)
            let check = try await Check.run(database.session)
            #expect(check.addsUp, "\(check.findings)")
        }
    }

    @Test(
        "an attempt that was cancelled in the air ends as cancelled only if it comes back and cannot have been sent",
        arguments: [
            ("retry", "unreachable", false, "cancelled"), ("given_back", "slow_down", false, "cancelled"),
            ("sent", nil, true, "sent"), ("unknown", "timed_out", true, "unknown"),
        ] as [(String, String?, Bool, String)]
    )
    func inTheAir(outcome: String, reason: String?, mayHaveLeft: Bool, end: String) async throws {
        try await AdminDatabase.with { database in
            let id = try #require(try await database.accept([notice(0)]).first?.job)
            try await database.run([id], outcome: "none")
            let (words, report) = try await Self.cancel(database, "order:acme.0:ready")
            #expect(words.values.first == "inTheAir(attempt: 1)" && report.tooLate == 1)
            let air = try await database.install.stories(id.description).first?.sentence ?? ""
            #expect(air.contains("ends as cancelled if that comes back unsent"), "\(air)")
            let rows = try await database.session.query(
                "select verdict from trunkline.settle($1, $2, '{1}', $3, $4, '{0}', $5, '{null}', '{0}', '{null}')",
                [
                    .uuid(Array(repeating: 7, count: 16)), .int8Array([id.value]), .textArray([outcome]),
                    .textArray([reason]), .boolArray([mayHaveLeft]),
                ]
            )
            #expect(rows.text(0, 0) == end)
            #expect(try await Self.state(database, id) == end)
            let story = try #require(try await database.install.stories(id.description).first)
            if end == "cancelled" {
                #expect(story.sentence.contains("because somebody cancelled it; nothing was sent"))
            }
            if end == "unknown" { #expect(story.sentence.contains("a cancel came too late")) }
            let check = try await Check.run(database.session)
            #expect(check.addsUp, "\(check.findings)")
        }
    }

    @Test("thousands are cancelled chunk by chunk, through a lock that somebody holds longer than a chunk waits")
    func chunks() async throws {
        try await AdminDatabase.with { database in
            let ids = try await database.accept(
                try (0..<1_700).map { try notice($0, line: $0 % 2 == 0 ? "acme-1" : "acme-2") }
            ).compactMap(\.job)
            let locked = ids[900]
            let url = database.url
            try await PostgresSession.withSession(url: url, applicationName: "locker") { locker in
                try await locker.script("begin")
                try await locker.query("select from trunkline.jobs where id = $1 for update", [.int8(locked.value)])
                async let report = Operator(databaseURL: url, name: "trunkline cancel").cancel(
                    KeyPattern("order:acme.*")
                ) { _ in }
                // Until the chunk with that row has failed at least once and stands before it again.
                var waits = Set<Int64>()
                while waits.count < 2 {
                    let seen = try await database.session.query(
                        """
                        select (extract(epoch from query_start) * 1000000)::int8 from pg_stat_activity
                        where application_name = 'trunkline cancel' and wait_event_type = 'Lock' and datname = current_database()
                        """
                    )
                    for row in 0..<seen.count { if let start = seen.int8(row, 0) { waits.insert(start) } }
                    try await Task.sleep(for: .milliseconds(20))
                }
                try await locker.script("commit")
                #expect(try await report.cancelled == 1_700)
            }
            #expect(try await database.count("jobs") == 0)
            #expect(try await database.count("finished where state = 'cancelled' and reason = 'cancelled'") == 1_700)
            let check = try await Check.run(database.session)
            #expect(check.addsUp)
        }
    }

    @Test("what is accepted while a cancel runs is meant too")
    func acceptedMeanwhile() async throws {
        try await AdminDatabase.with { database in
            try await database.session.script("select nextval('trunkline.job_number')")
            _ = try await database.accept([notice(1), notice(2)])
            var isFirst = true
            let report = try await database.install.cancel(KeyPattern("order:*")) { _ in
                guard isFirst else { return }
                isFirst = false
                // A number below the ones that were seen: its commit came late.
                _ = try await database.accept([notice(3)])
                try await database.session.script(
                    "update trunkline.jobs set id = 1; update trunkline.ledger set job = 1 where final_state is null"
                )
            }
            #expect(report.cancelled == 3)
            #expect(try await database.count("jobs") == 0)
        }
    }

    @Test("keys of several workspaces are told apart")
    func workspaces() async throws {
        try await AdminDatabase.with { database in
            _ = try await database.accept([notice(1), notice(1, line: "other-1"), notice(2, line: "other-1")])
            let both = KeyScopeError.several([
                .workspace(try WorkspaceID("acme")), .workspace(try WorkspaceID("other")),
            ])
            for pattern in ["order:acme.1:*", "order:acme.1:ready", "*"] {
                await #expect(throws: both) {
                    try await Self.cancel(database, pattern)
                }
            }
            let nowhere = try WorkspaceID("nowhere")
            await #expect(throws: KeyScopeError.unknown(.workspace(nowhere))) {
                try await Self.cancel(database, "*", workspace: "nowhere")
            }
            #expect(try await database.count("jobs") == 3)
            let theirs = try await Self.cancel(database, "*", workspace: "other")
            #expect(theirs.report.cancelled == 2 && theirs.report.owner?.workspace?.value == "other")
            #expect(try await database.count("jobs") == 1)
            // An underscore is itself.
            let none = try await Self.cancel(database, "order_acme.1:*")
            #expect(none.report.isEmpty)
            let key = try IdempotencyKey("order:acme.1:ready")
            await #expect(throws: both) {
                try await database.install.reschedule(key, of: nil, to: nil)
            }
            _ = try await database.install.reschedule(key, of: .workspace(WorkspaceID("acme")), to: nil)
        }
    }

    @Test("a notice that has not begun gets another time, as often as wanted, and its owner sees it anew")
    func reschedules() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            func now() async throws -> Timestamp {
                Timestamp(microseconds: try await session.query("select now()").timestamp(0, 0) ?? 0)
            }
            let start = try await now()
            let ids = try await database.accept([
                notice(0), notice(1, notBefore: start + .seconds(86_400)),
                notice(2, sendBefore: start + .seconds(3_600)),
            ]).compactMap(\.job)
            func row(_ id: JobID) async throws -> (state: String?, place: Int64?, isScheduled: Bool?) {
                let rows = try await session.query(
                    "select state, place, not_before > now() and due_at = not_before from trunkline.jobs where id = $1",
                    [.int8(id.value)]
                )
                return (rows.text(0, 0), rows.int8(0, 1), rows.bool(0, 2))
            }
            /// What the owner does every second.
            func adopt() async throws {
                try await session.query(
                    "update trunkline.shards set owner = $1, fence = 1",
                    [.uuid(Array(repeating: 7, count: 16))]
                )
                try await session.query(
                    "select * from trunkline.adopt($1, 16, $2, $3, 0, 100, 0)",
                    [
                        .uuid(Array(repeating: 7, count: 16)), .int4Array((0..<16).map { $0 }),
                        .int8Array([Int64?](repeating: 1, count: 16)),
                    ]
                )
            }
            func key(_ number: Int) throws -> IdempotencyKey { try IdempotencyKey("order:acme.\(number):ready") }
            try await adopt()
            #expect(try await row(ids[0]) == ("waiting", ids[0].value, nil))
            #expect(try await row(ids[1]) == ("waiting", -1, true))

            let later = try await database.install.reschedule(key(0), of: nil, to: start + .seconds(7_200))
            #expect(later.job == ids[0] && later.isScheduled && later.notBefore == start + .seconds(7_200))
            #expect(try await row(ids[0]) == ("accepted", 0, true))
            let story = try #require(try await database.install.stories(ids[0].description).first)
            #expect(story.sentence.contains("It is scheduled for") && story.isScheduled)
            try await adopt()
            #expect(try await row(ids[0]) == ("waiting", -1, true))

            // The past is now, by the database's clock.
            let past = try await database.install.reschedule(key(1), of: nil, to: start - .seconds(86_400))
            #expect(!past.isScheduled && past.notBefore >= start)
            let soon = try await database.install.reschedule(key(0), of: nil, to: nil)
            #expect(!soon.isScheduled)
            try await database.run([ids[0], ids[1]])
            #expect(try await Self.state(database, ids[0]) == "sent")
            #expect(try await Self.state(database, ids[1]) == "sent")

            await #expect(throws: RescheduleError.afterSendBefore(start + .seconds(3_600))) {
                try await database.install.reschedule(key(2), of: nil, to: start + .seconds(3_600))
            }
            _ = try await database.install.reschedule(key(2), of: nil, to: start + .seconds(3_599))
            let check = try await Check.run(session)
            #expect(check.addsUp, "\(check.findings)")
        }
    }

    @Test("what has begun keeps its time, in words")
    func tooLateToReschedule() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let ids = try await database.accept((0..<5).map { try notice($0) }).compactMap(\.job)
            try await database.run([ids[0]])
            try await database.run([ids[1]], outcome: "none")
            try await database.run([ids[2]], outcome: "unknown", reason: "timed_out", mayHaveLeft: true)
            try await database.run([ids[3]], outcome: "park", reason: "message_refused")
            try await database.run([ids[4]], outcome: "retry", reason: "unreachable")
            let words = [
                "ended as sent", "attempt 1 of job \(ids[1]) has begun", "may have been sent", "put aside for a person",
                "has had 1 attempt",
            ]
            for (number, word) in words.enumerated() {
                let error = await #expect(throws: RescheduleError.self) {
                    try await database.install.reschedule(
                        IdempotencyKey("order:acme.\(number):ready"),
                        of: nil,
                        to: nil
                    )
                }
                #expect(error?.description.hasPrefix("too late: ") == true && error?.description.contains(word) == true)
                #expect(error?.isRefusal == true)
            }
            // Dropped by retention: the ledger knows.
            try await session.query("delete from trunkline.finished")
            let dropped = try IdempotencyKey("order:acme.0:ready")
            await #expect(throws: RescheduleError.ended(ids[0], state: "sent")) {
                try await database.install.reschedule(dropped, of: nil, to: nil)
            }
            let unknown = try IdempotencyKey("order:nobody")
            await #expect(throws: RescheduleError.unknownKey(unknown)) {
                try await database.install.reschedule(unknown, of: nil, to: nil)
            }
        }
    }
}
