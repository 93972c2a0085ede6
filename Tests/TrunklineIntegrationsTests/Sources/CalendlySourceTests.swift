import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct CalendlySourceTests {
    private static let start =
        #""scheduled_event":{"name":"Fitting","start_time":"2026-11-03T09:30:00.000000Z","#
        + #""end_time":"2026-11-03T10:00:00.000000Z","location":{"type":"physical","location":"Store 4"},"#
        + #""event_memberships":[{"user_name":"Eva"}]}"#
    private let source = CalendlySource()

    private static func body(_ event: String, _ more: String = "", at: String = "2026-11-01T12:26:40.000000Z") -> String
    {
        #"{"created_at":"\#(at)","created_by":"https://api.calendly.com/users/U1","event":"\#(event)","payload":{"#
            + #""uri":"https://api.calendly.com/scheduled_events/E1/invitees/I1","name":"Ana Ruiz","timezone":"Europe/Madrid","#
            + #""text_reminder_number":"+34 600 111 222","status":"active","rescheduled":false\#(more),\#(start)}}"#
    }

    static let sample = SourceConformance.Sample(
        secret: "calendly_signing_key_demo",
        otherSecret: "calendly_signing_key_next",
        proof: .signature(header: "calendly-webhook-signature", isTimed: true),
        [
            .init(body("invitee.created"), expects: .facts(["appointment booked"]), id: "I1"),
            .init(
                body(
                    "invitee.created",
                    #","old_invitee":"https://api.calendly.com/scheduled_events/E0/invitees/I0""#,
                    at: "2026-11-02T00:00:00Z"
                ),
                expects: .facts(["appointment moved"]),
                id: "I1"
            ),
            .init(body("invitee.canceled"), expects: .facts(["appointment cancelled"]), id: "I1"),
            .init(body("routing_form_submission.created"), expects: .ignored(.unknownTopic)),
        ]
    ) { fixture, secret, time in
        let seconds = Senders.seconds(time)
        let signature = Digest.hex(Senders.hmac(Array((seconds + ".").utf8) + fixture.body, secret))
        return Senders.request(fixture, [("Calendly-Webhook-Signature", "t=\(seconds),v1=\(signature)")])
    }

    @Test func theSignatureIsCalendlys() throws {
        let body =
            #"{"created_at":"2026-11-01T12:26:40.000000Z","created_by":"https://api.calendly.com/users/U1","event":"#
            + #""invitee.created","payload":{"uri":"https://api.calendly.com/scheduled_events/E1/invitees/I1","name":"#
            + #""Ana Ruiz","text_reminder_number":"+34 600 111 222","status":"active","rescheduled":false}}"#
        let signature = "v1=2e7bd06457e376874055a620b734a75eb2ba4ed03d58791aac5fce1a1623f292"
        let account = try source.account("calendly_signing_key_demo")
        func refusal(_ header: String, after seconds: Int64 = 0) -> SourceRefusal.Reason? {
            source.refusal(
                of: ReceivedRequest(
                    url: Senders.url,
                    headers: [("Calendly-Webhook-Signature", header)],
                    body: Array(body.utf8)
                ),
                account,
                at: Timestamp(microseconds: (1_762_000_000 + seconds) * 1_000_000)
            )
        }
        #expect(refusal("t=1762000000,\(signature)") == nil)
        #expect(refusal("\(signature),t=1762000000") == nil)
        #expect(refusal("t=1762000000,\(signature)", after: 180) == nil)
        #expect(refusal("t=1762000000,\(signature)", after: 181) == .stale)
        #expect(refusal("t=1762000001,\(signature)") == .forged)
        for wrong in [
            "t=1762000000", signature, "t=1762000000,t=1762000000,\(signature)",
            "t=1762000000,\(signature),\(signature)",
            "t=,\(signature)", "t=-1,\(signature)", "t=99999999999999999999,\(signature)", "t=1762000000,v1=",
            "t=1762000000,v1=zz",
        ] {
            #expect(refusal(wrong) == .malformed, "\(wrong)")
        }
        #expect(refusal("t=99999999999,\(signature)") == .stale)
    }

    @Test func aMoveIsToldOnce() throws {
        let half = Senders.event(
            #"{"event":"invitee.canceled","payload":{"uri":"https://x/invitees/I0","rescheduled":true}}"#
        )
        #expect(try source.read(half, SourceSettings()) == .ignored(.rescheduled))
        let old = #","old_invitee":"https://api.calendly.com/scheduled_events/E0/invitees/I0""#
        let moved = try #require(source.facts(Self.body("invitee.created", old)).first?.appointment)
        #expect(moved.moment == .moved)
        #expect(moved.previousID == "I0")
        #expect(try source.keys(Self.body("invitee.created", old)) == ["appointment:acme.I1:moved:20261103T093000Z"])
        let reminder = try moved.reminderKey(from: SourceID("acme"), offset: "24h")
        #expect(reminder?.value == "appointment:acme.I1:24h:20261103T093000Z")
    }

    @Test func anAppointmentIsReadWhole() throws {
        let answers =
            #","questions_and_answers":[{"question":"Your WhatsApp number","answer":"600 111 222"},"#
            + #"{"question":"Size","answer":"M"}],"cancel_url":"https://calendly.com/cancellations/I1""#
        let booked = try #require(source.facts(Self.body("invitee.created", answers)).first?.appointment)
        #expect(booked.person.phones == ["+34 600 111 222", "600 111 222"])
        #expect(booked.person.name == "Ana Ruiz")
        #expect(booked.start == Timestamp(rfc3339: "2026-11-03T09:30:00Z"))
        #expect(booked.end == Timestamp(rfc3339: "2026-11-03T10:00:00Z"))
        #expect(booked.timeZone == "Europe/Madrid")
        #expect(booked.title == "Fitting")
        #expect(booked.place == "Store 4")
        #expect(booked.staff == "Eva")
        #expect(booked.links == [.init(.cancel, "https://calendly.com/cancellations/I1")])
        #expect(booked.details["Size"] == "M")
    }

    /// There the place is the customer's own number.
    @Test func aCallToTheCustomerHasNoPlace() throws {
        let body = Self.body("invitee.created").replacing(
            #""type":"physical","location":"Store 4""#,
            with: #""type":"outbound_call","location":"+34 600 111 222""#
        )
        #expect(try #require(source.facts(body).first?.appointment).place == nil)
    }

    @Test func aBookingWithoutItsStartIsRefused() {
        #expect(throws: Refusal.self) {
            try source.facts(#"{"event":"invitee.created","payload":{"uri":"https://x/invitees/I1"}}"#)
        }
        #expect(throws: Refusal.self) { try source.facts(#"{"event":"invitee.canceled","payload":{}}"#) }
    }
}
