import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklinePlanning

/// An event, what is known, and what follows: the joint between a source and the ledger, without either.
@Suite struct PlanningRunnerTests {
    private static let runner = PlanningRunner(facts: .standard, kinds: .standard)
    private static let now = Timestamp(rfc3339: "2026-12-01T10:00:00Z")!
    private static let rules = EventKnowledge.Rules(
        revision: 7,
        text: """
            lines: {one: {timeZone: Asia/Jerusalem}}
            sources:
              shop:
                kind: custom
                language: en
                templates:
                  it: "{{first_name}}: {{number}}{{#data.gift}} with {{data.gift}}{{/data.gift}}"
                  hi: "Hello {{first_name}}"
                rules:
                  - {when: order.paid, send: {line: one, template: it}}
                  - {when: order.refunded, send: {line: one, template: it}}
                  - {when: lead.created, send: {line: one, template: hi}}
            """
    )

    private static func event(_ body: String, country: String? = "ES") throws -> ReadEvent {
        runner.read(
            StoredEvent(
                source: try SourceID("shop"),
                workspace: try WorkspaceID("acme"),
                kind: "custom",
                settings: SourceSettings(),
                country: country,
                key: "webhook-id:1",
                event: ReceivedEvent(headers: [("webhook-id", "1")], body: Array(body.utf8), receivedAt: now)
            )
        )
    }

    private static func plan(_ event: ReadEvent, _ known: EventKnowledge) throws -> EventPlan {
        guard case .planned(let plan) = runner.run(event, knowing: known, now: now) else {
            throw Refusal(kind: .invalid, reason: "nothing is planned")
        }
        return plan
    }

    private static func order(
        _ type: String,
        hour: Int = 9,
        customer: String = #""phone":"600 111 222","name":"Ana Ruiz""#
    )
        -> String
    {
        ##"{"type":"order.\##(type)","occurred_at":"2026-12-01T0\##(hour):00:00Z","object":{"id":"1","number":"#1"},"##
            + "\"customer\":{\(customer)},\"data\":{\"gift\":\"a mug\"}}"
    }

    /// What is kept of an event, as it is read beside the next one.
    private static func known(_ plan: EventPlan, _ known: EventKnowledge = EventKnowledge(rules: rules))
        -> EventKnowledge
    {
        var known = known
        for record in plan.records {
            known.records[record.subject] = .init(
                facts: record.facts,
                factAt: record.at,
                endedAt: record.ends ? record.at : nil
            )
        }
        return known
    }

    @Test func anEventAsksForItsPersonAndItsRecord() throws {
        let needs = try Self.event(Self.order("paid")).needs
        #expect(needs.phones == [try PhoneNumber("+34600111222")])
        #expect(needs.orders == [try OrderID("shop.1")] && needs.subjects == ["order:shop.1"])
        #expect(try Self.event(#"{"type":"weather.changed"}"#).needs == EventNeeds())
    }

    @Test func theSameEventAndTheSameKnowledgeGiveTheSame() throws {
        let event = try Self.event(Self.order("paid"))
        let plan = try Self.plan(event, EventKnowledge(rules: Self.rules))
        #expect(plan == (try Self.plan(event, EventKnowledge(rules: Self.rules))))
        #expect(plan.notices.map(\.job.body) == ["Ana: #1 with a mug"] && plan.rules == 7)
        #expect(plan.contacts.count == 1 && plan.orders.count == 1 && plan.records.count == 1)
        #expect(plan.words.map(\.kind) == [.silent, .silent])
    }

