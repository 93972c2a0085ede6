import Foundation
import Testing
import TrunklineCore

@testable import TrunklinePlanning

@Suite struct TimeTests {
    @Test(
        "a reminder lies before the appointment: hours as they pass, days by the clock, over changes of clocks",
        arguments: [
            // Spain sets its clocks back on 2026-10-25 at 03:00.
            ("24h", "2026-10-25T09:00:00Z", "Europe/Madrid", "2026-10-24T09:00:00Z"),
            ("1d", "2026-10-25T09:00:00Z", "Europe/Madrid", "2026-10-24T08:00:00Z"),
            // New York sets them forward on 2027-03-14 at 02:00.
            ("24h", "2027-03-14T14:00:00Z", "America/New_York", "2027-03-13T14:00:00Z"),
            ("1d", "2027-03-14T14:00:00Z", "America/New_York", "2027-03-13T15:00:00Z"),
            // Israel does on Friday, 2027-03-26.
            ("1d", "2027-03-26T06:00:00Z", "Asia/Jerusalem", "2027-03-25T07:00:00Z"),
            ("2d", "2027-03-28T06:00:00Z", "Asia/Jerusalem", "2027-03-26T06:00:00Z"),
            ("90m", "2026-12-03T09:00:00Z", "Europe/Madrid", "2026-12-03T07:30:00Z"),
        ]
    )
    func reminders(_ before: String, _ start: String, _ zone: String, _ at: String) throws {
        let planner = try shop("- {when: appointment.reminder, before: \(before), send: {line: one, template: it}}")
        let booked = moment("2026-10-01T00:00:00Z")
        let plan = planner.plan(
            appointment(.booked, at: booked, start: start, zone: zone),
            receivedAt: booked,
            now: booked
        )
        let notice = try #require(plan.notices.first)
        #expect(notice.job.notBefore == moment(at))
        #expect(notice.job.sendBefore == moment(start))
        #expect(notice.job.purpose == .reminder)
        let compact = start.filter { $0 != "-" && $0 != ":" }
        #expect(notice.job.key.value == "appointment:shop.a1:\(before):\(compact)")
    }

    @Test("a day before in a night that has no such hour is the moment after the gap")
    func gap() throws {
        let zone = try #require(TimeZone(identifier: "America/New_York"))
        let offset = try #require(Offset("1d"))
        // 02:30 on the 15th; there was no 02:30 on the 14th.
        let before = offset.before(moment("2027-03-15T06:30:00Z"), in: zone)
        #expect(before == moment("2027-03-14T07:30:00Z") || before == moment("2027-03-14T07:00:00Z"))
    }

    @Test("a reminder whose time is over is not sent, and says so; the others are")
    func past() throws {
        let planner = try shop(
            """
            - {when: appointment.reminder, before: 24h, send: {line: one, template: it}}
            - {when: appointment.reminder, before: 2h, send: {line: one, template: it}}
            """
        )
        let plan = planner.plan(appointment(.booked, start: "2026-11-30T16:00:00Z"))
        #expect(plan.notices.map(\.rule) == ["sources.shop.rules[1]"])
        #expect(plan.silences.map(\.rule) == ["sources.shop.rules[0]"])
        #expect(plan.silences.first?.reason.contains("2026-11-29T16:00:00Z, had passed") == true)
        #expect(plan.failures == [])
    }

    @Test("an appointment whose start is not known cannot be reminded of, loudly")
    func noStart() throws {
        let planner = try shop("- {when: appointment.reminder, before: 24h, send: {line: one, template: it}}")
        let plan = planner.plan(appointment(.booked, start: nil))
        #expect(plan.notices == [] && plan.failures.count == 1)
    }

    @Test(
        "quiet hours end at the customer's morning",
        arguments: [
            ("2026-11-30T20:59:00Z", nil), ("2026-11-30T21:00:00Z", "2026-12-01T07:00:00Z"),
            ("2026-12-01T02:30:00Z", "2026-12-01T07:00:00Z"), ("2026-12-01T06:59:59Z", "2026-12-01T07:00:00Z"),
            ("2026-12-01T07:00:00Z", nil),
            // The night in which the clocks go back is an hour longer.
            ("2026-10-24T21:00:00Z", "2026-10-25T07:00:00Z"), ("2027-03-27T22:00:00Z", "2027-03-28T06:00:00Z"),
        ] as [(String, String?)]
    )
    func quiet(_ now: String, _ end: String?) throws {
        let planner = try shop(
            "- {when: order.ready, send: {line: one, template: it}}",
            line: "{timeZone: Europe/Madrid, quietHours: 22:00-08:00}"
        )
        let now = moment(now)
        let plan = planner.plan(order(.ready(place: nil), at: now), receivedAt: now, now: now)
        let notice = try #require(plan.notices.first)
        #expect(notice.job.notBefore == end.map { moment($0) })
        #expect((notice.quiet != nil) == (end != nil))
    }

    @Test("the customer's own night counts where it is known, and the appointment's zone before the line's")
    func whoseNight() throws {
        let planner = try shop(
            "- {when: appointment.booked, send: {line: one, template: it}}",
            line: "{timeZone: Europe/Madrid, quietHours: 22:00-08:00}"
        )
        let fact = appointment(.booked, start: "2026-12-10T16:00:00Z", zone: "America/New_York")
        // Noon in Madrid, six in the morning in New York, and eight in the evening in Tokyo.
        #expect(planner.plan(fact).notices.first?.job.notBefore == moment("2026-11-30T13:00:00Z"))
        let tokyo = Known(contact: .init(timeZone: TimeZone(identifier: "Asia/Tokyo")))
        #expect(planner.plan(fact, tokyo).notices.first?.job.notBefore == nil)
    }

    @Test("quiet hours never move a notice past the moment from which it is worthless")
    func quietTooLong() throws {
        let planner = try shop(
            """
            - {when: appointment.reminder, before: 1h, send: {line: one, template: it}}
            - {when: order.out_for_delivery, send: {line: one, template: it, expires: 2h}}
            """,
            line: "{timeZone: Europe/Madrid, quietHours: 22:00-08:00}"
        )
        let early = planner.plan(appointment(.booked, start: "2026-12-02T06:30:00Z"))
        #expect(early.notices == [])
        #expect(early.failures.map(\.refusal.kind) == [.late])
        #expect(early.failures.first?.refusal.reason.contains("quiet hours last until 2026-12-02T07:00:00Z") == true)
        let night = moment("2026-11-30T22:00:00Z")
        let parcel = planner.plan(order(.outForDelivery(shipment: "f"), at: night), receivedAt: night, now: night)
        #expect(parcel.notices == [] && parcel.failures.count == 1)
    }

    @Test("quiet hours of a day, and what is none")
    func quietHours() throws {
        let siesta = try #require(QuietHours("13:30-16:00"))
        #expect(siesta.end(after: moment("2026-11-30T14:00:00Z"), in: .gmt) == moment("2026-11-30T16:00:00Z"))
        #expect(siesta.end(after: moment("2026-11-30T16:00:00Z"), in: .gmt) == nil)
        #expect(siesta.description == "13:30-16:00")
        for text in [
            "", "22:00", "22-08", "24:00-08:00", "22:60-08:00", "08:00-08:00", "22:00-08:00-09:00", "2²:00-08:00",
        ] {
            #expect(QuietHours(text) == nil, "\(text)")
        }
    }

    @Test("what is no offset", arguments: ["", "h", "0h", "-1h", "24", "24 h", "1w", "61d", "1441h", "٣h", "999999m"])
    func noOffsets(_ text: String) { #expect(Offset(text) == nil) }
}
