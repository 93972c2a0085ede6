import PostgresDriver
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// Received events, straight at the functions.
enum EventsKit {
    static let boot = BootID(bytes: Array(repeating: 7, count: 16))

    struct Accepted: Hashable {
        let verdict: EventVerdict
        let job: Int64?
    }

    static func named(_ key: String, _ body: String, of source: String, order: String = "one") throws -> NamedEvent {
        let event = try WebhookJob(
            source: SourceID(source),
            headers: [("Content-Type", "application/json"), ("webhook-id", key), ("X-Two", "a"), ("X-Two", "b")],
            body: Array(body.utf8),
            receivedAt: Timestamp(microseconds: 1_780_000_000_000_000)
        )
        return NamedEvent(event, EventName(key: EventKey(key), orderingName: order))
    }

    static func accept(
        _ events: [(key: String, body: String)],
        of source: String,
        _ database: AdminDatabase
    ) async throws -> [Accepted] {
        let named = try events.map { try Self.named($0.key, $0.body, of: source) }
        let rows = try await database.session.query(
            Statements.acceptEvents.sql,
            Statements.parameters(of: named)
        )
        return EventAnswer.all(rows).sorted { $0.item < $1.item }.map { Accepted(verdict: $0.verdict, job: $0.job) }
    }

    /// Adopts everything and claims every event that can be, as the one owner of all shards; yields the attempts.
    static func claim(_ database: AdminDatabase) async throws -> [EventAttempt] {
        let session = database.session
        try await session.query("update trunkline.shards set owner = $1, fence = 1", [.uuid(boot.bytes)])
        let owner: [PostgresParameter] = [
            .uuid(boot.bytes), .int4(16), .int4Array((0..<16).map { $0 }),
            .int8Array([Int64?](repeating: 1, count: 16)),
        ]
        try await session.query("select * from trunkline.adopt($1, $2, $3, $4, 0, 1000, 0)", owner)
        let rows = try await session.query(
            """
            select c.job, c.attempt, substring(n.name from 8), convert_from(c.request, 'UTF8'), c.verdict
            from trunkline.claim($1, $2, $3, $4, 30000,
                array(select id from trunkline.jobs where state = 'waiting' and recipient is null order by id), '{}', '{}') c
            join trunkline.jobs j on j.id = c.job join trunkline.lanes n on n.number = j.lane
            where c.verdict = 'claimed_quietly' order by c.job
            """,
            owner
        )
        return try (0..<rows.count).map { row in
            EventAttempt(
                job: rows.int8(row, 0) ?? 0,
                attempt: rows.int4(row, 1) ?? 0,
                source: try SourceID(rows.text(row, 2) ?? ""),
                key: rows.text(row, 3) ?? ""
            )
        }
    }

    static func load(_ attempts: [EventAttempt], _ database: AdminDatabase) async throws -> [LoadedEvent] {
        LoadedEvent.all(
            try await database.session.query(
                Statements.loadEvents.sql.replacing(
                    "unnest($1, $2, $3)",
                    with: "unnest($1::int8[], $2::text[], $3::text[])"
                ),
                [
                    .int8Array(attempts.map(\.job)), .textArray(attempts.map(\.source.value)),
                    .textArray(attempts.map(\.key)),
                ]
            )
        )
    }

    static func run(_ runs: [EventRun], _ session: PostgresSession) async throws -> [SettleAnswer] {
        try await commit(runs, session).settled
    }

    static func commit(_ runs: [EventRun], _ session: PostgresSession) async throws -> EventRunAnswer {
        EventRunAnswer(
            try await session.query(
                Statements.runEvents.sql,
                [.uuid(boot.bytes)] + Statements.parameters(of: runs)
            )
        )
    }

    /// Runs everything that can be claimed, by the program's own reader.
    static func runAll(_ database: AdminDatabase) async throws -> [SettleAnswer] {
        let attempts = try await claim(database)
        let loaded = try await load(attempts, database)
        let runs = attempts.compactMap { attempt -> EventRun? in
            guard let event = loaded.first(where: { $0.job == attempt.job }) else { return nil }
            let runner = FactsRunner.standard
            switch runner.run(runner.read(event.event), knowing: EventKnowledge(), now: .now) {
            case .planned(let plan): return done(attempt, plan)
            case .ignored(let why): return done(attempt, EventPlan(), .ignored, why.rawValue)
            default: return done(attempt, EventPlan(), .ignored, "unreadable")
            }
        }
        return try await run(runs, database.session)
    }

    static func done(
        _ attempt: EventAttempt,
        _ plan: EventPlan,
        _ word: EventRun.Word = .planned,
        _ reason: String? = nil
    ) -> EventRun {
        EventRun(
            attempt: attempt,
            workspace: try! WorkspaceID("acme"),
            word: word,
            reason: reason,
            plan: plan,
            requests: plan.notices.map { try! EZWhatsAppCarrier().render(.send($0.job)) }
        )
    }

    static func plan(_ name: String, minute: Int = 0) throws -> EventPlan {
        let at = Timestamp(microseconds: 1_764_579_600_000_000 + Int64(minute) * 60_000_000)
        return EventPlan(
            contacts: [.init(try PhoneNumber("+34600111222"), try ContactFacts(factAt: at, name: name))],
            orders: [.init(try OrderID("shop.1"), try OrderFacts(factAt: at, state: name))]
        )
    }
}
