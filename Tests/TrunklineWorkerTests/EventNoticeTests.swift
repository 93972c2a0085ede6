import Foundation
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// From a shop's event to the message on somebody's telephone, through real workers: once, whatever happens on the way.
@Suite struct EventNoticeTests {
    /// Of the orders: late enough that nothing of it is stale.
    private static let began = now - .seconds(1_800)
    /// Whole seconds, as senders have them.
    private static var now: Timestamp { Timestamp(microseconds: Int64(Date().timeIntervalSince1970) * 1_000_000) }

    private static let rules = """
        lines: {line-01: {timeZone: Europe/Madrid}, line-02: {}}
        sources:
          shop:
            kind: shopify
            country: ES
            language: es
            templates:
              paid: "Hola {{first_name}}, pedido {{number}} pagado: {{total}}."
              shipped: "Pedido {{number}} en camino{{#tracking_number}}: {{tracking_number}}{{/tracking_number}}."
              cancelled: "Pedido {{number}} cancelado."
              refunded: "{{first_name}}, te devolvimos {{total}} del pedido {{number}}."
            rules:
              - {when: order.paid, send: {line: line-01, template: paid}}
              - {when: order.shipped, send: {line: line-01, template: shipped}}
              - {when: order.cancelled, send: {line: line-01, template: cancelled}}
              - {when: order.refunded, send: {line: line-01, template: refunded}}
          store:
            kind: woocommerce
            country: ES
            language: es
            templates: {confirmed: "Hola {{first_name}}, tenemos tu pedido {{number}}."}
            rules: [{when: order.confirmed, send: {line: line-02, template: confirmed}}]
        """

    private static func message(_ source: String, _ headers: [(String, String)], _ body: String) throws -> (
        String, [UInt8]
    ) {
        let event = try WebhookJob(
            source: SourceID(source),
            headers: [("Content-Type", "application/json")] + headers.map { (name: $0.0, value: $0.1) },
            body: Array(body.utf8),
            receivedAt: now
        )
        return ("webhook", event.encode())
    }

    private static func time(_ minute: Int64) -> String { (began + .seconds(minute * 60)).rfc3339 }

    private static func shopify(_ topic: String, _ number: Int, minute: Int64, _ body: String) throws -> (
        String, [UInt8]
    ) {
        let headers = [
            ("X-Shopify-Topic", topic), ("X-Shopify-Shop-Domain", "demo.myshopify.com"),
            ("X-Shopify-Event-Id", "\(topic).\(number).\(minute)"), ("X-Shopify-Triggered-At", time(minute)),
        ]
        return try message("shop", headers, body)
    }

