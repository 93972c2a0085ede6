import Testing
import TrunklineCore

@testable import TrunklinePlanning

@Suite struct KnownTests {
    private static let reminders = """
        - {when: appointment.booked, send: {line: one, template: it}}
        - {when: appointment.moved, send: {line: one, template: it}}
        - {when: appointment.cancelled, send: {line: one, template: it}}
        - {when: appointment.reminder, before: 24h, send: {line: one, template: it}}
        """
    private static let orders = Moment.allCases.filter { $0.kind == .order }
        .map { "- {when: \($0.rawValue), send: {line: one, template: it}}" }.joined(separator: "\n")

    private static func notice(
        _ text: String,
        _ moment: Moment,
        subject: String = "order:shop.1042",
        at: Timestamp = noon,
        supersedeKey: String? = nil,
        tracking: String? = nil,
        isWaiting: Bool = true
    ) -> Known.Notice {
        .init(
            key: key(text),
            subject: subject,
            moment: moment,
            line: line("one"),
            supersedeKey: supersedeKey,
            factAt: at,
            trackingNumber: tracking,
            isWaiting: isWaiting
        )
    }

    @Test("a moved appointment moves its reminders: the old ones are cancelled, the new one planned")
    func moved() throws {
        let old = Self.notice(
            "appointment:shop.a1:24h:20261203T090000Z",
            .appointmentReminder,
            subject: "appointment:shop.a1",
            at: noon - .seconds(60)
        )
        let sent = Self.notice(
            "appointment:shop.a1:booked",
            .appointmentBooked,
            subject: "appointment:shop.a1",
            at: noon - .seconds(60),
            isWaiting: false
        )
        let plan = try shop(Self.reminders)
            .plan(appointment(.moved, start: "2026-12-04T09:00:00Z"), Known(notices: [old, sent]))
        let new = ["appointment:shop.a1:moved:20261204T090000Z", "appointment:shop.a1:24h:20261204T090000Z"]
        #expect(plan.notices.map(\.job.key.value) == new)
        let cancellation = try #require(plan.cancellations.first)
        #expect(plan.cancellations.count == 1)
        #expect(cancellation.patterns == ["appointment:shop.a1:*"])
        #expect(cancellation.keys == [old.key])
        #expect(cancellation.keeping.map(\.value) == new)
        #expect(cancellation.reason == "the appointment was moved")
    }

    @Test("an appointment that got a new id takes the old one's notices with it")
    func movedToAnotherID() throws {
        let old = Self.notice(
            "appointment:shop.a0:24h:20261203T090000Z",
            .appointmentReminder,
            subject: "appointment:shop.a0",
            at: noon - .seconds(60)
        )
        let plan = try shop(Self.reminders)
            .plan(appointment(.moved, start: "2026-12-04T09:00:00Z", previousID: "a0"), Known(notices: [old]))
        #expect(plan.cancellations.map(\.patterns) == [["appointment:shop.a1:*"], ["appointment:shop.a0:*"]])
        #expect(plan.cancellations.map(\.keys) == [[], [old.key]])
    }

    @Test("a cancelled appointment cancels its reminders")
    func cancelled() throws {
        let plan = try shop(Self.reminders).plan(appointment(.cancelled, start: nil))
        #expect(plan.notices.map(\.job.key.value) == ["appointment:shop.a1:cancelled"])
        #expect(plan.cancellations.map(\.patterns) == [["appointment:shop.a1:*"]])
        #expect(plan.cancellations.first?.keeping.map(\.value) == ["appointment:shop.a1:cancelled"])
    }

    @Test("an older state of an appointment sends and cancels nothing")
    func older() throws {
        let newer = appointment(.moved, at: noon + .seconds(1), start: "2026-12-05T09:00:00Z")
        for fact in [
            appointment(.booked, start: "2026-12-04T09:00:00Z"), appointment(.moved, start: "2026-12-04T09:00:00Z"),
            appointment(.cancelled, start: nil),
        ] {
            let plan = try shop(Self.reminders).plan(fact, Known(record: newer))
            #expect(plan.notices == [] && plan.cancellations == [] && plan.failures == [])
            #expect(plan.silences.contains { $0.reason.contains("a newer state of this appointment is known") })
        }
    }

