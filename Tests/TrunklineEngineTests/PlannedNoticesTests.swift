import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// What follows from events, in the commit in which they end: notices once, cancellations first, and what people are told.
@Suite struct PlannedNoticesTests {
    private static let noon = Timestamp(rfc3339: "2026-12-01T12:00:00Z")!

    private static func withShop<R>(_ body: (AdminDatabase) async throws -> R) async throws -> R {
        try await AdminDatabase.with { database in
            try await database.addSource("shop", workspace: "acme")
            return try await body(database)
        }
    }

    /// Accepts events of records of their own, claims them, and runs each with its plan.
    private static func run(_ plans: [(key: String, plan: EventPlan)], _ database: AdminDatabase) async throws
        -> EventRunAnswer
    {
        let runs = try await begin(plans, database)
        return try await EventsKit.commit(runs, database.session)
    }

    private static func begin(_ plans: [(key: String, plan: EventPlan)], _ database: AdminDatabase) async throws
        -> [EventRun]
    {
        let events = try plans.map { try EventsKit.named($0.key, "{}", of: "shop", order: $0.key) }
        try await database.session.query(Statements.acceptEvents.sql, Statements.parameters(of: events))
        return try await EventsKit.claim(database).compactMap { attempt in
            plans.first { $0.key == attempt.key }.map { EventsKit.done(attempt, $0.plan) }
        }
    }

    private static func notice(
        _ key: String,
        line: String = "acme-1",
        body: String = "Ready.",
        moment: String = "order.ready",
        minute: Int64 = 0,
        supersedes: Bool = false,
        once: String? = nil
    ) throws -> EventPlan.Notice {
        let subject = key.split(separator: ":").prefix(2).joined(separator: ":")
        return .init(
            rule: "sources.shop.rules[0]",
            moment: moment,
            subject: subject,
            job: try SendJob(
                line: LineID(line),
                key: IdempotencyKey(key),
                to: PhoneNumber("+34600111222"),
                body: body,
                purpose: .order,
                supersedeKey: supersedes ? subject : nil,
                factAt: noon + .seconds(minute * 60),
                tags: ["order": "#1"]
            ),
            trackingNumber: "PQ1",
            once: once
        )
    }

    private static func plan(_ notices: EventPlan.Notice...) -> EventPlan {
        var plan = EventPlan()
        plan.notices = notices
        return plan
    }

    private static func cancellation(
        _ subject: String,
        keys: [String] = [],
        keeping: [String] = [],
        minute: Int64 = 0
    ) throws -> EventPlan.Cancellation {
        .init(
            subject: subject,
            patterns: [subject + ":*"],
            keys: try keys.map { try IdempotencyKey($0) },
            keeping: try keeping.map { try IdempotencyKey($0) },
            factAt: noon + .seconds(minute * 60)
        )
    }

    /// `rule key verdict` of each notice that stands with an event.
    private static func verdicts(_ event: String, _ database: AdminDatabase) async throws -> [String] {
        let rows = try await database.session.query(
            """
            select (n ->> 'key') || ' ' || (n ->> 'verdict') from trunkline.inbox, jsonb_array_elements(plan -> 'notices') n
            where event_key = $1 order by 1
            """,
            [.text(event)]
        )
        return (0..<rows.count).compactMap { rows.text($0, 0) }
    }

