import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct SourceConformanceTests {
    /// What the suite must know of each source of the registry, by kind: a sample for each way to prove a sender.
    static let samples: [SourceKind: [SourceConformance.Sample]] = [
        "shopify": [ShopifySourceTests.sample],
        "woocommerce": [WooCommerceSourceTests.sample],
        "custom": [CustomSourceTests.standardSample, CustomSourceTests.bearerSample, CustomSourceTests.signedSample],
        "appointments": [CustomSourceTests.appointmentsSample],
        "form": [FormSourceTests.typeformSample, FormSourceTests.headerSample, FormSourceTests.openSample],
        "calendly": [CalendlySourceTests.sample],
        "calcom": [CalComSourceTests.sample],
        "meta-leads": [MetaLeadsSourceTests.sample],
        "google-ads": [GoogleAdsSourceTests.sample],
        "hubspot": [HubSpotSourceTests.sample],
        "pipedrive": [PipedriveSourceTests.basicSample, PipedriveSourceTests.openSample],
        "zoho": [ZohoSourceTests.sample],
        "google-sheets": [CustomSourceTests.bearerSample],
        "google-calendar": [GoogleCalendarSourceTests.sample],
        "salesforce": [SalesforceSourceTests.sample],
    ]

    @Test(arguments: SourceRegistry.standard.all.map(\.kind), [1, 2] as [UInt64])
    func everySourceOfTheRegistryKeepsEveryRule(_ kind: SourceKind, _ seed: UInt64) throws {
        let source = try #require(SourceRegistry.standard[kind.value])
        let samples = try #require(Self.samples[kind], "a new source needs a sample here")
        for (index, sample) in samples.enumerated() {
            let violations = try SourceConformance(source, sample).violations(seed: seed)
            #expect(violations == [], "sample \(index): \(violations)")
        }
    }

    // MARK: The suite itself

    static let sample = SourceConformance.Sample(
        secret: "very-secret-secret-one",
        otherSecret: "very-secret-secret-two",
        proof: .signature(header: "x-signature", isTimed: true),
        [
            .init(#"{"id":820982911946154508}"#, expects: .facts(["order paid"]), id: "820982911946154508"),
            .init(#"{"id":2,"try":1}"#, expects: .facts(["order paid"]), id: "2", again: #"{"id":2,"try":2}"#),
        ]
    ) { fixture, secret, time in
        let text = Array((Senders.seconds(time) + ".").utf8) + fixture.body
        return Senders.request(
            fixture,
            [("X-Signature", Digest.hex(Senders.hmac(text, secret))), ("X-Time", Senders.seconds(time)), ("X-Id", "1")]
        )
    }

    @Test func aGoodSourceKeepsEveryRule() throws {
        #expect(try SourceConformance(FlawedSource(flaw: nil), Self.sample).violations(seed: 1) == [])
    }

    /// A rule that no source can break is no rule.
    @Test(arguments: SourceConformance.Rule.allCases)
    func aSourceThatBreaksARuleIsFound(_ rule: SourceConformance.Rule) throws {
        let found = try SourceConformance(FlawedSource(flaw: rule), Self.sample).violations(seed: 1)
        #expect(found.contains { $0.rule == rule }, "\(found)")
    }
}

/// Signs a time and its body, reads an order; and breaks one rule on demand.
private struct FlawedSource: Source {
    let flaw: SourceConformance.Rule?
    let kind: SourceKind = "flawed"
    var accepted: SourceAnswer { SourceAnswer(status: flaw == .answersAsSendersExpect ? 302 : 200) }

    func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        if flaw == .showsNoSecret, secret.contains(0x07) {
            throw Refusal(kind: .invalid, field: "secret", reason: String(decoding: secret, as: UTF8.self))
        }
        return SourceAccount(
            secrets: try SourceSecrets(secret),
            settings: flaw == .refusesUnknownSettings ? SourceSettings(settings) : try checked(settings)
        )
    }

    func handshake(_ request: ReceivedRequest, _ account: SourceAccount) -> SourceAnswer? {
        flaw == .keepsEventsFromHandshakes ? .ok : nil
    }

    func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        switch flaw {
        case .acceptsItsSender where request.body.count > 10: throw SourceRefusal(.forged)
        case .refusesAnotherSecret: return
        case .refusesChangedBytes where request.body.count > 3: return
        case .refusesWithoutProof where !request.has("x-signature"): return
        default: break
        }
        let time = request.headers.first { $0.name == "X-Time" }.flatMap { Int64($0.value) } ?? 0
        try BodySignature(header: "x-signature", .hex, signed: .timeAndBody(header: "x-time"))
            .verify(
                request,
                account.secrets,
                now: flaw == .refusesOtherTimes ? Timestamp(microseconds: time * 1_000_000) : now
            )
    }

    func events(in request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) -> [ReceivedEvent] {
        let text = String(decoding: request.body, as: UTF8.self).replacing(/,"try":\d/, with: "")
        return [
            ReceivedEvent(request, body: flaw == .knowsATryAgain ? request.body : Array(text.utf8), receivedAt: now)
        ]
    }

    func eventKey(of event: ReceivedEvent) -> EventKey {
        switch flaw {
        case .namesEventsTheSame: EventKey("always-\(event.header("x-id") ?? "")")
        case .survivesAnyBytes where event.body.isEmpty: EventKey("")
        default: EventKey(digestOf: event.body)
        }
    }

    func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        if flaw == .refusesNamesGivenTwice, String(decoding: event.body, as: UTF8.self).contains("null") {
            return .facts([fact("1")])
        }
        let document: JSONValue
        do throws(JSONError) {
            document = try JSONValue(parsing: event.body)
        } catch {
            throw Refusal(kind: .malformed, reason: error.sentence)
        }
        guard case .number(let id)? = document["id"] else { throw Refusal(kind: .invalid, reason: "no id") }
        switch flaw {
        case .readsTheSame: return .ignored(.nothingNew)
        case .keepsIDs: return .facts([fact("\(Double(id) ?? 0)")])
        case .givesEachFactAKey: return .facts([fact(id), fact(id)])
        default: return .facts([fact(id)])
        }
    }

    private func fact(_ id: String) -> SourceFact {
        .order(.init(record: .init(id: id, at: nil), moment: .paid))
    }
}
