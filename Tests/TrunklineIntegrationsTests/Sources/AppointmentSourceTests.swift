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

    @Test func aBookingWithoutItsStartIsRefused() {
        #expect(throws: Refusal.self) {
            try source.facts(#"{"event":"invitee.created","payload":{"uri":"https://x/invitees/I1"}}"#)
        }
        #expect(throws: Refusal.self) { try source.facts(#"{"event":"invitee.canceled","payload":{}}"#) }
    }
}

@Suite struct CalComSourceTests {
    private static let created =
        #"{"triggerEvent":"BOOKING_CREATED","createdAt":"2026-11-01T12:26:40.000Z","payload":{"uid":"#
        + #""bFJeNb2uX8ANpT3JL5EfXw","bookingId":91,"status":"ACCEPTED","startTime":"2026-11-03T09:30:00Z","attendees":"#
        + #"[{"name":"Ana Ruiz","email":"ana@example.com","timeZone":"Europe/Madrid","phoneNumber":"+34600111222","#
        + #""language":{"locale":"es"}}]}}"#
    private let source = CalComSource()

    private static func body(_ trigger: String, _ more: String = "") -> String {
        #"{"triggerEvent":"\#(trigger)","createdAt":"2026-11-01T12:26:41Z","payload":{"uid":"u2","#
            + #""startTime":"2026-11-04T09:30:00Z"\#(more)}}"#
    }

    static let sample = SourceConformance.Sample(
        secret: "calcom_secret_demo",
        otherSecret: "calcom_secret_next",
        proof: .signature(header: "x-cal-signature-256", isTimed: false),
        [
            .init(created, expects: .facts(["appointment booked"]), id: "bFJeNb2uX8ANpT3JL5EfXw"),
            .init(
                body("BOOKING_RESCHEDULED", #","rescheduleUid":"u1""#),
                expects: .facts(["appointment moved"]),
                id: "u2"
            ),
            .init(body("BOOKING_CANCELLED"), expects: .facts(["appointment cancelled"]), id: "u2"),
            .init(body("BOOKING_REQUESTED"), expects: .ignored(.nothingNew)),
            .init(
                #"{"triggerEvent":"MEETING_ENDED","createdAt":"2026-11-03T10:00:00Z","uid":"u2","bookingId":91}"#,
                expects: .ignored(.nothingNew)
            ),
        ],
        sign: Senders.signing("X-Cal-Signature-256") { Digest.hex($0) }
    )

    @Test func theSignatureIsBareHexadecimal() throws {
        func refusal(_ signature: String) throws -> SourceRefusal.Reason? {
            source.refusal(
                of: ReceivedRequest(
                    url: Senders.url,
                    headers: [("X-Cal-Signature-256", signature)],
                    body: Array(Self.created.utf8)
                ),
                try source.account("calcom_secret_demo")
            )
        }
        let right = "4ef7e97a6c3dc09626e31354091aa28f903273ae8cf657c5b65c637afa7615b0"
        #expect(try refusal(right) == nil)
        #expect(try refusal(right.uppercased()) == nil)
        #expect(try refusal("sha256=" + right) == .malformed)
        // What Cal.com says when no secret was set.
        #expect(try refusal("no-secret-provided") == .malformed)
    }

    @Test func anAppointmentIsReadWhole() throws {
        let booked = try #require(source.facts(Self.created).first?.appointment)
        #expect(booked.person.phones == ["+34600111222"])
        #expect(booked.person.language == "es")
        #expect(booked.timeZone == "Europe/Madrid")
        #expect(booked.start == Timestamp(rfc3339: "2026-11-03T09:30:00Z"))
        let moved = try #require(
            source.facts(
                Self.body(
                    "BOOKING_RESCHEDULED",
                    #","rescheduleUid":"u1","location":"integrations:daily","responses":{"attendeePhoneNumber":{"label":"phone","#
                        + #""value":"+34600111333"},"location":{"label":"where","value":{"value":"phone","optionValue":"+34911"}}}"#
                )
            ).first?.appointment
        )
        #expect(moved.previousID == "u1")
        #expect(moved.place == nil)
        #expect(moved.person.phones == ["+34600111333", "+34911"])
        #expect(
            try source.keys(Self.body("BOOKING_RESCHEDULED")) == ["appointment:acme.u2:moved:20261104T093000Z"]
        )
    }

    @Test func aPayloadOfTheirOwnIsRefusedInWords() {
        let body = #"{"triggerEvent":"BOOKING_CREATED","createdAt":"2026-11-01T12:26:40Z","payload":{"text":"hi"}}"#
        #expect {
            try source.facts(body)
        } throws: { error in
            (error as? Refusal)?.field == "payload.uid"
        }
    }
}
