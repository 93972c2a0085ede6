import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct HubSpotSourceTests {
    private static let secret = "7c3f1f2e-0b4d-4f0e-9a57-2d5a1f0c9e11"
    private static let event =
        #"[{"eventId":100,"subscriptionId":25,"portalId":4321,"appId":998,"occurredAt":1762000000000,"subscriptionType":"#
        + #""contact.creation","attemptNumber":0,"objectId":123,"changeFlag":"CREATED","changeSource":"CRM_UI"}]"#
    private let source = HubSpotSource()

    private static let workflow =
        #"{"vid":820982911946154508,"portal-id":1,"properties":{"firstname":{"value":"Ana","versions":[]},"#
        + #""lastname":{"value":"Ruiz"},"mobilephone":{"value":"600 111 222"},"phone":{"value":"+34911"},"#
        + #""lastmodifieddate":{"value":"1762000000000"},"createdate":{"value":"1761000000000"}}}"#

    static let sample = SourceConformance.Sample(
        secret: secret,
        otherSecret: "11111111-0b4d-4f0e-9a57-2d5a1f0c9e11",
        proof: .signature(header: "x-hubspot-signature-v3", isTimed: true),
        [
            .init(
                event,
                expects: .fetch("contact"),
                id: "123",
                again: event.replacing(#""attemptNumber":0"#, with: #""attemptNumber":1"#)
            ),
            .init(
                #"[{"eventId":2,"subscriptionType":"deal.propertyChange","propertyName":"dealstage","objectId":7,"#
                    + #""occurredAt":1762000000001},{"eventId":1,"subscriptionType":"contact.creation","#
                    + #""objectId":820982911946154508,"occurredAt":1762000000002},{"eventId":3,"subscriptionType":"#
                    + #""contact.creation","objectId":9,"changeSource":"IMPORT"}]"#,
                expects: .fetch("contact"),
                .ignored(.bulk),
                .fetch("deal"),
                id: "820982911946154508"
            ),
            .init(workflow, expects: .facts(["contact", "lead"]), id: "820982911946154508"),
        ]
    ) { fixture, secret, time in
        let milliseconds = "\(time.microseconds / 1_000)"
        let text = Array(("POST" + Senders.url).utf8) + fixture.body + Array(milliseconds.utf8)
        return Senders.request(
            fixture,
            [
                ("X-HubSpot-Signature-v3", Senders.base64(Senders.hmac(text, secret))),
                ("X-HubSpot-Request-Timestamp", milliseconds),
            ]
        )
    }

    private func refusal(
        _ headers: [ReceivedRequest.Header],
        url: String = "https://hooks.example.com/in/hubspot/t_01",
        body: String = event,
        secret: String = secret,
        after milliseconds: Int64 = 0
    ) throws -> SourceRefusal.Reason? {
        source.refusal(
            of: ReceivedRequest(url: url, headers: headers, body: Array(body.utf8)),
            try source.account(secret),
            at: Timestamp(microseconds: (1_762_000_001_234 + milliseconds) * 1_000)
        )
    }

    @Test func allThreeVersionsAreKnown() throws {
        let v1 = "7a978807186e0354505181a8f68851d5a994bed0761afac2ae70e2ccdb129340"
        let v2 = "0f45c6034c305fead915adbb54b08b9325288170e130d02cc0ec7aeff1cbe035"
        let v3: [ReceivedRequest.Header] = [
            ("X-HubSpot-Signature-v3", "5vGHg0zTQavEmyxEwDt1a8dTle3BnJaLaui1P5Mp0FA="),
            ("X-HubSpot-Request-Timestamp", "1762000001234"),
        ]
        func older(_ signature: String, _ version: String?) -> [ReceivedRequest.Header] {
            [("X-HubSpot-Signature", signature)] + (version.map { [("X-HubSpot-Signature-Version", $0)] } ?? [])
        }
        #expect(try refusal(v3) == nil)
        #expect(try refusal(older(v2, "v2")) == nil)
        #expect(try refusal(older(v1, "v1")) == nil)
        #expect(try refusal(older(v1, nil)) == nil)
        #expect(try refusal(older(v1, "v2")) == .forged)
        #expect(try refusal(older(v2, "v4")) == .malformed)
        // Where the third is sent, it counts, and an older one does not help.
        #expect(try refusal(v3 + older(v2, "v2"), after: 300_001) == .stale)
        #expect(try refusal(v3, after: 300_000) == nil)
        #expect(try refusal(v3, after: -300_001) == .stale)
        #expect(try refusal(v3, url: "https://hooks.example.com/in/hubspot/t_02") == .forged)
        #expect(try refusal([v3[0]]) == .unsigned)
    }

    @Test func escapesInTheAddressAreTakenBackBeforeItIsSigned() throws {
        let plain = "https://hooks.example.com/in/t?a=b@c:d&e=%20"
        let text = Array(("POST" + plain).utf8) + Array(Self.event.utf8) + Array("1762000001234".utf8)
        let headers: [ReceivedRequest.Header] = [
            ("X-HubSpot-Signature-v3", Senders.base64(Senders.hmac(text, Self.secret))),
            ("X-HubSpot-Request-Timestamp", "1762000001234"),
        ]
        #expect(try refusal(headers, url: "https://hooks.example.com/in/t?a=b%40c%3ad&e=%20") == nil)
        #expect(try refusal(headers, url: plain) == nil)
        #expect(try refusal(headers, url: "https://hooks.example.com/in/t?a=b%40c%3ad&e= ") == .forged)
    }

    @Test func aTryIsNoNewEvent() throws {
        let account = try source.account(Self.secret)
        func keys(_ body: String) -> [String] {
            let request = ReceivedRequest(url: Senders.url, headers: [], body: Array(body.utf8))
            return source.events(in: request, account, now: SourceConformance.now).map { source.eventKey(of: $0).value }
        }
        #expect(keys(Self.event) == ["hubspot:100|4321|25|123|1762000000000|"])
        // The attempt is not in the key.
        let again = Self.event.replacing(#""attemptNumber":0"#, with: #""attemptNumber":3"#)
        #expect(keys(again) == keys(Self.event))
        func bodies(_ body: String) -> [[UInt8]] {
            let request = ReceivedRequest(url: Senders.url, headers: [], body: Array(body.utf8))
            return source.events(in: request, account, now: SourceConformance.now).map(\.body)
        }
        // And not in the bytes: the same name with other bytes would be a conflict.
        #expect(bodies(again) == bodies(Self.event))
    }

    @Test func oneBadEventCostsNoOther() throws {
        let body = #"[7,{"subscriptionType":"contact.creation","objectId":1,"eventId":1}]"#
        let request = ReceivedRequest(url: Senders.url, headers: [], body: Array(body.utf8))
        let events = source.events(in: request, try source.account(Self.secret), now: SourceConformance.now)
        #expect(events.map { String(decoding: $0.body, as: UTF8.self) }.last == "7")
        guard case .fetch = try source.read(events[0], SourceSettings()) else { throw CancellationError() }
        #expect(throws: Refusal.self) { try source.read(events[1], SourceSettings()) }
    }

    @Test func thinEventsSayWhatToFetch() throws {
        func reading(_ event: String) throws -> SourceReading {
            try source.read(Senders.event(event), SourceSettings())
        }
        #expect(
            try reading(
                #"{"eventId":1,"portalId":4321,"subscriptionType":"object.propertyChange","objectTypeId":"0-3","objectId":7,"#
                    + #""propertyName":"dealstage","propertyValue":"won","occurredAt":1762000000000}"#
            )
                == .fetch(
                    RecordToFetch(
                        type: "deal",
                        id: "7",
                        account: "4321",
                        event: "propertyChange:dealstage",
                        version: "1762000000000",
                        at: Timestamp(microseconds: 1_762_000_000_000_000)
                    )
                )
        )
        #expect(try reading(#"{"subscriptionType":"contact.privacyDeletion","objectId":1}"#) == .ignored(.privacy))
        #expect(try reading(#"{"subscriptionType":"contact.deletion","objectId":1}"#) == .ignored(.nothingNew))
        #expect(try reading(#"{"subscriptionType":"conversation.newMessage","objectId":1}"#) == .ignored(.unknownTopic))
        #expect(throws: Refusal.self) { try reading(#"{"subscriptionType":"contact.creation"}"#) }
        #expect(throws: Refusal.self) { try reading("{}") }
    }

    @Test func aWorkflowsRecordIsReadWhole() throws {
        let lead = try #require(source.facts(Self.workflow).last?.lead)
        #expect(lead.person.name == "Ana Ruiz")
        #expect(lead.person.phones == ["600 111 222", "+34911"])
        #expect(lead.record.at == Timestamp(microseconds: 1_762_000_000_000_000))
    }

    @Test func recordedPayloadsAreRead() throws {
        for (name, headers, body) in try RecordedSamples.webhooks(of: "hubspot") {
            let event = ReceivedEvent(headers: headers, body: body, receivedAt: SourceConformance.now)
            guard case .facts(let facts) = try source.read(event, SourceSettings()) else {
                Issue.record("\(name)")
                continue
            }
            #expect(facts.first?.record.id == "251")
        }
    }
}
