import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// Received events in the database: accepted once, run once.
@Suite struct EventsTests {
    private static func withShop<R>(_ body: (AdminDatabase) async throws -> R) async throws -> R {
        try await AdminDatabase.with { database in
            try await database.addSource("shop", workspace: "acme")
            return try await body(database)
        }
    }

    @Test func onlyANewEventMakesAJob() async throws {
        try await Self.withShop { database in
            let first = try await EventsKit.accept([("a", "1"), ("b", "2"), ("a", "1")], of: "shop", database)
            #expect(first.map(\.verdict) == [.new, .new, .repeat])
            #expect(try await database.count("jobs") == 2)
            let again = try await EventsKit.accept([("b", "2"), ("a", "other"), ("c", "3")], of: "shop", database)
            #expect(again.map(\.verdict) == [.repeat, .conflict, .new])
            #expect(again[0].job == nil && again[2].job != nil)
            #expect(try await database.count("inbox where event_key = 'a' and repeats = 2") == 1)
            #expect(try await database.count("ledger") == 3)
            #expect(try await EventsKit.accept([("a", "1")], of: "nobody", database).map(\.verdict) == [.unknownLane])
            try await database.session.query("update trunkline.lanes set removed_at = now() where name = 'source:shop'")
            let removed = try await EventsKit.accept([("a", "1"), ("d", "4")], of: "shop", database)
            #expect(removed.map(\.verdict) == [.removedLane, .removedLane])
            #expect(try await database.count("inbox") == 3)
        }
    }

    @Test func anEventIsReadBackAsItCame() async throws {
        try await Self.withShop { database in
            _ = try await EventsKit.accept([("a", "bytes")], of: "shop", database)
            let loaded = try await EventsKit.load(try await EventsKit.claim(database), database)
            let event = try #require(loaded.first).event
            #expect(event.source.value == "shop" && event.workspace.value == "acme" && event.kind == "custom")
            #expect(event.key == "a" && event.event.body == Array("bytes".utf8))
            #expect(event.event.receivedAt == Timestamp(microseconds: 1_780_000_000_000_000))
            #expect(event.event.headers.filter { $0.name == "X-Two" }.map(\.value) == ["a", "b"])
            #expect(event.event.header("webhook-id") == "a")
        }
    }

    @Test func whatAnEventSaysIsStoredTogetherWithItsEnd() async throws {
        try await Self.withShop { database in
            _ = try await EventsKit.accept([("a", "1")], of: "shop", database)
            let attempt = try #require(try await EventsKit.claim(database).first)
            let answers = try await EventsKit.run(
                [EventsKit.done(attempt, try EventsKit.plan("Marta"))],
                database.session
            )
            #expect(answers.map(\.verdict) == [.sent])
            #expect(try await database.count("contacts where name = 'Marta' and workspace = 'acme'") == 1)
            #expect(try await database.count("orders where id = 'shop.1'") == 1)
            #expect(try await database.count("finished where state = 'sent' and evidence = 'planned'") == 1)
            #expect(try await database.count("inbox where outcome = 'planned' and ran_job = job") == 1)
        }
    }

    /// A worker that was frozen comes back with what it had read, after another one has run the event and the next one.
    @Test func aJobIsRunOnceWhoeverComesSecond() async throws {
        try await Self.withShop { database in
            _ = try await EventsKit.accept([("a", "1")], of: "shop", database)
            let attempt = try #require(try await EventsKit.claim(database).first)
            let first = EventsKit.done(attempt, try EventsKit.plan("First"))
            _ = try await EventsKit.run([first], database.session)
            let late = EventsKit.done(attempt, try EventsKit.plan("Late", minute: 5))
            #expect(try await EventsKit.run([late], database.session).map(\.verdict) == [.evidence])
            #expect(try await database.count("contacts where name = 'First'") == 1)
            #expect(try await database.count("finished") == 1)
        }
    }

    @Test func twoAtOnceWaitForEachOtherAndOneRuns() async throws {
        try await Self.withShop { database in
            _ = try await EventsKit.accept([("a", "1")], of: "shop", database)
            let attempt = try #require(try await EventsKit.claim(database).first)
            let runs = try (0..<4).map { EventsKit.done(attempt, try EventsKit.plan("Name \($0)", minute: $0)) }
            let verdicts = try await withThrowingTaskGroup(of: [SettleVerdict].self) { group in
                for run in runs {
                    group.addTask {
                        try await PostgresSession.withSession(url: database.url, applicationName: "tests") { session in
                            try await EventsKit.run([run], session).map(\.verdict)
                        }
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(verdicts.filter { $0 == .sent }.count == 1)
            // One fact, of the commit that has marked the event: the later ones were not stored.
            let row = try await database.session.query(
                "select c.xmin::text = b.xmin::text from trunkline.contacts c, trunkline.inbox b"
            )
            #expect(row.count == 1 && row.bool(0, 0) == true)
            #expect(try await database.count("finished") == 1)
        }
    }

    @Test func aJobThatHasEndedOtherwiseDoesNothing() async throws {
        try await Self.withShop { database in
            _ = try await EventsKit.accept([("a", "1")], of: "shop", database)
            let attempt = try #require(try await EventsKit.claim(database).first)
            try await database.session.query(
                "update trunkline.jobs set state = 'waiting' where id = $1",
                [.int8(attempt.job)]
            )
            try await database.session.query("select * from trunkline.cancel('event:%', null, 0, 10)")
            let late = try await EventsKit.run(
                [EventsKit.done(attempt, try EventsKit.plan("Late"))],
                database.session
            )
            #expect(late.map(\.verdict) == [.evidence])
            #expect(try await database.count("contacts") == 0)
            #expect(try await database.count("inbox where ran_job is null") == 1)
        }
    }

    @Test func aReplayIsAJobOfItsOwnAndDoesNothingTwice() async throws {
        try await Self.withShop { database in
            func replay(_ keys: [String]) async throws -> [String?] {
                let rows = try await database.session.query(
                    "select verdict from trunkline.replay_events('shop', $1, $2) order by item",
                    [.textArray(keys), .int8Array(keys.map { _ in 1 })]
                )
                return (0..<rows.count).map { rows.text($0, 0) }
            }
            _ = try await EventsKit.accept([("a", "1"), ("b", "2")], of: "shop", database)
            #expect(try await replay(["a"]) == ["unfinished"])
            for attempt in try await EventsKit.claim(database) {
                _ = try await EventsKit.run([EventsKit.done(attempt, try EventsKit.plan("First"))], database.session)
            }
            // Both are of one record: the second one waited for the first.
            for attempt in try await EventsKit.claim(database) {
                _ = try await EventsKit.run([EventsKit.done(attempt, try EventsKit.plan("First"))], database.session)
            }
            try await database.session.query("update trunkline.inbox set emptied_at = now() where event_key = 'b'")
            #expect(try await replay(["a", "b", "c", "a"]) == ["replayed", "emptied", "unknown_event", "unfinished"])
            #expect(try await replay(["a"]) == ["unfinished"])
            let again = try #require(try await EventsKit.claim(database).first)
            _ = try await EventsKit.run([EventsKit.done(again, try EventsKit.plan("First"))], database.session)
            #expect(try await replay(["a"]) == ["replayed"])
            #expect(try await database.count("ledger") == 4)
            #expect(try await database.count("contacts") == 1)
            #expect(try await database.count("inbox where event_key = 'a' and replays = 2 and ran_job < job") == 1)
        }
    }
}
