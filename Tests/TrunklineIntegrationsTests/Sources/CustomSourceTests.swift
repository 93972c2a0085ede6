import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct CustomSourceTests {
    static let standardSecret = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
    static let otherSecret = "whsec_ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A="
    static let token = "a-token-of-the-backend-0123456789"
    private static let ready =
        #"{"type":"order.ready","id":"evt_918","occurred_at":"2026-11-02T10:15:04Z","#
        + #""object":{"kind":"order","id":"1042","number":"1042","revision":"3"},"#
        + #""customer":{"phone":"+34600111222","name":"Ana Ruiz","locale":"es","country":"ES"},"#
        + #""data":{"total":"31.20","currency":"EUR","tracking_url":"https://t.example/1","pickup_point":"Store 4"}}"#
    private static let booked =
        #"{"type":"appointment.booked","object":{"kind":"appointment","id":"A-77"},"#
        + #""customer":{"phone":"+34600111222"},"data":{"starts_at":"2026-11-03T09:30:00+01:00","#
        + #""time_zone":"Europe/Madrid","place":"Store 4","staff":"Eva"}}"#
    private let source = CustomSource.custom

    private static let fixtures: [SourceConformance.Fixture] = [
        .init(ready, expects: .facts(["order ready"]), id: "1042"),
        .init(
            #"{"type":"order.paid","object":{"id":820982911946154508}}"#,
            expects: .facts(["order paid"]),
            id: "820982911946154508"
        ),
        .init(booked, expects: .facts(["appointment booked"]), id: "A-77"),
        .init(#"{"type":"campaign.spring","object":{"id":"1"}}"#, expects: .refused(.campaign)),
        .init(
            #"{"type":"order.paid","object":{"id":"1"},"customer":{"phone":"1203630@g.us"}}"#,
            expects: .refused(.group)
        ),
        .init(#"{"type":"stock.low","object":{"id":"1"}}"#, expects: .ignored(.unknownTopic)),
        .init(
            headers: [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")],
            "type=lead.created&object.id=L%2D7&customer.phone=%2B34600111222&customer.name=Ana+Ruiz&data.origin=form",
            expects: .facts(["lead"]),
            id: "L-7"
        ),
    ]

    /// The id is made of the fixture's bytes, as a sender names each event.
    private static func id(_ fixture: SourceConformance.Fixture) -> String {
        "msg_" + Digest.hex(Digest.sha256(fixture.body)).prefix(24)
    }

    static let standardSample = SourceConformance.Sample(
        secret: standardSecret,
        otherSecret: otherSecret,
        proof: .signature(header: "webhook-signature", isTimed: true),
        fixtures
    ) { fixture, secret, time in
        let seconds = time.microseconds / 1_000_000
        // The signature is the carrier's own: one code for both directions.
        let secrets = (try? StandardWebhooks.secrets(Array(secret.utf8))) ?? []
        let signature = StandardWebhooks.signature(
            id: id(fixture),
            timestamp: seconds,
            body: fixture.body,
            secrets: secrets
        )
        return Senders.request(
            fixture,
            [("webhook-id", id(fixture)), ("webhook-timestamp", "\(seconds)"), ("webhook-signature", signature)]
        )
    }

    static let bearerSample = SourceConformance.Sample(
        secret: token,
        otherSecret: "another-token-0123456789",
        proof: .token(header: "authorization"),
        fixtures
    ) { fixture, secret, _ in
        Senders.request(fixture, [("Authorization", "Bearer " + secret), ("Idempotency-Key", id(fixture))])
    }

    static let signedSample = SourceConformance.Sample(
        secret: "form-shared-secret",
        otherSecret: "form-shared-secret-2",
        settings: [
            "signature_header": "X-Signature", "signature_prefix": "sha256=", "timestamp_header": "X-Timestamp",
        ],
        proof: .signature(header: "x-signature", isTimed: true),
        fixtures
    ) { fixture, secret, time in
        let text = Array((Senders.seconds(time) + ".").utf8) + fixture.body
        return Senders.request(
            fixture,
            [
                ("X-Signature", "sha256=" + Digest.hex(Senders.hmac(text, secret))),
                ("X-Timestamp", Senders.seconds(time)),
            ]
        )
    }

    static let appointmentsSample = SourceConformance.Sample(
        secret: standardSecret,
        otherSecret: otherSecret,
        proof: .signature(header: "webhook-signature", isTimed: true),
        [
            .init(booked, expects: .facts(["appointment booked"]), id: "A-77"),
            .init(ready, expects: .ignored(.unknownTopic)),
        ],
        sign: standardSample.sign
    )

    // MARK: Signatures

    @Test func theSpecificationsVectorIsAccepted() throws {
        let account = try source.account("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        let at = Timestamp(microseconds: 1_614_265_330_000_000)
        func request(_ signature: String) -> ReceivedRequest {
            ReceivedRequest(
                url: Senders.url,
                headers: [
                    ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"), ("webhook-timestamp", "1614265330"),
                    ("webhook-signature", signature),
                ],
                body: Array(#"{"test": 2432232314}"#.utf8)
            )
        }
        let right = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        #expect(source.refusal(of: request(right), account, at: at) == nil)
        // Versions that nobody knows are passed over; one right signature is enough.
        let list = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== v2,x "
        #expect(source.refusal(of: request(list + right), account, at: at) == nil)
        #expect(source.refusal(of: request(list), account, at: at) == .malformed)
        #expect(source.refusal(of: request(right), account, at: at + .seconds(300)) == nil)
        #expect(source.refusal(of: request(right), account, at: at + .seconds(301)) == .stale)
        #expect(source.refusal(of: request(right), account, at: at - .seconds(301)) == .stale)
    }

    @Test func aDotInTheIdMovesNoBorder() throws {
        // `a.1` at 2 and `a` at 1.2 are signed alike.
        let account = try source.account(Self.standardSecret)
        let request = ReceivedRequest(
            url: Senders.url,
            headers: [
                ("webhook-id", "msg.1"), ("webhook-timestamp", Senders.seconds(SourceConformance.now)),
                ("webhook-signature", "v1,7X5KrgLHiHc0lV19LQUjdN0gBHi2T3BgA6xzu+1d3Jc="),
            ],
            body: []
        )
        #expect(source.refusal(of: request, account) == .malformed)
    }

    @Test func aPluginsSignatureIsDescribedBySettings() throws {
        let body = Array("name=Ana+Ruiz&phone=%2B34600111222&form_id=contact".utf8)
        func refusal(_ settings: [String: String], _ headers: [ReceivedRequest.Header]) throws -> SourceRefusal.Reason?
        {
            source.refusal(
                of: ReceivedRequest(url: Senders.url, headers: headers, body: body),
                try source.account("form-shared-secret", settings),
                at: Timestamp(microseconds: 1_762_000_000_000_000)
            )
        }
        let plain = ["signature_header": "X-Signature", "signature_prefix": "sha256="]
        let signature = "sha256=fba72a8a16484f8855ffe452fba2acefce9f1ed4301f29e1fbcaf3cbfdd78a5b"
        #expect(try refusal(plain, [("X-Signature", signature)]) == nil)
        let timed = plain.merging(["timestamp_header": "X-Time"]) { $1 }
        let signedWithTime = "sha256=aa24186002e96b582de67b866bcf434c84f3c8189579e5733b38050c132425d5"
        #expect(try refusal(timed, [("X-Signature", signedWithTime), ("X-Time", "1762000000")]) == nil)
        #expect(try refusal(timed, [("X-Signature", signedWithTime), ("X-Time", "1762000001")]) == .forged)
        #expect(try refusal(timed, [("X-Signature", signedWithTime)]) == .unsigned)
    }

    @Test func aTokenNeedsANameForTheEvent() throws {
        let account = try source.account(Self.token)
        func refusal(_ key: [String]) -> SourceRefusal.Reason? {
            source.refusal(
                of: ReceivedRequest(
                    url: Senders.url,
                    headers: [("authorization", "bearer \(Self.token)")] + key.map { ("Idempotency-Key", $0) },
                    body: [1]
                ),
                account
            )
        }
        #expect(refusal(["order-1042"]) == nil)
        for wrong in [[], [""], ["a b"], ["é"], [String(repeating: "k", count: 201)], ["a", "b"]] {
            #expect(refusal(wrong) == .unnamed)
        }
        #expect(source.answer(to: SourceRefusal(.unnamed)).status == 400)
    }

    @Test func oneSourceProvesItselfInOneWay() throws {
        #expect(throws: Refusal.self) { try source.account(Self.standardSecret + "\n" + Self.token) }
        #expect(throws: Refusal.self) { try source.account("whsec_short-and-no-base64") }
        #expect(throws: Refusal.self) { try source.account("short") }
        #expect(throws: Refusal.self) { try source.account(Self.standardSecret, ["signature_header": "X-S"]) }
        #expect(throws: Refusal.self) { try source.account(Self.token, ["signature_prefix": "sha256="]) }
        #expect(throws: Refusal.self) { try source.account(Self.token, ["signature_header": "X S"]) }
        #expect(throws: Refusal.self) {
            try source.account(Self.token, ["signature_header": "X-S", "signature_encoding": "base32"])
        }
        // A token is not taken where signatures are expected, and the other way round.
        let bearer = ReceivedRequest(
            url: Senders.url,
            headers: [("Authorization", "Bearer " + Self.standardSecret), ("Idempotency-Key", "k")],
            body: [1]
        )
        #expect(source.refusal(of: bearer, try source.account(Self.standardSecret)) == .unsigned)
    }

    // MARK: Keys of events

    @Test func onlyAProvenNameNamesTheEvent() throws {
        let headers: [ReceivedRequest.Header] = [("webhook-id", "w1"), ("Idempotency-Key", "k1")]
        let request = ReceivedRequest(url: Senders.url, headers: headers, body: Array(Self.ready.utf8))
        func key(_ secret: String, _ settings: [String: String] = [:]) throws -> String? {
            let account = try source.account(secret, settings)
            return source.events(in: request, account, now: SourceConformance.now).first.map {
                source.eventKey(of: $0).value
            }
        }
        #expect(try key(Self.standardSecret) == "webhook-id:w1")
        #expect(try key(Self.token) == "idempotency-key:k1")
        // Neither header is signed there; the body is.
        #expect(try key(Self.token, ["signature_header": "X-S"]) == "custom:order.ready|evt_918")
        #expect(source.eventKey(of: Senders.event("x")).value.hasPrefix("sha256:"))
    }

    // MARK: Facts

    @Test func anOrderIsReadWhole() throws {
        let order = try #require(source.facts(Self.ready).first?.order)
        #expect(order.record == .init(id: "1042", at: Timestamp(rfc3339: "2026-11-02T10:15:04Z"), version: "3"))
        #expect(order.moment == .ready(place: nil))
        #expect(order.person.phones == ["+34600111222"])
        #expect(order.person.language == "es")
        #expect(order.total == SourceFact.Money(amount: "31.20", currency: "EUR"))
        #expect(order.pickupPlace == "Store 4")
        #expect(order.details["pickup_point"] == "Store 4")
    }

    @Test(arguments: [
        ("order.created", "order:acme.1042:confirmed"), ("order.paid", "order:acme.1042:paid"),
        ("order.ready", "order:acme.1042:ready"), ("order.shipped", "order:acme.1042:shipped:T-1"),
        ("order.tracking_changed", "order:acme.1042:tracking:T-1.T-1"),
        ("order.out_for_delivery", "order:acme.1042:out_for_delivery:T-1"),
        ("order.delivered", "order:acme.1042:delivered:T-1"),
        ("order.delivery_changed", "order:acme.1042:delivery-changed:changed:T-1"),
        ("order.cancelled", "order:acme.1042:cancelled"), ("order.refunded", "order:acme.1042:refunded"),
        ("order.invoice", "order:acme.1042:invoice"), ("order.status", "order:acme.1042:status-packed"),
        ("lead.created", "lead:acme.1042:first-touch"),
        ("appointment.booked", "appointment:acme.1042:booked"),
        ("appointment.moved", "appointment:acme.1042:moved:20261103T083000Z"),
        ("appointment.cancelled", "appointment:acme.1042:cancelled"),
        ("appointment.reminder", "appointment:acme.1042:reminder:20261103T083000Z"),
    ])
    func eachTypeHasItsKey(_ type: String, _ key: String) throws {
        let body =
            #"{"type":"\#(type)","object":{"id":"1042"},"data":{"tracking_number":"T-1","status":"packed","#
            + #""starts_at":"2026-11-03T09:30:00+01:00"}}"#
        #expect(try source.keys(body) == [key])
    }

    @Test func aTimeWithoutAnOffsetNeedsItsZone() throws {
        func start(_ data: String) throws -> Timestamp? {
            let body = #"{"type":"appointment.booked","object":{"id":"1"},"data":{\#(data)}}"#
            return try source.facts(body).first?.appointment?.start
        }
        let morning = Timestamp(rfc3339: "2026-11-03T08:30:00Z")
        #expect(try start(#""starts_at":"2026-11-03T09:30:00+01:00""#) == morning)
        #expect(try start(#""starts_at":"2026-11-03T09:30:00","time_zone":"Europe/Madrid""#) == morning)
        #expect(try start(#""starts_at":"2026-11-03 09:30","time_zone":"Europe/Madrid""#) == morning)
        // In summer it is another offset; and an hour that the clocks leave out is the one after it.
        let summer = Timestamp(rfc3339: "2026-07-03T07:30:00Z")
        #expect(try start(#""starts_at":"2026-07-03T09:30","time_zone":"Europe/Madrid""#) == summer)
        let skipped = Timestamp(rfc3339: "2026-03-29T01:30:00Z")
        #expect(try start(#""starts_at":"2026-03-29T02:30","time_zone":"Europe/Madrid""#) == skipped)
        for wrong in [
            #""starts_at":"2026-11-03T09:30:00""#, #""starts_at":"2026-11-03T09:30:00","time_zone":"Madrid""#,
            #""starts_at":"tomorrow","time_zone":"Europe/Madrid""#, #""place":"here""#,
        ] {
            #expect(throws: Refusal.self) { try start(wrong) }
        }
    }

    @Test func absentIsWrittenInManyWays() throws {
        for nothing in ["", " ", "null", "undefined"] {
            let body =
                #"{"type":"order.paid","object":{"id":"1"},"customer":{"phone":"\#(nothing)","name":"\#(nothing)"}}"#
            let order = try #require(source.facts(body).first?.order)
            #expect(order.person == SourceFact.Person())
        }
    }

    @Test(arguments: [
        (#"{"object":{"id":"1"}}"#, "type"), (#"{"type":"order.paid"}"#, "object.id"),
        (#"{"type":"order.paid","costumer":{}}"#, "costumer"),
        (#"{"type":"order.paid","object":{"id":"1"},"customer":{"telephone":"1"}}"#, "customer.telephone"),
        (#"{"type":"order.paid","object":{"id":"1"},"occurred_at":"yesterday"}"#, "occurred_at"),
        (#"{"type":"order.paid","object":{"id":"1"},"data":{"total":"12,50","currency":"EUR"}}"#, "data.total"),
        (#"{"type":"order.paid","object":"1"}"#, "object"),
        (#"{"type":"order.status","object":{"id":"1"}}"#, "data.status"),
    ])
    func aCallerIsToldWhichFieldIsWrong(_ body: String, _ field: String) {
        #expect(source.refusesUnreadable)
        #expect {
            try source.read(Senders.event(body), SourceSettings())
        } throws: { error in
            (error as? Refusal)?.field == field
        }
    }

    @Test func aFormSaysTheSameAsJSON() throws {
        let form: [ReceivedEvent.Header] = [("Content-Type", "application/x-www-form-urlencoded")]
        let posted =
            "type=order.ready&id=evt_918&occurred_at=2026-11-02T10%3A15%3A04Z&object.kind=order&object.id=1042"
            + "&object.number=1042&object.revision=3&customer.phone=%2B34600111222&customer.name=Ana+Ruiz"
            + "&customer.locale=es&customer.country=ES&data.total=31.20&data.currency=EUR"
            + "&data.tracking_url=https%3A%2F%2Ft.example%2F1&data.pickup_point=Store+4"
        #expect(try source.facts(posted, form) == source.facts(Self.ready))
        for wrong in ["type=a&type=b", "object=1&object.id=2", "object.id=2&object=1", "a..b=1", "a.b.c.d.e=1"] {
            #expect(throws: Refusal.self) { try source.facts(wrong, form) }
        }
    }

    @Test(arguments: [
        ("group.message", PolicyAsk.group), ("newsletter.sent", .channel), ("broadcast.x", .broadcast),
        ("marketing.spring", .campaign), ("cold.lead", .coldOutbound), ("chatbot.reply", .bot),
        ("template.send", .waba),
        ("message.campaign", .campaign),
    ])
    func whatIsNotDoneIsRefusedInWords(_ type: String, _ ask: PolicyAsk) throws {
        let reading = try source.read(Senders.event(#"{"type":"\#(type)"}"#), SourceSettings())
        #expect(reading == .refused(ask))
        #expect(!ask.sentence.isEmpty)
    }
}