    @Test func aNoticeIsTheJobThatAcceptWouldHaveMade() async throws {
        try await Self.withShop { database in
            let notice = try Self.notice("order:shop.1:ready", supersedes: true)
            let answer = try await Self.run([("a", Self.plan(notice))], database)
            #expect(answer.settled.map(\.verdict) == [.sent] && answer.made.count == 1)
            let lane = try await database.session.query("select number from trunkline.lanes where name = 'line:acme-1'")
            #expect(answer.made.first?.lane == lane.int4(0, 0))
            // Given by a person it is the same notice.
            let again = try await database.accept([notice.job])
            #expect(again.first?.isRepeat == true && again.first?.job?.value == answer.made.first?.job)
            #expect(
                try await database.count("jobs where state = 'accepted' and place = 0 and tags ->> 'order' = '#1'") == 1
            )
            #expect(try await database.count("facts where supersede_key = 'order:shop.1'") == 1)
            let remembered = """
                planned_notices where workspace = 'acme' and source = 'shop' and event_key = 'a' and moment = 'order.ready'
                and line = 'acme-1' and subject = 'order:shop.1' and supersede_key = 'order:shop.1' and tracking_number = 'PQ1'
                and job is not null
                """
            #expect(try await database.count(remembered) == 1)
            #expect(try await Self.verdicts("a", database) == ["order:shop.1:ready new"])
        }
    }

    @Test func whatWasPlannedIsNotSentASecondTimeOnAnyLine() async throws {
        try await Self.withShop { database in
            _ = try await Self.run([("a", Self.plan(try Self.notice("order:shop.1:ready")))], database)
            // Other rules: another line, another text.
            let other = try Self.notice("order:shop.1:ready", line: "acme-2", body: "Come.")
            let answer = try await Self.run([("b", Self.plan(other))], database)
            #expect(answer.made.isEmpty && answer.settled.map(\.verdict) == [.sent])
            #expect(try await Self.verdicts("b", database) == ["order:shop.1:ready repeat"])
            #expect(try await database.count("jobs where recipient is not null") == 1)
        }
    }

    @Test func whatCannotBeSentFailsAloneAndIsPlannedAgainLater() async throws {
        try await Self.withShop { database in
            _ = try await database.accept([try Self.notice("order:acme.1:ready").job])
            let plan = Self.plan(
                try Self.notice("order:shop.1:ready", line: "nobody"),
                try Self.notice("order:shop.1:paid", line: "other-1"),
                try Self.notice("order:acme.1:ready", body: "Something else."),
                try Self.notice("order:shop.1:shipped")
            )
            let answer = try await Self.run([("a", plan)], database)
            #expect(answer.settled.map(\.verdict) == [.sent] && answer.made.count == 1)
            #expect(
                try await Self.verdicts("a", database) == [
                    "order:acme.1:ready conflict", "order:shop.1:paid unknown_lane",
                    "order:shop.1:ready unknown_lane", "order:shop.1:shipped new",
                ]
            )
            #expect(try await database.count("planned_notices") == 1)
            let mended = Self.plan(try Self.notice("order:shop.1:ready"), try Self.notice("order:shop.1:shipped"))
            #expect(try await Self.run([("b", mended)], database).made.count == 1)
            #expect(
                try await Self.verdicts("b", database) == ["order:shop.1:ready new", "order:shop.1:shipped repeat"]
            )
        }
    }

    @Test func eventsBesideEachOtherSendOneFirstTouch() async throws {
        try await Self.withShop { database in
            let plans = try (1...4).map { number in
                let touch = try Self.notice("lead:shop.\(number):first-touch", moment: "lead.created", once: "one:day")
                return (key: "e\(number)", plan: Self.plan(touch))
            }
            let runs = try await Self.begin(plans, database)
            #expect(runs.count == 4)
            let made = try await withThrowingTaskGroup(of: Int.self) { group in
                for run in runs {
                    group.addTask {
                        try await PostgresSession.withSession(url: database.url, applicationName: "tests") { session in
                            try await EventsKit.commit([run], session).made.count
                        }
                    }
                }
                return try await group.reduce(0, +)
            }
            #expect(made == 1)
            #expect(try await database.count("planned_notices") == 1)
            #expect(try await database.count("jobs where recipient is not null") == 1)
            #expect(try await database.count("inbox where plan -> 'notices' -> 0 ->> 'verdict' = 'once'") == 3)
            // In one commit it is the same.
            let more = try (5...6).map { number in
                let touch = try Self.notice("lead:shop.\(number):first-touch", moment: "lead.created", once: "two:day")
                return (key: "e\(number)", plan: Self.plan(touch))
            }
            #expect(try await Self.run(more, database).made.count == 1)
        }
    }

    @Test func anEventCancelsOnlyWhatIsOlderOfItsRecordAndHasNotBegun() async throws {
        try await Self.withShop { database in
            let first = Self.plan(
                try Self.notice("order:shop.1:confirmed"),
                try Self.notice("order:shop.1:paid"),
                try Self.notice("order:shop.1:ready", minute: 9),
                try Self.notice("order:shop.2:paid"),
                try Self.notice("order:shop.1:shipped")
            )
            let made = try await Self.run([("a", first)], database).made
            #expect(made.count == 5)
            // One is in an attempt, and one is somebody else's.
            try await database.session.query(
                """
                update trunkline.jobs set state = 'sending', place = id, attempt = 1, tries = 1, claimed_at = now(), lease_until = now(),
                    claimed_by = gen_random_uuid() where key = 'order:shop.1:paid'
                """
            )
            _ = try await database.accept([
                try SendJob(
                    line: LineID("acme-1"),
                    key: IdempotencyKey("order:shop.1:by-hand"),
                    to: PhoneNumber("+34600111222"),
                    body: "x",
                    purpose: .order
                )
            ])
            var plan = Self.plan(try Self.notice("order:shop.1:cancelled", minute: 5))
            plan.cancellations = [
                try Self.cancellation("order:shop.1", keeping: ["order:shop.1:shipped"], minute: 5)
            ]
            #expect(try await Self.run([("b", plan)], database).made.count == 1)
            let left = try await database.session.query(
                "select string_agg(key, ' ' order by key) from trunkline.jobs where recipient is not null"
            )
            #expect(
                left.text(0, 0)
                    == "order:shop.1:by-hand order:shop.1:cancelled order:shop.1:paid order:shop.1:ready order:shop.1:shipped order:shop.2:paid"
            )
            #expect(
                try await database.count("finished where state = 'cancelled' and key = 'order:shop.1:confirmed'") == 1
            )
            #expect(try await database.count("jobs where cancel_wanted and key = 'order:shop.1:paid'") == 1)
            let cancelled = try await database.session.query(
                "select plan -> 'cancelled' from trunkline.inbox where event_key = 'b'"
            ).text(0, 0)
            #expect(
                cancelled
                    == #"[{"key": "order:shop.1:confirmed", "verdict": "cancelled"}, {"key": "order:shop.1:paid", "verdict": "in_the_air"}]"#
            )
            let check = try await Check.run(database.session)
            #expect(check.addsUp, "\(check)")
        }
    }

    @Test func whatAnotherEventOfTheSameCommitHasPlannedIsCancelledToo() async throws {
        try await Self.withShop { database in
            var moved = EventPlan()
            moved.cancellations = [try Self.cancellation("appointment:shop.old", minute: 5)]
            moved.notices = [try Self.notice("appointment:shop.new:moved", minute: 5)]
            let booked = Self.plan(try Self.notice("appointment:shop.old:24h"))
            let runs = try await Self.begin([("a", moved), ("b", booked)], database)
            #expect(runs.count == 2)
            #expect(try await EventsKit.commit(runs, database.session).made.count == 2)
            #expect(
                try await database.count("finished where state = 'cancelled' and key = 'appointment:shop.old:24h'") == 1
            )
            #expect(try await database.count("jobs where recipient is not null") == 1)
            let known = try await Self.know(
                database,
                EventNeeds(subjects: ["appointment:shop.old", "appointment:shop.new"])
            )
            #expect(known?.notices.map(\.isCancelled) == [false, true])
        }
    }

    @Test func aKeyWithoutThePatternIsCancelledByItself() async throws {
        try await Self.withShop { database in
            var long = try Self.notice("order:shop.1:ready")
            long = .init(
                rule: long.rule,
                moment: long.moment,
                subject: "order:shop.9",
                job: long.job
            )
            _ = try await Self.run([("a", Self.plan(long))], database)
            var plan = EventPlan()
            plan.cancellations = [try Self.cancellation("order:shop.9")]
            _ = try await Self.run([("b", plan)], database)
            #expect(try await database.count("finished where state = 'cancelled'") == 0)
            plan.cancellations = [try Self.cancellation("order:shop.9", keys: ["order:shop.1:ready"])]
            _ = try await Self.run([("c", plan)], database)
            #expect(try await database.count("finished where state = 'cancelled'") == 1)
        }
    }

    @Test func theNewerFactOfARecordStaysOnTopWhicheverComesFirst() async throws {
        try await Self.withShop { database in
            func keep(_ event: String, _ facts: [(String, String)], minute: Int64, ends: Bool = false) async throws {
                var plan = EventPlan()
                plan.records = [
                    .init(
                        subject: "order:shop.1",
                        facts: .object(facts.map { .init($0.0, .string($0.1)) }),
                        at: Self.noon + .seconds(minute * 60),
                        ends: ends
                    )
                ]
                _ = try await Self.run([(event, plan)], database)
            }
            try await keep("a", [("state", "shipped"), ("number", "#1")], minute: 5)
            try await keep("b", [("state", "paid"), ("phone", "+34600111222")], minute: 1, ends: true)
            try await keep("c", [("state", "delivered")], minute: 9)
            let known = try #require(try await Self.know(database, EventNeeds(subjects: ["order:shop.1"])))
            let record = try #require(known.records["order:shop.1"])
            #expect(record.facts["state"]?.text == "delivered" && record.facts["number"]?.text == "#1")
            #expect(record.factAt == Self.noon + .seconds(540) && record.endedAt == Self.noon + .seconds(60))
        }
    }

    private static func know(
        _ database: AdminDatabase,
        _ needs: EventNeeds,
        rules: [EventKnowledge.Rules] = []
    ) async throws -> EventKnowledge? {
        let acme = try WorkspaceID("acme")
        let types = ["text[]", "text[]", "text[]", "text[]", "text[]", "text[]", "text[]", "int8[]"]
        var sql = Statements.knowledge.sql
        for (index, type) in types.enumerated() {
            sql = sql.replacing("$\(index + 1)", with: "$\(index + 1)::\(type)")
        }
        let rows = try await database.session.query(sql, Statements.parameters(of: [(acme, needs)], rules: rules))
        return EventKnowledge.all(rows, known: rules)[acme]
    }

    @Test func whatIsKnownIsReadTogether() async throws {
        try await Self.withShop { database in
            #expect(try await Self.know(database, EventNeeds(phones: [try PhoneNumber("+34600111222")])) == nil)
            try await database.session.query(
                """
                insert into trunkline.rules (workspace, text, digest)
                select w, t, sha256(t::bytea) from (values ('acme', 'old'), ('acme', 'new'), ('other', 'theirs')) v (w, t)
                """
            )
            let touch = try Self.notice("lead:shop.7:first-touch", moment: "lead.created", once: "one:day")
            let facts = try EventsKit.plan("Marta")
            var plan = Self.plan(try Self.notice("order:shop.1:ready"), touch)
            plan.contacts = facts.contacts
            plan.orders = [
                .init(
                    try OrderID("shop.1"),
                    try OrderFacts(factAt: Self.noon, phone: PhoneNumber("+34600111222"), state: "cancelled")
                )
            ]
            _ = try await Self.run([("a", plan)], database)
            // Whose order it is stands in the order.
            let needs = EventNeeds(orders: [try OrderID("shop.1")], subjects: ["order:shop.1"])
            let known = try #require(try await Self.know(database, needs))
            #expect(known.contacts[try PhoneNumber("+34600111222")]?.name == "Marta")
            let order = try #require(known.orders[try OrderID("shop.1")])
            #expect(order.facts.state == "cancelled" && order.stateAt == Self.noon)
            #expect(known.notices.map(\.key) == ["lead:shop.7:first-touch", "order:shop.1:ready"])
            #expect(known.notices.map(\.isWaiting) == [true, true])
            #expect(known.notices[1].factAt == Self.noon && known.notices[1].trackingNumber == "PQ1")
            let rules = try #require(known.rules)
            #expect(rules.text == "new")
            // Rules that the worker has are not sent again.
            let kept = EventKnowledge.Rules(revision: rules.revision, text: "as it has them")
            #expect(try await Self.know(database, needs, rules: [kept])?.rules == kept)
        }
    }

    @Test func refusalsByPolicyAreWrittenDownOncePerEvent() async throws {
        try await Self.withShop { database in
            var plan = EventPlan()
            plan.refused = [.init(.coldOutbound, rule: "sources.shop.rules[0]"), .init(.group, rule: nil)]
            plan.words = [.init(.failed, rule: "sources.shop.rules[1]", "it needs first_name")]
            plan.rules = 7
            _ = try await Self.run([("a", plan)], database)
            try await database.session.query(
                "select * from trunkline.replay_events('shop', array['a'], array[1]::int8[])"
            )
            let again = try await EventsKit.claim(database).map { EventsKit.done($0, plan) }
            _ = try await EventsKit.commit(again, database.session)
            #expect(try await database.count("policy_decisions where workspace = 'acme' and event_key = 'a'") == 2)
            #expect(try await database.count("policy_decisions where ask = 'cold_outbound' and rule like '%[0]'") == 1)
            let said = try await database.session.query(
                "select plan ->> 'rules', plan -> 'said' -> 0 ->> 'words' from trunkline.inbox"
            )
            #expect(said.text(0, 0) == "7" && said.text(0, 1) == "it needs first_name")
        }
    }
}
