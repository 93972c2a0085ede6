import Testing
import TrunklineCore

@testable import TrunklinePlanning

@Suite struct MomentTests {
    struct Case: Sendable {
        let fact: SourceFact
        let when: Moment
        let key: String
        let purpose: Purpose
        let supersedeKey: String?
        let sendBefore: String
    }

    private static let start = "2026-12-03T09:00:00Z"

    private static let cases: [Case] = [
        Case(
            fact: order(.confirmed),
            when: .orderConfirmed,
            key: "order:shop.1042:confirmed",
            purpose: .order,
            supersedeKey: "order:shop.1042",
            sendBefore: "2026-12-01T11:00:00Z"
        ),
        Case(
            fact: order(.paid),
            when: .orderPaid,
            key: "order:shop.1042:paid",
            purpose: .order,
            supersedeKey: "order:shop.1042",
            sendBefore: "2026-12-01T11:00:00Z"
        ),
        Case(
            fact: order(.ready(place: nil)),
            when: .orderReady,
            key: "order:shop.1042:ready",
            purpose: .pickup,
            supersedeKey: "order:shop.1042",
            sendBefore: "2026-12-07T11:00:00Z"
        ),
        Case(
            fact: order(.shipped(shipment: nil)),
            when: .orderShipped,
            key: "order:shop.1042:shipped",
            purpose: .delivery,
            supersedeKey: nil,
            sendBefore: "2026-12-02T11:00:00Z"
        ),
        Case(
            fact: order(.trackingChanged(shipment: "f1", number: "T2")),
            when: .orderTrackingChanged,
            key: "order:shop.1042:tracking:f1.T2",
            purpose: .delivery,
            supersedeKey: "order:shop.1042:parcel:",
            sendBefore: "2026-12-02T11:00:00Z"
        ),
        Case(
            fact: order(.outForDelivery(shipment: nil)),
            when: .orderOutForDelivery,
            key: "order:shop.1042:out_for_delivery",
            purpose: .delivery,
            supersedeKey: nil,
            sendBefore: "2026-11-30T23:00:00Z"
        ),
        Case(
            fact: order(.delivered(shipment: nil)),
            when: .orderDelivered,
            key: "order:shop.1042:delivered",
            purpose: .delivery,
            supersedeKey: nil,
            sendBefore: "2026-12-02T11:00:00Z"
        ),
        Case(
            fact: order(.deliveryChanged(what: "delayed", shipment: nil)),
            when: .orderDeliveryChanged,
            key: "order:shop.1042:delivery-changed:delayed:20261130T110000Z",
            purpose: .delivery,
            supersedeKey: nil,
            sendBefore: "2026-12-01T11:00:00Z"
        ),
        Case(
            fact: order(.cancelled),
            when: .orderCancelled,
            key: "order:shop.1042:cancelled",
            purpose: .order,
            supersedeKey: "order:shop.1042",
            sendBefore: "2026-12-07T11:00:00Z"
        ),
        Case(
            fact: order(.refunded(refund: "r1")),
            when: .orderRefunded,
            key: "order:shop.1042:refunded:r1",
            purpose: .order,
            supersedeKey: nil,
            sendBefore: "2026-12-07T11:00:00Z"
        ),
        Case(
            fact: order(.reached(status: "packed")),
            when: .orderStatus,
            key: "order:shop.1042:status-packed",
            purpose: .order,
            supersedeKey: "order:shop.1042",
            sendBefore: "2026-12-02T11:00:00Z"
        ),
        Case(
            fact: order(.invoiced(at: noon)),
            when: .invoiceIssued,
            key: "order:shop.1042:invoice:20261130T110000Z",
            purpose: .invoice,
            supersedeKey: nil,
            sendBefore: "2026-12-07T11:00:00Z"
        ),
        Case(
            fact: lead("l1"),
            when: .leadCreated,
            key: "lead:shop.l1:first-touch",
            purpose: .firstTouch,
            supersedeKey: nil,
            sendBefore: "2026-12-01T11:00:00Z"
        ),
        Case(
            fact: appointment(.booked, start: start),
            when: .appointmentBooked,
            key: "appointment:shop.a1:booked",
            purpose: .appointment,
            supersedeKey: "appointment:shop.a1",
            sendBefore: start
        ),
        Case(
            fact: appointment(.moved, start: start),
            when: .appointmentMoved,
            key: "appointment:shop.a1:moved:20261203T090000Z",
            purpose: .appointment,
            supersedeKey: "appointment:shop.a1",
            sendBefore: start
        ),
        Case(
            fact: appointment(.cancelled, start: start),
            when: .appointmentCancelled,
            key: "appointment:shop.a1:cancelled",
            purpose: .appointment,
            supersedeKey: "appointment:shop.a1",
            sendBefore: start
        ),
        Case(
            fact: appointment(.reminder, start: start),
            when: .appointmentReminder,
            key: "appointment:shop.a1:reminder:20261203T090000Z",
            purpose: .reminder,
            supersedeKey: "appointment:shop.a1",
            sendBefore: start
        ),
    ]

