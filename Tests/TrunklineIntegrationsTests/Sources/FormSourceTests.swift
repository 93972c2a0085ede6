import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct FormSourceTests {
    private static let typeform =
        #"{"event_id":"01HZX","event_type":"form_response","form_response":{"form_id":"A1b2C3","token":"tok1","#
        + #""submitted_at":"2026-11-01T12:26:40Z","answers":[{"type":"phone_number","phone_number":"+34600111222","#
        + #""field":{"id":"f1","type":"phone_number","ref":"phone"}}]}}"#
    private static let urlencoded: [ReceivedEvent.Header] = [("Content-Type", "application/x-www-form-urlencoded")]
    private static let multipart: [ReceivedEvent.Header] = [("Content-Type", "multipart/form-data; boundary=\"x 1\"")]
    private let source = FormSource()

    private static let posted = "name=Ana+Ruiz&phone=%2B34600111222&form_id=contact"
    private static let parts =
        "--x 1\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nAna Ruiz\r\n"
        + "--x 1\r\nContent-Disposition: form-data; name=\"cv\"; filename=\"cv.pdf\"\r\nContent-Type: application/pdf\r\n\r\n"
        + "%PDF\r\n--x 1\r\ncontent-disposition: form-data; name=\"phone\"\r\n\r\n+34600111222\r\n--x 1--\r\n"

    private static let fixtures: [SourceConformance.Fixture] = [
        .init(typeform, expects: .facts(["lead"]), id: "tok1"),
        .init(headers: urlencoded, posted, expects: .facts(["lead"])),
        .init(headers: multipart, parts, expects: .facts(["lead"])),
        .init(
            #"{"eventId":"e1","eventType":"FORM_RESPONSE","createdAt":"2026-11-01T12:26:40.000Z","data":{"responseId":"r1","#
                + #""formId":"f","fields":[{"label":"Your number","type":"INPUT_PHONE_NUMBER","value":"+34600111222"}]}}"#,
            expects: .facts(["lead"]),
            id: "r1"
        ),
        .init(#"{"entry_id":820982911946154508,"phone":"600"}"#, expects: .facts(["lead"]), id: "820982911946154508"),
        .init(headers: urlencoded, posted + "&_gotcha=http%3A%2F%2Fspam.example", expects: .ignored(.bot)),
        .init(headers: urlencoded, "name=A&phone=1203630%40newsletter", expects: .refused(.channel)),
    ]

    static let typeformSample = SourceConformance.Sample(
        secret: "typeform_secret_demo",
        otherSecret: "typeform_secret_next",
        proof: .signature(header: "typeform-signature", isTimed: false),
        fixtures,
        sign: Senders.signing("Typeform-Signature") { "sha256=" + Senders.base64($0) }
    )

    static let headerSample = SourceConformance.Sample(
        secret: "a-header-secret-0123456789",
        otherSecret: "a-header-secret-9876543210",
        settings: ["secret_header": "X-Form-Key"],
        proof: .token(header: "x-form-key"),
        fixtures
    ) { fixture, secret, _ in Senders.request(fixture, [("X-Form-Key", secret)]) }

    static let openSample = SourceConformance.Sample(secret: "", otherSecret: "", proof: .none, fixtures) {
        fixture,
        _,
        _ in
        Senders.request(fixture, [])
    }

    // MARK: Signatures

    @Test func typeformsSignatureIsKnown() throws {
        func refusal(_ signature: String) throws -> SourceRefusal.Reason? {
            source.refusal(
                of: ReceivedRequest(
                    url: Senders.url,
                    headers: [("Typeform-Signature", signature)],
                    body: Array(Self.typeform.utf8)
                ),
                try source.account("typeform_secret_demo")
            )
        }
        #expect(try refusal("sha256=OiHw4aSP1PaHcNZc23/JJvFw5Vidz6S+XibToYQH6ho=") == nil)
        #expect(try refusal("OiHw4aSP1PaHcNZc23/JJvFw5Vidz6S+XibToYQH6ho=") == .malformed)
    }

    @Test func aSecretIsGivenWhereItIsNeeded() throws {
        #expect(try source.account("").secrets == .none)
        #expect(throws: Refusal.self) { try source.account("", ["secret_header": "X-Form-Key"]) }
        #expect(throws: Refusal.self) { try source.account("", ["signature_header": "X-S"]) }
        #expect(throws: Refusal.self) {
            try source.account("0123456789", ["secret_header": "X-K", "signature_header": "X-S"])
        }
        // With a secret and no word about it, only the tools that are known by name are let in.
        let request = ReceivedRequest(url: Senders.url, headers: [], body: Array(Self.posted.utf8))
        #expect(source.refusal(of: request, try source.account("0123456789")) == .unsigned)
    }

    // MARK: Keys

    @Test func theSameEntryOfOneDayIsOneEvent() {
        func key(_ body: String, _ headers: [ReceivedEvent.Header], day: String = "2026-12-01") -> String {
            let at = Timestamp(rfc3339: day + "T10:00:00Z")!
            return source.eventKey(of: ReceivedEvent(headers: headers, body: Array(body.utf8), receivedAt: at)).value
        }
        #expect(key(Self.typeform, []) == "form:id|01HZX")
        let first = key(Self.posted, Self.urlencoded)
        #expect(first.hasPrefix("form:2026-12-01|"))
        #expect(key(Self.posted, Self.urlencoded) == first)
        #expect(key(Self.posted, Self.urlencoded, day: "2026-12-02") != first)
        #expect(key(Self.posted + "&x=1", Self.urlencoded) != first)
        // A browser draws another boundary for each post.
        let other: [ReceivedEvent.Header] = [("Content-Type", "multipart/form-data; boundary=yyy")]
        #expect(key(Self.parts, Self.multipart) == key(Self.parts.replacing("--x 1", with: "--yyy"), other))
    }

    // MARK: Fields

    private func lead(_ body: String, _ headers: [ReceivedEvent.Header], _ settings: [String: String] = [:]) throws
        -> SourceFact.Lead
    {
        try #require(source.facts(body, headers, settings).first?.lead)
    }

    @Test func theThreeFormsSayTheSame() throws {
        let json = #"{"name":"Ana Ruiz","phone":"+34600111222"}"#
        for lead in [
            try lead(Self.posted, Self.urlencoded), try lead(Self.parts, Self.multipart),
            try lead(json, [("Content-Type", "application/json")]),
        ] {
            #expect(lead.person.name == "Ana Ruiz")
            #expect(lead.person.phones == ["+34600111222"])
        }
        #expect(try lead(Self.posted, Self.urlencoded).origin == "contact")
        // A file is nothing that a notice is made of.
        #expect(try lead(Self.parts, Self.multipart).details["cv"] == nil)
    }

    @Test func fieldsAreFoundByTheirUsualNamesOrBySettings() throws {
        let body = "first-name=Ana&Last+Name=Ruiz&Your-Tel=600+111+222&Country=es&lang=es&q7=%2B34911"
        let usual = try lead(body, Self.urlencoded)
        #expect(usual.person.name == "Ana Ruiz")
        #expect(usual.person.firstName == "Ana")
        #expect(usual.person.phones == ["600 111 222"])
        #expect(usual.person.country == "ES")
        #expect(usual.person.language == "es")
        #expect(try lead(body, Self.urlencoded, ["phone": "Q7"]).person.phones == ["+34911"])
        #expect(try lead("phone%5B%5D=600", Self.urlencoded).person.phones == ["600"])
    }

    @Test func typedAnswersAreRead() throws {
        let lead = try lead(Self.typeform, [])
        #expect(lead.record == .init(id: "tok1", at: Timestamp(rfc3339: "2026-11-01T12:26:40Z")))
        #expect(lead.person.phones == ["+34600111222"])
        #expect(lead.origin == "A1b2C3")
    }

    @Test func jotformsAnswersAreInOneField() throws {
        let raw = #"{"q3_fullName":{"first":"Ana","last":"Ruiz"},"q4_phoneNumber":{"full":"(600) 111-222"}}"#
        let body =
            "--b\r\nContent-Disposition: form-data; name=\"submissionID\"\r\n\r\n5551\r\n"
            + "--b\r\nContent-Disposition: form-data; name=\"rawRequest\"\r\n\r\n\(raw)\r\n--b--"
        let lead = try lead(body, [("Content-Type", "multipart/form-data; boundary=b")], ["phone": "phoneNumber.full"])
        #expect(lead.record.id == "5551")
        #expect(lead.person.phones == ["(600) 111-222"])
    }

    @Test func robotsAndTheUnwillingAreLetGo() throws {
        func reading(_ more: String, _ settings: [String: String]) throws -> SourceReading {
            try source.read(Senders.event(Self.posted + more, Self.urlencoded), SourceSettings(settings))
        }
        #expect(try reading("&website=x", ["honeypot": "website"]) == .ignored(.bot))
        #expect(try reading("&honeypot=x", [:]) == .ignored(.bot))
        guard case .facts = try reading("&website=", ["honeypot": "website"]) else { throw CancellationError() }
        let consent = ["consent": "ok"]
        #expect(try reading("", consent) == .ignored(.noConsent))
        #expect(try reading("&ok=no", consent) == .ignored(.noConsent))
        guard case .facts = try reading("&ok=on", consent) else { throw CancellationError() }
    }

    @Test func bytesOfAnotherCharsetAreRead() throws {
        // Jos\u{E9} in Latin-1, said and unsaid.
        let said: [ReceivedEvent.Header] = [("Content-Type", "application/x-www-form-urlencoded; charset=ISO-8859-1")]
        #expect(try lead("name=Jos%E9", said).person.name == "José")
        #expect(try lead("name=Jos%E9", Self.urlencoded).person.name == "José")
        #expect(try lead("name=Jos%C3%A9", Self.urlencoded).person.name == "José")
        // A percent sign that begins no escape is itself.
        #expect(try lead("name=100%+sure%", Self.urlencoded).person.name == "100% sure%")
    }

    @Test(arguments: [
        ("multipart/form-data", "--b\r\n\r\n--b--"), ("multipart/form-data; boundary=b", "no boundary"),
        ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nno end"),
        ("multipart/form-data; boundary=b", "--b\r\nno blank line\r\n--b--"),
        ("application/x-www-form-urlencoded", "a=%00"), ("application/json", "[1]"),
        ("application/x-www-form-urlencoded", String(repeating: "a=1&", count: 501)),
    ])
    func whatIsNoFormIsRefused(_ type: String, _ body: String) {
        #expect(throws: Refusal.self) { try source.facts(body, [("Content-Type", type)]) }
    }
}