    /// What contacts say of a person's consent, and what a form's ticked box says of it first.
    @Test(arguments: ["given", "withdrawn", nil]) func aLineThatNeedsConsentGetsIt(consent: String?) throws {
        var known = EventKnowledge(
            rules: .init(
                revision: 7,
                text: """
                    lines: {one: {timeZone: Asia/Jerusalem, consent: required}}
                    sources:
                      shop:
                        kind: custom
                        templates: {it: "{{number}}"}
                        rules: [{when: order.paid, send: {line: one, template: it}}]
                      form:
                        kind: form
                        settings: {consent: ok}
                        templates: {hi: "Hello {{first_name}}"}
                        rules: [{when: lead.created, send: {line: one, template: hi}}]
                    """
            )
        )
        let phone = try PhoneNumber("+34600111222")
        if let consent { known.contacts[phone] = try ContactFacts(consent: consent) }
        let paid = try Self.plan(try Self.event(Self.order("paid")), known)
        #expect(paid.notices.count == (consent == "given" ? 1 : 0))
        #expect(paid.words.contains { $0.kind == .held } == (consent != "given"))
        let form = Self.runner.read(
            StoredEvent(
                source: try SourceID("form"),
                workspace: try WorkspaceID("acme"),
                kind: "form",
                settings: SourceSettings(["consent": "ok"]),
                country: "ES",
                key: "1",
                event: ReceivedEvent(
                    headers: [("content-type", "application/json")],
                    body: Array(#"{"first_name":"Ana","phone":"600 111 222","ok":"yes"}"#.utf8),
                    receivedAt: Self.now
                )
            )
        )
        #expect(try Self.plan(form, known).notices.count == (consent == "withdrawn" ? 0 : 1))
    }

    /// Else it would outlive its own cancellation, which comes with the true time.
    @Test func aTimeOfTheFarFutureCountsAsTheReceipt() throws {
        let event = try Self.event(Self.order("paid").replacing("2026-12-01T09", with: "2026-12-20T09"))
        let plan = try Self.plan(event, EventKnowledge(rules: Self.rules))
        #expect(plan.notices.map(\.job.factAt) == [Self.now] && plan.records.map(\.at) == [Self.now])
    }

    @Test func whatARefundDoesNotSayIsKnownOfItsOrder() throws {
        let paid = try Self.plan(try Self.event(Self.order("paid")), EventKnowledge(rules: Self.rules))
        let refund = try Self.event(
            #"{"type":"order.refunded","occurred_at":"2026-12-01T09:30:00Z","object":{"id":"1"},"data":{"refund_id":"5"}}"#
        )
        #expect(refund.needs.phones.isEmpty)
        let plan = try Self.plan(refund, Self.known(paid))
        // The number is what the event itself has for one.
        #expect(plan.notices.map(\.job.body) == ["Ana: 1 with a mug"])
        #expect(plan.notices.map(\.job.to.value) == ["+34600111222"])
        // Nobody knows the order.
        let alone = try Self.plan(refund, EventKnowledge(rules: Self.rules))
        #expect(alone.notices.isEmpty && alone.words.contains { $0.kind == .failed })
    }

    @Test func whatAnotherProgramSaidOfAnOrderCounts() throws {
        let id = try OrderID("shop.1")
        var known = EventKnowledge(rules: Self.rules)
        let facts = try OrderFacts(
            factAt: Self.now,
            phone: PhoneNumber("+34600111222"),
            number: "#1",
            state: "cancelled"
        )
        known.orders[id] = .init(facts: facts, stateAt: Self.now)
        let plan = try Self.plan(try Self.event(Self.order("paid")), known)
        #expect(plan.notices.isEmpty)
        #expect(plan.words.contains { $0.words.contains("cancelled or refunded") })
    }

    @Test func anEndedOrderIsNoNewsAnyMore() throws {
        let cancelled = try Self.plan(
            try Self.event(Self.order("cancelled", hour: 9)),
            EventKnowledge(rules: Self.rules)
        )
        #expect(cancelled.records.first?.ends == true && cancelled.cancellations.count == 1)
        let late = try Self.plan(try Self.event(Self.order("paid", hour: 8)), Self.known(cancelled))
        #expect(late.notices.isEmpty)
        let anew = try Self.plan(try Self.event(Self.order("paid", hour: 9)), Self.known(cancelled))
        #expect(anew.notices.count == 1)
    }

    @Test func withoutRulesNothingIsSentAndWhatEndsStillEnds() throws {
        let plan = try Self.plan(try Self.event(Self.order("cancelled")), EventKnowledge())
        #expect(plan.notices.isEmpty && plan.cancellations.count == 1 && plan.rules == nil)
        #expect(plan.orders.count == 1)
    }

    @Test func rulesThatCannotBeReadAreForAPerson() throws {
        let later = EventKnowledge(rules: .init(revision: 8, text: "lines: {one: {colour: red}}"))
        let outcome = Self.runner.run(try Self.event(Self.order("paid")), knowing: later, now: Self.now)
        guard case .unplannable = outcome else {
            Issue.record("planned")
            return
        }
    }

    @Test func aFirstTouchIsOnePerPersonLineAndDay() throws {
        func lead(_ id: String, phone: String, hour: Int = 9) throws -> ReadEvent {
            try Self.event(
                #"{"type":"lead.created","occurred_at":"2026-11-30T\#(hour + 10):30:00Z","object":{"id":"\#(id)"},"#
                    + #""customer":{"phone":"\#(phone)","name":"Ana"}}"#
            )
        }
        let first = try Self.plan(try lead("1", phone: "+34600111222"), EventKnowledge(rules: Self.rules))
        // 19:30 there is 21:30 in Jerusalem; 23:30 is the next day.
        #expect(first.notices.map(\.once) == ["first_touch:one:+34600111222:2026-11-30"])
        let other = try Self.plan(try lead("2", phone: "+34600111222", hour: 13), EventKnowledge(rules: Self.rules))
        #expect(other.notices.map(\.once) == ["first_touch:one:+34600111222:2026-12-01"])
        // One of somebody else is none of hers.
        var known = EventKnowledge(rules: Self.rules)
        let job = first.notices[0].job
        func earlier(_ phone: String) -> EventKnowledge.Notice {
            .init(
                key: "lead:shop.9:first-touch",
                subject: "lead:shop.9",
                moment: "lead.created",
                line: "one",
                recipient: phone,
                supersedeKey: nil,
                factAt: job.factAt ?? Self.now,
                trackingNumber: nil,
                isWaiting: false
            )
        }
        known.notices = [earlier("+34600999999")]
        #expect(try Self.plan(try lead("1", phone: "+34600111222"), known).notices.count == 1)
        known.notices = [earlier("+34600111222")]
        #expect(try Self.plan(try lead("1", phone: "+34600111222"), known).notices.isEmpty)
    }

    /// Some senders give a moved appointment a new id.
    @Test func anAppointmentThatWasMovedUnderAnotherIdIsNoNewsUnderItsFormerOne() throws {
        func event(_ type: String, _ id: String, hour: Int, _ more: String = "") throws -> ReadEvent {
            try Self.event(
                #"{"type":"appointment.\#(type)","occurred_at":"2026-12-01T0\#(hour):00:00Z","object":{"id":"\#(id)"},"#
                    + #""customer":{"phone":"+34600111222"},"data":{"starts_at":"2026-12-09T09:30:00Z"\#(more)}}"#
            )
        }
        let rules = EventKnowledge.Rules(
            revision: 1,
            text: """
                lines: {one: {}}
                sources:
                  shop:
                    kind: custom
                    language: en
                    templates: {it: "{{date}}"}
                    rules: [{when: appointment.reminder, before: 24h, send: {line: one, template: it}}]
                """
        )
        let moved = try event("moved", "new", hour: 9, #","previous_id":"old""#)
        #expect(moved.needs.subjects == ["appointment:shop.new", "appointment:shop.old"])
        let plan = try Self.plan(moved, EventKnowledge(rules: rules))
        #expect(plan.notices.count == 1)
        #expect(plan.cancellations.map(\.subject) == ["appointment:shop.new", "appointment:shop.old"])
        let known = Self.known(plan, EventKnowledge(rules: rules))
        #expect(try Self.plan(try event("booked", "old", hour: 8), known).notices.isEmpty)
        #expect(try Self.plan(try event("booked", "other", hour: 8), known).notices.count == 1)
    }

    @Test func whatIsKeptOfARecordIsReadBackAsItWas() throws {
        let at = Self.now
        let order = SourceFact.order(
            .init(
                record: .init(id: "1", at: at),
                moment: .changed,
                number: "#1",
                state: "fulfilled",
                payment: "paid",
                person: .init(
                    name: "Ana Ruiz",
                    firstName: "Ana",
                    phones: ["600 1", "600 2"],
                    country: "ES",
                    language: "es"
                ),
                total: .init(amount: "59.90", currency: "EUR"),
                items: [.init(title: "Mug", quantity: "2"), .init(title: "Cup", quantity: nil)],
                shipment: .init(
                    id: "7",
                    company: "Correos",
                    trackingNumber: "PQ",
                    trackingURL: "https://t.example",
                    expectedAt: at
                ),
                pickupPlace: "Store 4",
                links: [.init(.status, "https://s.example")],
                details: ["gift": "a mug"]
            )
        )
        let appointment = SourceFact.appointment(
            .init(
                record: .init(id: "1", at: at),
                moment: .booked,
                person: .init(phones: ["+34600111222"]),
                start: at,
                end: at + .seconds(60),
                timeZone: "Europe/Madrid",
                title: "Visit",
                place: "Room 1",
                staff: "Eva",
                links: [.init(.meeting, "https://m.example")],
                details: ["a": "b"]
            )
        )
        for fact in [order, appointment] {
            let kept = RecordDocument.document(fact, phone: nil)
            #expect(RecordDocument.fact(kept, like: fact, at: at) == fact)
        }
    }
}