    @Test("a cancelled or refunded order cancels what is not sent, but nothing about its money")
    func cancelledOrder() throws {
        let waiting = [
            Self.notice("order:shop.1042:ready", .orderReady),
            Self.notice("order:shop.1042:refunded:r0", .orderRefunded),
            Self.notice("order:shop.1042:status-packed", .orderStatus),
            Self.notice("order:shop.1042:paid", .orderPaid, isWaiting: false),
            Self.notice("order:shop.1042:shipped:f9", .orderShipped, at: noon + .seconds(9)),
        ]
        for moment in [SourceFact.OrderMoment.cancelled, .refunded(refund: "r1")] {
            let plan = try shop(Self.orders).plan(
                order(moment, state: moment == .cancelled ? nil : "refunded"),
                Known(notices: waiting)
            )
            let cancellation = try #require(plan.cancellations.first)
            #expect(cancellation.keys.map(\.value) == ["order:shop.1042:ready", "order:shop.1042:status-packed"])
            #expect(cancellation.patterns.contains("order:shop.1042:ready*"))
            #expect(!cancellation.patterns.contains { $0.contains("refunded") || $0.contains("invoice") })
            #expect(!cancellation.patterns.contains { $0.contains(":cancelled") })
        }
        // A part, or nobody says: WooCommerce's order goes on, and Shopify's refund has no word for it.
        for state in ["partially_refunded", "processing", nil] {
            let part = try shop(Self.orders).plan(order(.refunded(refund: "r1"), state: state))
            #expect(part.cancellations == [] && part.notices.count == 1)
        }
        let whole = try shop(Self.orders).plan(
            order(.refunded(refund: "r1")),
            Known(record: order(.changed, state: "refunded"))
        )
        #expect(whole.cancellations.count == 1)
        let gone = try shop(Self.orders).plan(order(.removed))
        #expect(gone.cancellations.map(\.patterns) == [["order:shop.1042:*"]])
    }

    @Test("what says less than what was told is no news; other parcels and money are")
    func overtaken() throws {
        let shipped = Self.notice("order:shop.1042:shipped:f1", .orderShipped, at: noon + .seconds(5))
        let planner = try shop(Self.orders)
        let known = Known(notices: [shipped])
        for moment in [SourceFact.OrderMoment.confirmed, .paid] {
            let plan = planner.plan(order(moment), known)
            #expect(plan.notices == [])
            #expect(plan.silences.contains { $0.reason.contains("the order has come further: order.shipped") })
        }
        for moment in [SourceFact.OrderMoment.shipped(shipment: "f2"), .refunded(refund: "r"), .invoiced(at: noon)] {
            #expect(planner.plan(order(moment), known).notices.count == 1)
        }
        let ended = planner.plan(order(.ready(place: nil)), Known(endedAt: noon + .seconds(1)))
        #expect(ended.notices == [] && ended.failures == [])
    }

    @Test("a tracking number is told once")
    func tracking() throws {
        let told = Self.notice("order:shop.1042:shipped:f1", .orderShipped, tracking: "T1", isWaiting: false)
        let planner = try shop(Self.orders)
        let same = planner.plan(order(.trackingChanged(shipment: "f1", number: "T1")), Known(notices: [told]))
        #expect(same.notices == [])
        let other = planner.plan(order(.trackingChanged(shipment: "f1", number: "T2")), Known(notices: [told]))
        #expect(other.notices.map(\.job.tags["tracking"]) == ["T2"])
    }

    @Test("what the event does not say is taken from what is known of its record")
    func record() throws {
        let known = Known(record: order(.confirmed, total: .init(amount: "59.9", currency: "EUR")))
        let planner = try shop(
            Self.orders,
            template: "\"{{name}} {{number}}{{#total}} {{total}}{{/total}}\""
        )
        let nobody = SourceFact.Person()
        let plan = planner.plan(order(.ready(place: nil), person: nobody), known)
        #expect(plan.notices.first?.job.to.value == "+34600111222")
        #expect(plan.notices.first?.job.body.replacing("\u{A0}", with: " ") == "Ana Ruiz #1042 59,90 €")
        // A refund's amount is not the order's.
        let refund = planner.plan(order(.refunded(refund: "r"), person: nobody), known)
        #expect(refund.notices.first?.job.body == "Ana Ruiz #1042")
    }

    // MARK: People

    @Test("one person is first written to once a day on a line, whatever the number of forms")
    func firstTouch() throws {
        let planner = try shop("- {when: lead.created, send: {line: one, template: it}}")
        func known(_ text: String, _ at: Timestamp) -> Known {
            Known(notices: [Self.notice(text, .leadCreated, subject: "lead:shop.l0", at: at)])
        }
        let again = planner.plan(lead("l1"), known("lead:shop.l0:first-touch", noon - .seconds(3_600)))
        #expect(again.notices == [])
        #expect(again.silences.first?.reason.contains("on the same day") == true)
        #expect(planner.plan(lead("l1"), known("lead:shop.l0:first-touch", noon - .seconds(86_400))).notices.count == 1)
        // The same lead again is the same notice.
        #expect(planner.plan(lead("l0"), known("lead:shop.l0:first-touch", noon)).notices.count == 1)
    }

    @Test(
        "people who asked for nothing are not written to",
        arguments: [(nil, false), ("", false), ("No", false), ("0", false), ("true", true), ("Sí, quiero", true)]
            as [(String?, Bool)]
    )
    func coldOutbound(_ answer: String?, _ isWritten: Bool) throws {
        let planner = try shop(
            "- {when: lead.created, send: {line: one, template: it}}",
            more: "leadConsent: agree"
        )
        let plan = planner.plan(lead("l1", details: answer.map { ["agree": $0] } ?? [:]))
        #expect(plan.notices.count == (isWritten ? 1 : 0))
        #expect(plan.refused.map(\.ask) == (isWritten ? [] : [.coldOutbound]))
        let agreed = planner.plan(lead("l1"), Known(contact: .init(consent: .given)))
        #expect(agreed.notices.count == 1)
    }

