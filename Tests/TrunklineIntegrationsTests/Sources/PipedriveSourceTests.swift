import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct PipedriveSourceTests {
    private let source = PipedriveSource()

    private static func v2(
        _ entity: String,
        _ action: String,
        _ data: String,
        meta: String = "",
        id: String = "7",
        event: String = "5d7d2d1c-8f0e-4f2e-9d53-0d6b1c2a3e4f"
    ) -> String {
        #"{"meta":{"id":"\#(event)","action":"\#(action)","entity":"\#(entity)","#
            + #""entity_id":"\#(id)","company_id":"11","timestamp":"2026-11-02T10:15:04.123Z","version":"2.0","#
            + #""webhook_id":"3","user_id":"9","change_source":"app","attempt":1\#(meta)},"data":\#(data),"previous":null}"#
    }

    private static let person =
        #"{"id":7,"name":"Ana Ruiz","first_name":"Ana","phones":[{"label":"home","value":"911 222 333","primary":false},"#
        + #"{"label":"mobile","value":"+34600111222","primary":true}],"update_time":"2026-11-02T10:15:04Z"}"#

    private static let old =
        #"{"v":1,"meta":{"action":"added","object":"person","id":820982911946154508,"company_id":11,"timestamp":1680840511,"#
        + #""timestamp_micro":1680840511329055,"webhook_id":"174632","user_id":1},"current":{"id":820982911946154508,"#
        + #""name":"Ana","phone":[{"label":"work","value":"+1434993473","primary":true}],"add_time":"2023-04-07 04:08:31"},"#
        + #""previous":null,"event":"added.person","retry":0}"#

    private static let fixtures: [SourceConformance.Fixture] = [
        .init(
            v2("person", "create", person),
            expects: .facts(["contact", "lead"]),
            id: "7",
            again: v2("person", "create", person).replacing(#""attempt":1"#, with: #""attempt":2"#)
        ),
        .init(v2("person", "change", person, event: "e2"), expects: .facts(["contact"]), id: "7"),
        .init(
            old,
            expects: .facts(["contact", "lead"]),
            id: "820982911946154508",
            again: old.replacing(#""retry":0"#, with: #""retry":1"#)
        ),
        .init(v2("deal", "change", #"{"id":8,"update_time":"x"}"#, id: "8"), expects: .fetch("deal"), id: "8"),
        .init(v2("organization", "change", "{}"), expects: .ignored(.unknownTopic)),
    ]

    static let basicSample = SourceConformance.Sample(
        secret: "ezw:p1pe-Drive!",
        otherSecret: "ezw:p1pe-Drive?",
        proof: .token(header: "authorization"),
        fixtures
    ) { fixture, secret, _ in
        Senders.request(fixture, [("Authorization", "Basic " + Senders.base64(Array(secret.utf8)))])
    }

    static let openSample = SourceConformance.Sample(secret: "", otherSecret: "", proof: .none, fixtures) {
        fixture,
        _,
        _ in
        Senders.request(fixture, [])
    }

    @Test func userAndPasswordAreHTTPsOwn() throws {
        func refusal(_ value: String) throws -> SourceRefusal.Reason? {
            let request = ReceivedRequest(url: Senders.url, headers: [("Authorization", value)], body: [])
            return source.refusal(of: request, try source.account("ezw:p1pe-Drive!"))
        }
        #expect(try refusal("Basic ZXp3OnAxcGUtRHJpdmUh") == nil)
        #expect(try refusal("Basic ZXp3OnAxcGUtRHJpdmU=") == .forged)
        #expect(try refusal("Bearer ZXp3OnAxcGUtRHJpdmUh") == .malformed)
        #expect(throws: Refusal.self) { try source.account("no-colon-in-it") }
    }

    @Test func aTryIsNoNewEvent() {
        func key(_ meta: String) -> String {
            source.eventKey(of: Senders.event(Self.v2("person", "create", Self.person, meta: meta))).value
        }
        #expect(key("") == "pipedrive:11|3|person|5d7d2d1c-8f0e-4f2e-9d53-0d6b1c2a3e4f|2026-11-02T10:15:04.123Z")
        let again = Self.v2("person", "create", Self.person).replacing(#""attempt":1"#, with: #""attempt":3"#)
        #expect(source.eventKey(of: Senders.event(again)).value == key(""))
        #expect(
            source.eventKey(of: Senders.event(Self.old)).value
                == "pipedrive:11|174632|added.person|820982911946154508|1680840511329055"
        )
    }

    @Test func aPersonIsReadWhole() throws {
        let contact = try #require(source.facts(Self.v2("person", "create", Self.person)).first?.contact)
        #expect(contact.person.phones == ["+34600111222", "911 222 333"])
        #expect(contact.record.at == Timestamp(rfc3339: "2026-11-02T10:15:04.123Z"))
        let old = try #require(source.facts(Self.old).first?.contact)
        #expect(old.person.phones == ["+1434993473"])
        #expect(old.record.at == Timestamp(microseconds: 1_680_840_511_000_000))
        #expect(old.record.createdAt == Timestamp(rfc3339: "2023-04-07T04:08:31Z"))
    }

    @Test func echoesAndFloodsAreIgnored() throws {
        func reading(_ meta: String, _ settings: [String: String] = [:], action: String = "create") throws
            -> SourceReading
        {
            let body = Self.v2("person", action, Self.person)
                .replacing(#""change_source":"app""#, with: #""change_source":"api""# + meta)
            return try source.read(Senders.event(body), SourceSettings(settings))
        }
        #expect(try reading("", ["own_user_id": "9"]) == .ignored(.ownChange))
        // Another user's, or nobody said which user is ours.
        for settings in [["own_user_id": "8"], [:]] {
            guard case .facts = try reading("", settings) else { throw CancellationError() }
        }
        #expect(try reading(#","is_bulk_edit":true"#) == .ignored(.bulk))
        #expect(try reading("", action: "delete") == .ignored(.nothingNew))
        #expect(throws: Refusal.self) { try source.facts("{}") }
    }

    @Test func recordedPayloadsAreRead() throws {
        for (name, headers, body) in try RecordedSamples.webhooks(of: "pipedrive") {
            let event = ReceivedEvent(headers: headers, body: body, receivedAt: SourceConformance.now)
            guard case .facts(let facts) = try source.read(event, SourceSettings()) else {
                Issue.record("\(name)")
                continue
            }
            #expect(facts.first?.person.phones == ["+1434993473"])
        }
    }
}