    private static func order(_ topic: String, _ number: Int, minute: Int64, more: String = "") throws -> (
        String, [UInt8]
    ) {
        let body = ##"""
            {"id":\##(number),"name":"#\##(number)","currency":"EUR","total_price":"59.90","phone":"600 11 \##(2000 + number)",\##
            "customer":{"first_name":"Ana"},"updated_at":"\##(time(minute))"\##(more)}
            """##
        return try shopify(topic, number, minute: minute, body)
    }

    private static func shipped(_ number: Int, minute: Int64) throws -> (String, [UInt8]) {
        let body = #"""
            {"id":\#(number)77,"order_id":\#(number),"status":"success","tracking_number":"PQ\#(number)",\#
            "created_at":"\#(time(minute))","updated_at":"\#(time(minute))"}
            """#
        return try shopify("fulfillments/create", number, minute: minute, body)
    }

    private static func store(_ number: Int, minute: Int64 = 0) throws -> (String, [UInt8]) {
        let time = time(minute).prefix(19)
        let body = #"""
            {"id":\#(number),"number":"\#(number)","status":"processing","currency":"EUR","total":"31.20",\#
            "date_modified_gmt":"\#(time)","date_created_gmt":"\#(time)",\#
            "billing":{"first_name":"Marta","phone":"600 22 \#(2000 + number)","country":"ES"}}
            """#
        return try message(
            "store",
            [
                ("X-WC-Webhook-Topic", "order.updated"), ("X-WC-Webhook-ID", "7"),
                ("X-WC-Webhook-Source", "https://store.example/"), ("X-WC-Webhook-Delivery-ID", "\(number)"),
            ],
            body
        )
    }

    private static func withShops(_ body: (TestInstall) async throws -> Void) async throws {
        try await TestInstall.with { install in
            try await install.addSource("shop", kind: "shopify", country: "ES")
            try await install.addSource("store", kind: "woocommerce", country: "ES")
            try await install.apply(rules: rules)
            try await body(install)
        }
    }

    private func waitUntilRun(_ count: Int, _ install: TestInstall) async throws {
        try await install.wait(for: "\(count) events run", within: .seconds(150)) {
            let ran = try await install.number("select count(*) from trunkline.inbox where ran_job is not null")
            let left = try await install.number("select count(*) from trunkline.jobs where recipient is null")
            return ran == Int64(count) && left == 0
        }
    }

    private func waitUntilSent(_ install: TestInstall) async throws {
        try await install.wait(for: "nothing unfinished", within: .seconds(150)) {
            try await install.number("select count(*) from trunkline.jobs") == 0
        }
    }

    /// What became of the notices: key and state, by key.
    private func notices(_ install: TestInstall) async throws -> [String] {
        let text = try await install.text(
            """
            select string_agg(key || ' ' || state, ',' order by key) from (
                select key, state from trunkline.jobs where recipient is not null
                union all select key, state from trunkline.finished where recipient is not null) n
            """
        )
        return (text ?? "").split(separator: ",").map { String($0) }
    }

    // MARK: Once

    private static func orders() throws -> [(String, [UInt8])] {
        try (1...20).map { try order("orders/paid", $0, minute: 1) } + (1...20).map { try store($0) }
    }

    @Test func eventsGivenTwiceThroughTwoWorkersSendEachNoticeOnce() async throws {
        try await Self.withShops { install in
            _ = try install.startWorker()
            _ = try install.startWorker()
            var messages = try Self.orders()
            messages += messages.reversed()
            try await install.publish(raw: messages)
            try await waitUntilRun(40, install)
            try await waitUntilSent(install)
            try await install.requireProof(sent: 40)
            #expect(
                try await install.number("select count(*) from trunkline.planned_notices where job is not null") == 40
            )
            let shown = try await install.trunkline([
                "events", "show", "shop", "shopify:demo.myshopify.com|orders/paid|orders/paid.1.1",
            ]).requireSuccess().output
            #expect(shown.contains("sources.shop.rules[0]: order:shop.1:paid on line-01 is a job"))
            #expect(shown.contains("sources.shop.rules[1]: sends nothing: this is order.paid"))
            #expect(!shown.contains("600112001"))
            let why = try await install.trunkline(["why", "order:shop.1:paid"]).requireSuccess().output
            #expect(why.contains("orders/paid.1.1 of source shop") && why.contains("rules[0], rules of revision 1"))
        }
    }

    @Test(arguments: CrashTests.steps)
    func aKilledWorkersNoticesAreSentOnceByAnother(step: String) async throws {
        try await Self.withShops { install in
            let victim = try install.startWorker(["TRUNKLINE_CRASH_AT": "\(step):20"])
            let messages = try Self.orders()
            try await install.publish(raw: messages + messages)
            try await install.wait(for: "the crash at \(step)", within: .seconds(120)) { !victim.isRunning }
            _ = try install.startWorker()
            _ = try install.startWorker()
            try await waitUntilRun(40, install)
            try await waitUntilSent(install)
            try await install.requireProof(sent: 40)
        }
    }

    @Test func whatAFrozenWorkerHadPlannedIsSentOnce() async throws {
        try await Self.withShops { install in
            let victim = try install.startWorker(["TRUNKLINE_FREEZE_AT": "answered:20"])
            try await install.publish(raw: try Self.orders())
            try await install.wait(for: "the worker that stands still", within: .seconds(120)) { victim.isFrozen }
            _ = try install.startWorker()
            try await waitUntilRun(40, install)
            victim.thaw()
            victim.send(15)
            try await install.wait(for: "the end of the first worker", within: .seconds(60)) { !victim.isRunning }
            try await waitUntilSent(install)
            try await install.requireProof(sent: 40)
        }
    }

    @Test func otherRulesPlanNothingASecondTime() async throws {
        try await Self.withShops { install in
            _ = try install.startWorker()
            try await install.publish(raw: [try Self.order("orders/paid", 1, minute: 1)])
            try await waitUntilRun(1, install)
            try await waitUntilSent(install)
            // The worker learns of them while it runs.
            try await install.apply(
                rules: Self.rules.replacing(
                    "send: {line: line-01, template: paid}",
                    with: "send: {line: line-02, template: paid}"
                )
                .replacing("Hola {{first_name}}, pedido", with: "Ey {{first_name}}, pedido")
            )
            try await install.trunkline(["source", "replay", "shop", "--yes"]).requireSuccess()
            try await install.publish(raw: [try Self.order("orders/paid", 2, minute: 2)])
            try await install.wait(for: "both run, the first anew") {
                try await install.number(
                    "select count(*) from trunkline.inbox where ran_job = job and (replays = 1 or event_key like '%.2.2')"
                )
                    == 2
            }
            try await waitUntilSent(install)
            try await install.requireProof(sent: 2)
            #expect(
                try await install.text(
                    "select line from trunkline.planned_notices where notice_key = 'order:shop.1:paid'"
                ) == "line-01"
            )
            #expect(
                try await install.text(
                    "select line from trunkline.planned_notices where notice_key = 'order:shop.2:paid'"
                ) == "line-02"
            )
            #expect(
                try await install.text(
                    "select plan -> 'notices' -> 0 ->> 'verdict' from trunkline.inbox where replays = 1"
                )
                    == "repeat"
            )
        }
    }

    // MARK: What ends what

    @Test func aCancelledOrdersUnsentNoticesAreCancelled() async throws {
        try await Self.withShops { install in
            try await install.trunkline(["line", "hold", "line-01", "--reason", "they count"]).requireSuccess()
            _ = try install.startWorker()
            // The parcel comes first, and an older fact last.
            try await install.publish(raw: [
                try Self.order("orders/paid", 1, minute: 1), try Self.shipped(1, minute: 2),
            ])
            try await install.publish(raw: [try Self.shipped(2, minute: 2)])
            try await waitUntilRun(3, install)
            #expect(
                try await notices(install).map { $0.split(separator: " ")[0] } == [
                    "order:shop.1:paid", "order:shop.1:shipped:177",
                ]
            )
            let cancelled = ##","cancelled_at":"\##(Self.time(5))""##
            try await install.publish(raw: [try Self.order("orders/cancelled", 1, minute: 5, more: cancelled)])
            try await waitUntilRun(4, install)
            try await install.publish(raw: [try Self.order("orders/paid", 1, minute: 4)])
            try await waitUntilRun(5, install)
            try await install.trunkline(["line", "resume", "line-01"]).requireSuccess()
            try await waitUntilSent(install)
            #expect(
                try await notices(install) == [
                    "order:shop.1:cancelled sent", "order:shop.1:paid cancelled", "order:shop.1:shipped:177 cancelled",
                ]
            )
            try await install.requireProof(sent: 1)
            let shown = try await install.trunkline([
                "events", "show", "shop", "shopify:demo.myshopify.com|orders/cancelled|orders/cancelled.1.5",
            ]).requireSuccess().output
            #expect(shown.contains("order:shop.1:paid: cancelled, because of this event"))
        }
    }

    /// What a refund does not say itself is known of its order.
    @Test func aRefundIsToldToTheOrdersCustomer() async throws {
        try await Self.withShops { install in
            _ = try install.startWorker()
            try await install.publish(raw: [try Self.order("orders/updated", 1, minute: 1)])
            try await waitUntilRun(1, install)
            let body = #"""
                {"id":9,"order_id":1,"processed_at":"\#(Self.time(3))","created_at":"\#(Self.time(3))",\#
                "transactions":[{"kind":"refund","status":"success","amount":"9.90","currency":"EUR"}]}
                """#
            try await install.publish(raw: [try Self.shopify("refunds/create", 1, minute: 3, body)])
            try await waitUntilRun(2, install)
            try await waitUntilSent(install)
            #expect(try await notices(install) == ["order:shop.1:refunded:9 sent"])
            let request = try await install.text(
                "select convert_from(request, 'UTF8') from trunkline.finished where recipient is not null"
            )
            #expect(request?.contains("+34600112001") == true && request?.contains("Ana, te devolvimos 9,90") == true)
            try await install.requireProof(sent: 1)
        }
    }

    @Test func aMovedAppointmentMovesItsReminders() async throws {
        try await TestInstall.with { install in
            try await install.addSource("clinic", kind: "appointments", country: "ES")
            try await install.apply(
                rules: """
                    lines: {line-01: {timeZone: Europe/Madrid}}
                    sources:
                      clinic:
                        kind: appointments
                        language: es
                        templates: {it: "Cita el {{date}} a las {{time}}."}
                        rules:
                          - {when: appointment.moved, send: {line: line-01, template: it}}
                          - {when: appointment.reminder, before: 24h, send: {line: line-01, template: it}}
                    """
            )
            _ = try install.startWorker()
            let (first, second) = (Self.now + .seconds(5 * 86_400), Self.now + .seconds(9 * 86_400))
            func appointment(_ type: String, _ start: Timestamp, minute: Int64) throws -> (String, [UInt8]) {
                let body = #"""
                    {"type":"appointment.\#(type)","occurred_at":"\#(Self.time(minute))","object":{"kind":"appointment","id":"A7"},\#
                    "customer":{"phone":"+34600111222","name":"Ana"},"data":{"starts_at":"\#(start.rfc3339)","time_zone":"Europe/Madrid"}}
                    """#
                return try Self.message("clinic", [("webhook-id", "\(type).\(minute)")], body)
            }
            try await install.publish(raw: [try appointment("booked", first, minute: 1)])
            try await waitUntilRun(1, install)
            try await install.publish(raw: [try appointment("moved", second, minute: 3)])
            try await waitUntilRun(2, install)
            // A repeat of the old booking that comes late plans nothing.
            try await install.publish(raw: [try appointment("booked", first, minute: 2)])
            try await waitUntilRun(3, install)
            let waiting = try await install.text(
                "select string_agg(extract(epoch from not_before)::int8::text, ',') from trunkline.jobs where key like '%:24h:%'"
            )
            #expect(waiting == String((second - .seconds(86_400)).microseconds / 1_000_000))
            #expect(
                try await install.number(
                    "select count(*) from trunkline.finished where key like '%:24h:%' and state = 'cancelled'"
                ) == 1
            )
            // Moved back: the reminder that was cancelled is due again.
            try await install.publish(raw: [try appointment("moved", first, minute: 5)])
            try await waitUntilRun(4, install)
            let again = try await install.text(
                "select string_agg(extract(epoch from not_before)::int8::text, ',') from trunkline.jobs where key like '%:24h:%'"
            )
            #expect(again == String((first - .seconds(86_400)).microseconds / 1_000_000))
            try await install.wait(for: "the news of both moves") { install.simulator.report().total.messages == 2 }
            try await install.trunkline(["check"]).requireSuccess()
        }
    }

    // MARK: Loudly

    @Test func aTemplateThatMissesAFieldFailsItsNoticeAlone() async throws {
        try await TestInstall.with { install in
            try await install.addSource("shop")
            try await install.apply(
                rules: """
                    lines: {line-01: {}}
                    sources:
                      shop:
                        kind: custom
                        language: en
                        templates: {named: "Hello {{first_name}},", plain: "Order {{number}} is paid."}
                        rules:
                          - {when: order.paid, send: {line: line-01, template: named}}
                          - {when: order.paid, send: {line: line-01, template: plain, key: "{{key}}:plain"}}
                    """
            )
            let worker = try install.startWorker()
            let body =
                ##"{"type":"order.paid","occurred_at":"\##(Self.time(1))","object":{"id":"1","number":"#1"},"customer":{"phone":"+34600111222"}}"##
            try await install.publish(raw: [try Self.message("shop", [("webhook-id", "1")], body)])
            try await waitUntilRun(1, install)
            try await waitUntilSent(install)
            try await install.requireProof(sent: 1)
            #expect(try await notices(install) == ["order:shop.1:paid:plain sent"])
            let shown = try await install.trunkline(["events", "show", "shop", "webhook-id:1"]).requireSuccess().output
            #expect(shown.contains("sources.shop.rules[0]: fails: the template named needs first_name"))
            #expect(try await install.trunkline(["events", "list"]).requireSuccess().output.contains("1 notice fails"))
            let json = try await install.trunkline(["events", "show", "shop", "webhook-id:1", "--json"])
                .requireSuccess()
            #expect(json.output.contains(#""kind" : "failed""#))
            try await install.wait(for: "the worker's warning") { worker.logText.contains("a notice cannot be made") }
        }
    }
}
