import Foundation
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklinePlanning

/// The file that `docs/rules.md` is about, with payloads as the senders make them.
@Suite struct ExampleTests {
    private static func planner(_ source: String) throws -> (any Source, SourceRules, Planner) {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let yaml = try String(contentsOf: root.appending(path: "docs/examples/rules.yaml"), encoding: .utf8)
        let rules = try #require(try book(yaml)[source: SourceID(source)])
        return (try #require(SourceRegistry.standard[rules.kind.value]), rules, Planner(rules))
    }

    private static func plan(_ source: String, _ headers: [(String, String)], _ body: String) throws -> Plan {
        let (reader, rules, planner) = try planner(source)
        let headers = headers.map { (name: $0.0, value: $0.1) }
        let event = ReceivedEvent(headers: headers, body: Array(body.utf8), receivedAt: noon)
        return planner.plan(try reader.read(event, rules.settings), receivedAt: noon, now: noon)
    }

    @Test(
        "an order of a shop in the customer's language",
        arguments: [
            ("es", "ES", "600111222", "Hola Ana, hemos recibido tu pedido #1042 (59,90 €). ¡Gracias!", "acme-es"),
            ("en-GB", "PT", "912345678", "Hello Ana, we got your order #1042 (€59.90). Thank you!", "acme-es"),
        ]
    )
    func shopOrder(_ language: String, _ country: String, _ phone: String, _ body: String, _ line: String) throws {
        let json = """
            {"id": 820982911946154508, "name": "#1042", "created_at": "2026-11-30T10:59:00Z", "updated_at": "2026-11-30T10:59:00Z",
             "total_price": "59.90", "currency": "EUR", "customer_locale": "\(language)", "order_status_url": "https://acme.example/o/1",
             "shipping_address": {"first_name": "Ana", "last_name": "Ruiz", "phone": "\(phone)", "country_code": "\(country)"}}
            """
        let plan = try Self.plan("acme-shop", [("X-Shopify-Topic", "orders/create")], json)
        #expect(plan.failures == [])
        let notice = try #require(plan.notices.first)
        #expect(plan.notices.count == 1)
        #expect(notice.job.body.replacing("\u{A0}", with: " ") == body)
        #expect(notice.job.line.value == line)
        #expect(notice.job.key.value == "order:acme-shop.820982911946154508:confirmed")
        #expect(notice.job.button?.url == "https://acme.example/o/1")
        #expect(plan.silences.map(\.reason).contains("the country is \(country) (if.country)"))
    }

    @Test("a booking of a calendar, and its reminders")
    func booking() throws {
        let json = """
            {"triggerEvent": "BOOKING_CREATED", "createdAt": "2026-11-30T10:59:00Z", "payload": {"uid": "bk1", "title": "Limpieza",
             "startTime": "2026-12-02T09:30:00Z", "endTime": "2026-12-02T10:00:00Z",
             "attendees": [{"name": "Ana Ruiz", "timeZone": "Europe/Madrid",
               "language": {"locale": "es"}, "phoneNumber": "+34600111222"}]}}
            """
        let plan = try Self.plan("acme-clinic", [], json)
        #expect(plan.failures == [])
        #expect(
            plan.notices.map(\.job.key.value) == [
                "appointment:acme-clinic.bk1:booked", "appointment:acme-clinic.bk1:1d:20261202T093000Z",
                "appointment:acme-clinic.bk1:2h:20261202T093000Z",
            ]
        )
        #expect(plan.notices.first?.job.body == "Tu cita de Limpieza es el miércoles, 2 de diciembre a las 10:30.")
        #expect(
            plan.notices.map(\.job.notBefore) == [nil, moment("2026-12-01T09:30:00Z"), moment("2026-12-02T07:30:00Z")]
        )
    }
}
