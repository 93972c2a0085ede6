import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct GoogleAdsSourceTests {
    private static let lead =
        #"{"lead_id":"TeSter-123-ABCDEFGHIJKLMNOPQRSTUVWXYZ","user_column_data":[{"column_id":"FULL_NAME","string_value":"#
        + #""Ana Ruiz"},{"column_id":"PHONE_NUMBER","string_value":"+34600111222"}],"api_version":"1.0","form_id":40000000000,"#
        + #""campaign_id":123,"is_test":false,"gcl_id":"","adgroup_id":0,"creative_id":0}"#
    private let source = GoogleAdsSource()

    static let sample = SourceConformance.Sample(
        secret: "k-demo-0123456789",
        otherSecret: "k-next-0123456789",
        proof: .inBody,
        [
            .init(lead, expects: .facts(["lead"]), id: "TeSter-123-ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
            .init(#"{"lead_id":"x","is_test":true}"#, expects: .ignored(.test)),
            .init(#"{"lead_id":820982911946154508}"#, expects: .facts(["lead"]), id: "820982911946154508"),
        ]
    ) { fixture, secret, _ in
        let body = Array("{\"google_key\":\"\(secret)\",".utf8) + fixture.body.dropFirst()
        return ReceivedRequest(url: Senders.url, headers: fixture.headers, body: body)
    }

    @Test func theKeyInTheBodyProvesTheSender() throws {
        func refusal(_ body: String) throws -> SourceRefusal.Reason? {
            let request = ReceivedRequest(url: Senders.url, headers: [], body: Array(body.utf8))
            return source.refusal(of: request, try source.account("k-demo"))
        }
        #expect(try refusal(#"{"lead_id":"1","google_key":"k-demo"}"#) == nil)
        #expect(try refusal(#"{"lead_id":"1","google_key":"k-dem"}"#) == .forged)
        #expect(try refusal(#"{"lead_id":"1","google_key":["k-demo"]}"#) == .unsigned)
        #expect(try refusal(#"{"lead_id":"1"}"#) == .unsigned)
        #expect(try refusal(#"{"google_key":"k-demo","google_key":"x"}"#) == .malformed)
        #expect(try refusal("k-demo") == .malformed)
    }

    @Test func aLeadIsReadWhole() throws {
        let lead = try #require(source.facts(Self.lead).first?.lead)
        #expect(lead.person.name == "Ana Ruiz")
        #expect(lead.person.phones == ["+34600111222"])
        #expect(lead.origin == "40000000000")
        #expect(source.accepted == SourceAnswer(status: 200, contentType: "application/json", body: Array("{}".utf8)))
        #expect(
            source.eventKey(of: Senders.event(Self.lead)).value == "google-ads:TeSter-123-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        )
    }
}
