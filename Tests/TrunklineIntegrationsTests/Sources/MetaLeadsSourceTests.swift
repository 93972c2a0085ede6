import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct MetaLeadsSourceTests {
    private static let settings = ["verify_token": "a-word-for-the-dashboard"]
    // The six characters of an escape, as they were sent and signed.
    private static let event =
        #"{"object":"page","entry":[{"id":"153125381133","time":1762000000,"changes":[{"field":"leadgen","value":"#
        + #"{"leadgen_id":"444444444444","page_id":"153125381133","form_id":"777777","adgroup_id":"9999","ad_id":"8888","#
        + #""created_time":1761999998,"note":"Jos\u00e9"}}]}]}"#
    private let source = MetaLeadsSource()

    static let sample = SourceConformance.Sample(
        secret: "0123456789abcdef0123456789abcdef",
        otherSecret: "fedcba9876543210fedcba9876543210",
        settings: settings,
        proof: .signature(header: "x-hub-signature-256", isTimed: false),
        [
            .init(event, expects: .fetch("lead"), id: "444444444444"),
            .init(
                #"{"object":"page","entry":[{"id":1,"changes":[{"field":"leadgen","value":{"leadgen_id":820982911946154508,"#
                    + #""page_id":1}},{"field":"feed","value":{}}]},{"id":2,"changes":[{"field":"leadgen","value":"#
                    + #"{"leadgen_id":5,"page_id":2}}]}]}"#,
                expects: .fetch("lead"),
                .ignored(.unknownTopic),
                .fetch("lead"),
                id: "820982911946154508"
            ),
        ],
        sign: Senders.signing("X-Hub-Signature-256") { "sha256=" + Digest.hex($0) }
    )

    @Test func theSignatureIsOverTheEscapedForm() throws {
        func refusal(_ body: String) throws -> SourceRefusal.Reason? {
            source.refusal(
                of: ReceivedRequest(
                    url: Senders.url,
                    headers: [
                        (
                            "X-Hub-Signature-256",
                            "sha256=4f676d18ff8a5039e750a4159854e99a52413dcfc3a9a262f2c29c4f1f147d36"
                        )
                    ],
                    body: Array(body.utf8)
                ),
                try source.account("0123456789abcdef0123456789abcdef", Self.settings)
            )
        }
        #expect(try refusal(Self.event) == nil)
        #expect(try refusal(Self.event.replacing(#"\u00e9"#, with: "é")) == .forged)
    }

    @Test func theDashboardsQuestionIsAnswered() throws {
        let account = try source.account("0123456789abcdef0123456789abcdef", Self.settings)
        func answer(_ query: String, _ method: ReceivedRequest.Method = .get) -> SourceAnswer? {
            source.handshake(.init(method, url: Senders.url + query, headers: [], body: []), account)
        }
        let right = answer("?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=a-word-for-the-dashboard")
        #expect(
            right == SourceAnswer(status: 200, contentType: "text/plain; charset=utf-8", body: Array("1158201444".utf8))
        )
        for wrong in [
            "", "?hub.mode=subscribe&hub.challenge=1&hub.verify_token=another",
            "?hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=a-word-for-the-dashboard",
            "?hub.mode=subscribe&hub.verify_token=a-word-for-the-dashboard",
            "?hub.mode=subscribe&hub.challenge=%3Cscript%3E&hub.verify_token=a-word-for-the-dashboard",
        ] {
            #expect(answer(wrong)?.status == 403, "\(wrong)")
        }
        #expect(answer("?hub.mode=subscribe", .post) == nil)
        #expect(throws: Refusal.self) { try source.account("0123456789abcdef0123456789abcdef") }
    }

    @Test func aLeadIsNamedAndFetched() throws {
        let account = try source.account("0123456789abcdef0123456789abcdef", Self.settings)
        let request = ReceivedRequest(url: Senders.url, headers: [], body: Array(Self.event.utf8))
        let event = try #require(source.events(in: request, account, now: SourceConformance.now).first)
        #expect(source.eventKey(of: event).value == "meta:153125381133|444444444444")
        #expect(
            try source.read(event, account.settings)
                == .fetch(
                    RecordToFetch(
                        type: "lead",
                        id: "444444444444",
                        account: "153125381133",
                        event: "leadgen",
                        at: Timestamp(microseconds: 1_761_999_998_000_000)
                    )
                )
        )
    }

    /// What is the same for all changes is written with each: a pack whose own words are long is nobody's, and stays whole.
    @Test func whatIsWrittenWithEachChangeIsBounded() throws {
        let account = try source.account(
            secret: Array("0123456789abcdef0123456789abcdef".utf8),
            settings: ["verify_token": "0123456789"]
        )
        func events(_ object: String, _ changes: Int) -> Int {
            let body =
                #"{"object":\#(object),"entry":[{"id":"1","changes":[\#(Array(repeating: "{}", count: changes).joined(separator: ","))]}]}"#
            let request = ReceivedRequest(url: Senders.url, headers: [], body: Array(body.utf8))
            return source.events(in: request, account, now: SourceConformance.now).count
        }
        #expect(events(#""page""#, 1_000) == 1_000)
        #expect(events(#""page""#, 1_001) == 1)
        #expect(events("\"\(String(repeating: "a", count: 2_000))\"", 1_000) == 1)
        #expect(events("[\(Array(repeating: "7", count: 2_000).joined(separator: ","))]", 1_000) == 1)
    }
}
