import Foundation
import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// Received events through real workers: each is run once, whatever happens to the worker that runs it.
@Suite struct EventTests {

    /// An order of the shop, as `custom` sources post it. Minutes go up with the revision.
    private static func event(
        _ number: Int,
        state: String = "order.paid",
        revision: Int = 0,
        phone: String = "+34600111222",
        source: String = "shop"
    ) throws -> [UInt8] {
        let body = """
            {"type":"\(state)","occurred_at":"2026-11-01T12:\(10 + revision):00Z","object":{"id":"\(number)","number":"#\(number)"},\
            "customer":{"phone":"\(phone)","name":"Marta \(number)"}}
            """
        return try WebhookJob(
            source: SourceID(source),
            headers: [("Content-Type", "application/json"), ("webhook-id", "\(number).\(state).\(revision)")],
            body: Array(body.utf8),
            receivedAt: Timestamp(rfc3339: "2026-11-01T12:59:00Z")!
        ).encode()
    }

    private func waitUntilRun(_ count: Int, _ install: TestInstall) async throws {
        try await install.wait(for: "\(count) events run, none unfinished", within: .seconds(150)) {
            let ran = try await install.number("select count(*) from trunkline.inbox where ran_job is not null")
            let unfinished = try await install.number("select count(*) from trunkline.jobs")
            return ran == Int64(count) && unfinished == 0
        }
    }