    @Test("every moment has a case in the table")
    func everyMoment() { #expect(Set(Self.cases.map(\.when)) == Set(Moment.allCases)) }

    @Test("each moment sends its one notice, under its key, and only the rule for it fires", arguments: cases)
    func eachMoment(_ one: Case) throws {
        let rules = Moment.allCases.map { "- {when: \($0.rawValue), send: {line: one, template: it}}" }
        let plan = try shop(rules.joined(separator: "\n")).plan(one.fact)
        #expect(plan.failures == [])
        let notice = try #require(plan.notices.first)
        #expect(plan.notices.count == 1)
        #expect(notice.moment == one.when)
        #expect(notice.job.key.value == one.key)
        #expect(notice.job.purpose == one.purpose)
        #expect(notice.job.to.value == "+34600111222")
        #expect(notice.job.factAt == noon)
        #expect(notice.job.notBefore == nil)
        #expect(notice.job.sendBefore == moment(one.sendBefore))
        if one.when == .orderTrackingChanged {
            // What tells parcels apart stands behind it.
            #expect(notice.job.supersedeKey?.hasPrefix(one.supersedeKey ?? "-") == true)
        } else {
            #expect(notice.job.supersedeKey == one.supersedeKey)
        }
        #expect(plan.silences.count == Moment.allCases.count - 1)
        #expect(plan.silences.allSatisfy { $0.reason.hasPrefix("this is \(one.when.rawValue), and the rule is for") })
    }

    @Test("what no notice is about is silent, and says so")
    func nothing() throws {
        let planner = try shop("- {when: order.paid, send: {line: one, template: it}}")
        let changed = planner.plan(order(.changed))
        #expect(changed.notices == [] && changed.cancellations == [])
        #expect(changed.silences.map(\.reason) == ["no notice is made of this: order changed"])
        let ignored = planner.plan(.ignored(.test), receivedAt: noon, now: noon)
        #expect(ignored.silences.first?.reason.contains("a test of the sender") == true)
        let fetch = planner.plan(
            .fetch(.init(type: "contact", id: "7", event: "changed")),
            receivedAt: noon,
            now: noon
        )
        #expect(fetch.silences.first?.reason.contains("read from the sender first") == true)
    }

    @Test("two rules for one fact send two notices under two keys, and neither replaces the other")
    func twoRules() throws {
        let planner = try shop(
            """
            - {when: order.paid, send: {line: one, template: it}}
            - {when: order.paid, send: {line: two, template: it, key: "{{key}}:team", purpose: account}}
            """
        )
        let plan = planner.plan(order(.paid))
        #expect(plan.notices.map(\.job.key.value) == ["order:shop.1042:paid", "order:shop.1042:paid:team"])
        #expect(plan.notices.map(\.job.line.value) == ["one", "two"])
        #expect(Set(plan.notices.map(\.job.supersedeKey)).count == 2)
        #expect(plan.notices[1].job.purpose == .account)
    }

    @Test("two rules whose conditions both hold do not send two notices under one key")
    func sameKey() throws {
        let planner = try shop(
            """
            - {when: order.paid, if: {country: ES}, send: {line: one, template: it}}
            - {when: order.paid, if: {language: es}, send: {line: one, template: it}}
            """
        )
        let plan = planner.plan(order(.paid))
        #expect(plan.notices.count == 1)
        #expect(plan.failures.map(\.refusal.kind) == [.conflict])
        #expect(plan.failures.first?.rule == "sources.shop.rules[1]")
    }

    @Test("the same event planned twice gives the same plan, byte for byte")
    func again() throws {
        let rules = Moment.allCases.map { "- {when: \($0.rawValue), send: {line: one, template: it}}" }
        let yaml = rules.joined(separator: "\n")
        for one in Self.cases {
            let first = try shop(yaml).plan(one.fact, receivedAt: noon)
            let later = try shop(yaml).plan(one.fact, receivedAt: noon, now: noon + .seconds(60))
            #expect(first.json() == later.json())
            #expect(first == later)
        }
    }

    @Test("a fact without a time has the time at which it came")
    func noTime() throws {
        let planner = try shop("- {when: order.ready, send: {line: one, template: it, expires: 2h}}")
        let plan = planner.plan(order(.ready(place: nil), at: nil))
        #expect(plan.notices.first?.job.factAt == noon)
        #expect(plan.notices.first?.job.sendBefore == moment("2026-11-30T13:00:00Z"))
        let stale = planner.plan(order(.ready(place: nil), at: noon - .seconds(7_200)))
        #expect(stale.notices == [])
        #expect(stale.failures.map(\.refusal.kind) == [.late])
    }
}
