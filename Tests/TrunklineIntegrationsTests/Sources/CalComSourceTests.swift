import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

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