    /// What any number of deliveries of the same events must have left behind.
    private func requireOnce(orders: Int, _ install: TestInstall) async throws {
        #expect(
            try await install.number("select count(*) from trunkline.orders where facts ->> 'state' = 'paid'") == orders
        )
        #expect(try await install.number("select count(*) from trunkline.finished") == orders)
        #expect(try await install.number("select count(*) from trunkline.finished where state <> 'sent'") == 0)
        try await install.trunkline(["check"]).requireSuccess()
    }

    @Test func anEventGivenTwiceThroughTwoWorkersIsRunOnce() async throws {
        try await TestInstall.with { install in
            try await install.addSource("shop")
            _ = try install.startWorker()
            _ = try install.startWorker()
            let events = try (1...60).map { try Self.event($0) }
            try await install.publish(raw: (events + events).map { ("webhook", $0) })
            try await waitUntilRun(60, install)
            try await install.wait(for: "60 repeats counted") {
                try await install.number("select sum(repeats)::bigint from trunkline.inbox") == 60
            }
            try await requireOnce(orders: 60, install)
            #expect(try await install.number("select count(*) from trunkline.contacts") == 1)
        }
    }

    @Test(arguments: CrashTests.steps)
    func aKilledWorkersEventsAreRunOnceByAnother(step: String) async throws {
        try await TestInstall.with { install in
            try await install.addSource("shop")
            let victim = try install.startWorker(["TRUNKLINE_CRASH_AT": "\(step):20"])
            try await install.publish(raw: try (1...60).map { ("webhook", try Self.event($0)) })
            try await install.wait(for: "the crash at \(step)", within: .seconds(120)) { !victim.isRunning }
            _ = try install.startWorker()
            try await waitUntilRun(60, install)
            try await requireOnce(orders: 60, install)
        }
    }

    @Test func whatAFrozenWorkerHadBegunIsRunOnce() async throws {
        try await TestInstall.with { install in
            try await install.addSource("shop")
            let victim = try install.startWorker(["TRUNKLINE_FREEZE_AT": "answered:20"])
            try await install.publish(raw: try (1...60).map { ("webhook", try Self.event($0)) })
            try await install.wait(for: "the worker that stands still", within: .seconds(120)) { victim.isFrozen }
            _ = try install.startWorker()
            try await waitUntilRun(60, install)
            victim.thaw()
            // It sees that it is not the owner any more, and ends well when it is told to.
            victim.send(15)
            try await install.wait(for: "the end of the first worker", within: .seconds(60)) { !victim.isRunning }
            try await requireOnce(orders: 60, install)
        }
    }

    @Test func eventsOfOneOrderRunInTheirOrderAndTheNewestFactStays() async throws {
        try await TestInstall.with { install in
            try await install.addSource("shop")
            let words = ["order.confirmed", "order.paid", "order.shipped", "order.delivered"]
            var messages: [(String, [UInt8])] = []
            for (revision, word) in words.enumerated() {
                for number in 1...10 {
                    messages.append(("webhook", try Self.event(number, state: word, revision: revision)))
                }
            }
            // An older fact comes last.
            messages.append(("webhook", try Self.event(3, state: "order.ready", revision: 1)))
            _ = try install.startWorker()
            try await install.publish(raw: messages)
            try await waitUntilRun(41, install)
            #expect(
                try await install.number("select count(*) from trunkline.orders where facts ->> 'state' = 'delivered'")
                    == 10
            )
            // Begun in the order in which they were accepted.
            let disorder = try await install.number(
                """
                select count(*) from trunkline.finished a join trunkline.finished b
                    on b.lane = a.lane and b.person = a.person and b.id > a.id and b.claimed_at < a.claimed_at
                """
            )
            #expect(disorder == 0)
        }
    }

    @Test func whatCannotBeReadIsParkedAndOthersGoOn() async throws {
        try await TestInstall.with { install in
            try await install.addSource("shop")
            _ = try install.startWorker()
            func raw(_ id: String, _ body: String) throws -> (String, [UInt8]) {
                let event = try WebhookJob(
                    source: SourceID("shop"),
                    headers: [("webhook-id", id)],
                    body: Array(body.utf8),
                    receivedAt: Timestamp(rfc3339: "2026-11-01T12:59:00Z")!
                )
                return ("webhook", event.encode())
            }
            try await install.publish(raw: [
                try raw("bad", "{not json"), try raw("nothing", #"{"type":"weather.changed"}"#),
                try raw("group", #"{"type":"group.message"}"#), ("webhook", try Self.event(1)),
            ])
            try await install.wait(for: "one parked, three run") {
                let parked = try await install.number("select count(*) from trunkline.jobs where state = 'parked'")
                let ran = try await install.number("select count(*) from trunkline.inbox where ran_job is not null")
                return parked == 1 && ran == 3
            }
            #expect(try await install.text("select reason from trunkline.jobs") == "event_unreadable")
            #expect(
                try await install.text(
                    "select outcome || ' ' || reason from trunkline.inbox where event_key = 'webhook-id:nothing'"
                )
                    == "ignored unknown_topic"
            )
            #expect(
                try await install.text(
                    "select outcome || ' ' || reason from trunkline.inbox where event_key = 'webhook-id:group'"
                )
                    == "refused group"
            )
            let parked = try await install.trunkline(["parked", "list", "--source", "shop", "--json"]).requireSuccess()
            #expect(parked.output.contains("event_unreadable"))
            try await install.trunkline(["check"]).requireSuccess()
            let listed = try await install.trunkline(["events", "list", "--source", "shop"]).requireSuccess().output
            #expect(listed.contains("parked") && listed.contains("ignored") && !listed.contains("600111222"))
            let shown = try await install.trunkline(["events", "show", "shop", "webhook-id:group"]).requireSuccess()
                .output
            #expect(shown.contains("only single phone numbers get notices") && shown.contains("webhook-id"))
            let raw = try await install.trunkline(["events", "show", "shop", "webhook-id:bad", "--raw"])
                .requireSuccess()
            #expect(raw.output == "{not json")
            // Its life in one sentence.
            let key = try #require(try await install.text("select key from trunkline.finished limit 1"))
            #expect(try await install.trunkline(["why", key]).requireSuccess().output.contains("It was run at"))
        }
    }

    @Test func aHeldSourceStoresAndRunsNothingUntilItIsResumed() async throws {
        try await TestInstall.with { install in
            try await install.addSource("shop")
            try await install.trunkline(["source", "hold", "shop", "--reason", "they move"]).requireSuccess()
            _ = try install.startWorker()
            try await install.publish(raw: try (1...5).map { ("webhook", try Self.event($0)) })
            try await install.wait(for: "five stored, placed and waiting") {
                try await install.number("select count(*) from trunkline.jobs where state = 'waiting'") == 5
            }
            #expect(try await install.number("select count(*) from trunkline.orders") == 0)
            try await install.trunkline(["source", "resume", "shop"]).requireSuccess()
            try await waitUntilRun(5, install)
            try await requireOnce(orders: 5, install)
        }
    }

    /// What a person has run anew is a job of its own, and does nothing twice.
    @Test func aReplayRunsAgainAndChangesNothing() async throws {
        try await TestInstall.with { install in
            try await install.addSource("shop")
            _ = try install.startWorker()
            try await install.publish(raw: try (1...5).map { ("webhook", try Self.event($0)) })
            try await waitUntilRun(5, install)
            let before = try await install.text(
                "select string_agg(updated_at::text, ',' order by id) from trunkline.orders"
            )
            let counted = try await install.trunkline(["source", "replay", "shop"]).requireSuccess()
            #expect(counted.errors.contains("5 events; nothing was changed"))
            try await install.trunkline(["source", "replay", "shop", "--yes"]).requireSuccess()
            try await install.wait(for: "ten jobs run") {
                try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 10
            }
            #expect(
                try await install.number("select count(*) from trunkline.inbox where replays = 1 and ran_job = job")
                    == 5
            )
            let after = try await install.text(
                "select string_agg(updated_at::text, ',' order by id) from trunkline.orders"
            )
            #expect(after == before)
            let nobody = try await install.trunkline(["source", "replay", "shop", "--event", "nobody"])
            #expect(nobody.status == 1 && nobody.output.contains("none of that key"))
            try await install.trunkline(["check"]).requireSuccess()
        }
    }

    /// One that nobody knows is refused with its bytes, and given again when its source is there.
    @Test func anEventOfAnUnknownSourceIsRefusedAndGivenAgain() async throws {
        try await TestInstall.with { install in
            _ = try install.startWorker()
            try await install.publish(raw: [("webhook", try Self.event(1))])
            try await install.wait(for: "a refusal") {
                try await install.number("select count(*) from trunkline.refusals where kind = 'unknown_line'") == 1
            }
            try await install.addSource("shop")
            try await install.trunkline(["refusals", "replay", "--source", "shop", "--yes", "--by", "anna"])
                .requireSuccess()
            try await waitUntilRun(1, install)
            try await requireOnce(orders: 1, install)
        }
    }
}