    @Test("groups and channels are refused in writing")
    func groups() throws {
        let planner = try shop("- {when: order.paid, send: {line: one, template: it}}")
        let plan = planner.plan(order(.paid, person: .init(phones: ["120363@g.us"])))
        #expect(plan.notices == [] && plan.failures == [])
        #expect(plan.refused.map(\.ask) == [.group])
        let asked = planner.plan(.refused(.channel), receivedAt: noon, now: noon)
        #expect(asked.refused == [.init(ask: .channel, rule: nil)])
    }

    @Test(
        "a notice waits for consent, and says so",
        arguments: [
            ("unlessWithdrawn", nil, true), ("unlessWithdrawn", .given, true), ("unlessWithdrawn", .withdrawn, false),
            ("required", nil, false), ("required", .given, true), ("required", .withdrawn, false),
        ] as [(String, Known.Contact.Consent?, Bool)]
    )
    func consent(_ setting: String, _ consent: Known.Contact.Consent?, _ isSent: Bool) throws {
        let planner = try shop(
            "- {when: order.ready, send: {line: one, template: it}}",
            line: "{consent: \(setting)}"
        )
        let plan = planner.plan(order(.ready(place: nil)), Known(contact: .init(consent: consent)))
        #expect(plan.notices.count == (isSent ? 1 : 0))
        #expect(plan.held.count == (isSent ? 0 : 1))
        if !isSent { #expect(plan.held.first?.until == moment("2026-12-07T11:00:00Z")) }
    }

    @Test(
        "numbers by the record's country, then the source's; the first that is possible",
        arguments: [
            (["600 111 222"], "ES", "+34600111222"), (["600 111 222"], nil, "+34600111222"),
            (["050-123 4567"], "IL", "+972501234567"), (["+1 (555) 123-4567"], "ES", "+15551234567"),
            (["", "12", "600111222"], "ES", "+34600111222"), (["600111222"], "XX", "+34600111222"),
            (["00972501234567"], "ES", "+972501234567"),
        ] as [([String], String?, String)]
    )
    func phones(_ phones: [String], _ country: String?, _ number: String) throws {
        let planner = try shop("- {when: order.paid, send: {line: one, template: it}}")
        let plan = planner.plan(order(.paid, person: .init(phones: phones, country: country)))
        #expect(plan.notices.map(\.job.to.value) == [number])
    }

    @Test("of numbers that are none it is said which, and why, without the number")
    func noPhones() throws {
        let planner = try shop("- {when: order.paid, send: {line: one, template: it}}")
        let plan = planner.plan(order(.paid, person: .init(phones: ["55-SHIP", "12"], country: "US")))
        let reason = try #require(plan.failures.first?.refusal.reason)
        #expect(reason.contains("number 1 of 2: the phone number holds letters"))
        #expect(reason.contains("number 2 of 2: the phone number is too short"))
        #expect(!reason.contains("55-SHIP"))
        let none = planner.plan(order(.paid, person: .init()))
        #expect(none.failures.first?.refusal.reason.contains("no phone number") == true)
    }

    // MARK: Conditions

    @Test(
        "conditions hold or say why not",
        arguments: [
            ("{country: [ES, PT]}", true, ""), ("{country: PT}", false, "the country is ES"),
            ("{language: es}", true, ""), ("{language: [en, he]}", false, "language is es"),
            ("{tag: vip}", true, ""), ("{tag: [b2b, VIP]}", true, ""), ("{tag: vi}", false, "none of the tags"),
            ("{shipping: express}", true, ""), ("{shipping: pickup}", false, "another way"),
            ("{status: packed}", true, ""), ("{status: sent}", false, "another state"),
            ("{amount: {currency: EUR, atLeast: 59.90}}", true, ""),
            ("{amount: {currency: EUR, below: 59.90}}", false, "not below 59.9 EUR"),
            ("{amount: {currency: EUR, atLeast: 59.91}}", false, "below 59.91 EUR"),
            ("{amount: {currency: USD, atLeast: 1}}", false, "in EUR"),
            ("{country: ES, tag: nobody}", false, "none of the tags"),
        ]
    )
    func conditions(_ condition: String, _ holds: Bool, _ words: String) throws {
        let planner = try shop("- {when: order.paid, if: \(condition), send: {line: one, template: it}}")
        let fact = order(
            .paid,
            state: "Packed",
            total: .init(amount: "59.90", currency: "EUR"),
            details: ["tags": "new, vip ", "shipping": "DHL Express"]
        )
        let plan = planner.plan(fact)
        #expect(plan.notices.count == (holds ? 1 : 0))
        #expect(plan.silences.count == (holds ? 0 : 1))
        #expect(plan.silences.allSatisfy { $0.reason.contains(words) })
    }
}
