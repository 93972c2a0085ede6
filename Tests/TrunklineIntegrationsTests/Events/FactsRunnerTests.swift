import Testing
import TrunklineCore

@testable import TrunklineIntegrations

/// What events say, as it is kept about contacts and orders.
@Suite struct FactsRunnerTests {
    private static let runner = FactsRunner(.standard)
    private static let now = Timestamp(rfc3339: "2026-12-01T10:00:00Z")!
    private static let received = Timestamp(rfc3339: "2026-12-01T09:59:58Z")!

    private static func received(_ body: String, id: String? = "1") -> ReceivedEvent {
        ReceivedEvent(
            headers: id.map { [("webhook-id", $0)] } ?? [],
            body: Array(body.utf8),
            receivedAt: received
        )
    }

    private static func run(_ body: String, kind: String = "custom", country: String? = "ES") throws -> EventOutcome {
        let event = StoredEvent(
            source: try SourceID("shop"),
            workspace: try WorkspaceID("acme"),
            kind: kind,
            settings: SourceSettings(),
            country: country,
            key: "webhook-id:1",
            event: received(body)
        )
        return runner.run(runner.read(event), knowing: EventKnowledge(), now: now)
    }

    private static func plan(_ body: String, country: String? = "ES") throws -> EventPlan {
        guard case .planned(let plan) = try run(body, country: country) else {
            throw Refusal(kind: .invalid, reason: "nothing is planned")
        }
        return plan
    }

    private static func order(_ more: String = "", customer: String = #""phone":"600 111 222","name":"Marta""#)
        -> String
    {
        ##"{"type":"order.paid","occurred_at":"2026-12-01T09:00:00Z","object":{"id":"1042","number":"#1042"},"##
            + "\"customer\":{\(customer)}\(more)}"
    }

    @Test func anOrderIsAContactAndAnOrder() throws {
        let plan = try Self.plan(Self.order(#","data":{"total":"59.90","currency":"EUR"}"#))
        let contact = try #require(plan.contacts.first)
        #expect(plan.contacts.count == 1 && contact.phone.value == "+34600111222")
        #expect(contact.facts.name == "Marta")
        #expect(contact.facts.factAt == Timestamp(rfc3339: "2026-12-01T09:00:00Z"))
        let order = try #require(plan.orders.first)
        #expect(order.id.value == "shop.1042" && order.facts.number == "#1042" && order.facts.state == "paid")
        #expect(order.facts.total?.amount == "59.90" && order.facts.phone?.value == "+34600111222")
        #expect(plan.notes.isEmpty)
    }

    @Test func whoTicksTheBoxOfAFormHasAgreed() throws {
        func consent(_ settings: [String: String]) throws -> String? {
            let event = StoredEvent(
                source: try SourceID("form"),
                workspace: try WorkspaceID("acme"),
                kind: "form",
                settings: SourceSettings(settings),
                country: "ES",
                key: "1",
                event: ReceivedEvent(
                    headers: [("content-type", "application/json")],
                    body: Array(#"{"name":"Marta","phone":"600 111 222","ok":"yes"}"#.utf8),
                    receivedAt: Self.received
                )
            )
            let outcome = Self.runner.run(Self.runner.read(event), knowing: EventKnowledge(), now: Self.now)
            guard case .planned(let plan) = outcome else { return "nothing is planned" }
            return plan.contacts.first?.facts.consent
        }
        #expect(try consent(["consent": "ok"]) == "given")
        #expect(try consent([:]) == nil)
    }

    @Test func theSameEventSaysTheSame() throws {
        #expect(try Self.run(Self.order()) == Self.run(Self.order()))
    }

    @Test func aNationalNumberNeedsACountry() throws {
        let plan = try Self.plan(Self.order(), country: nil)
        #expect(plan.contacts.isEmpty && plan.orders.count == 1 && plan.orders[0].facts.phone == nil)
        #expect(plan.notes.count == 1 && plan.notes[0].hasPrefix("no phone number"))
        #expect(!plan.notes[0].contains("600"))
        // The record's own country goes before the source's.
        let own = try Self.plan(Self.order(customer: #""phone":"050-123 4567","country":"IL""#))
        #expect(own.contacts.first?.phone.value == "+972501234567")
        // Where it is none there, as the notice's recipient is read.
        let abroad = try Self.plan(Self.order(customer: #""phone":"600 111 222","country":"US""#))
        #expect(abroad.contacts.first?.phone.value == "+34600111222")
    }

    @Test func whatBreaksARuleIsLeftOutAndSaidAndTakesNothingAlong() throws {
        let long = String(repeating: "x", count: 300)
        let plan = try Self.plan(Self.order(customer: #""phone":"+34600111222","name":"\#(long)""#))
        #expect(plan.contacts.first?.facts.name == nil && plan.contacts.first?.facts.country == nil)
        #expect(plan.orders.first?.facts.state == "paid")
        #expect(plan.notes.contains { $0.hasPrefix("name is left out") } && !plan.notes.joined().contains("xxxx"))
    }

    @Test func aTimeOfTheFarFutureIsNotKept() throws {
        let far = Self.order().replacing("2026-12-01T09", with: "2027-12-01T09")
        let plan = try Self.plan(far)
        #expect(plan.orders.first?.facts.factAt == Self.received && plan.notes.count == 1)
    }

    @Test func everythingElseHasItsOwnWord() throws {
        #expect(try Self.run(#"{"type":"weather.changed"}"#) == .ignored(.unknownTopic))
        #expect(try Self.run(#"{"type":"group.message"}"#) == .refused(.group))
        guard case .unreadable(let refusal) = try Self.run("{") else {
            Issue.record("readable")
            return
        }
        #expect(refusal.kind == .malformed)
        guard case .unreadable = try Self.run("{}", kind: "unheard-of") else {
            Issue.record("readable")
            return
        }
    }

    @Test func eventsOfOneRecordKeepTheirOrderAndOthersDoNotWait() throws {
        let source = try SourceID("shop")
        func name(_ body: String, id: String? = "1") -> EventName {
            Self.runner.name(Self.received(body, id: id), from: source, kind: "custom")
        }
        let paid = name(Self.order(), id: "1")
        let shipped = name(Self.order().replacing("order.paid", with: "order.shipped"), id: "2")
        #expect(paid.orderingName == "order:shop.1042" && paid.orderingName == shipped.orderingName)
        #expect(paid.key.value == "webhook-id:1" && shipped.key.value == "webhook-id:2")
        #expect(name(Self.order().replacing("1042", with: "1043")).orderingName == "order:shop.1043")
        // What means nothing waits for nothing; what cannot be read might be about anything.
        #expect(name(#"{"type":"weather.changed"}"#).orderingName == "event:webhook-id:1")
        #expect(name("{").orderingName == "source:shop")
        #expect(Self.runner.reads("shopify") && !Self.runner.reads("unheard-of"))
    }
}
