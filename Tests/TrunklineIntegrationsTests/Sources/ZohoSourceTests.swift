import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct ZohoSourceTests {
    private let source = ZohoSource()

    private static func body(_ module: String, _ operation: String, _ ids: String, time: Int = 1_762_000_000_000)
        -> String
    {
        #"{"server_time":\#(time),"module":"\#(module)","operation":"\#(operation)","resource_uri":"https://www.zohoapis.eu/x","#
            + #""ids":\#(ids),"channel_id":"1000000068001","affected_fields":[]}"#
    }

    static let sample = SourceConformance.Sample(
        secret: "token-of-the-channel-01",
        otherSecret: "token-of-the-channel-02",
        settings: ["channel_id": "1000000068001"],
        proof: .inBody,
        [
            .init(
                body("Leads", "insert", #"["820982911946154508","820982911946154509"]"#),
                expects: .fetch("Leads"),
                .fetch("Leads"),
                id: "820982911946154508"
            ),
            .init(
                body("Contacts", "edit", "[820982911946154510]"),
                expects: .fetch("Contacts"),
                id: "820982911946154510"
            ),
            .init(body("Leads", "delete", #"["5"]"#), expects: .ignored(.nothingNew)),
            .init(body("Invoices", "create", #"["6"]"#), expects: .ignored(.unknownTopic)),
        ]
    ) { fixture, secret, _ in
        let body = Array("{\"token\":\"\(secret)\",".utf8) + fixture.body.dropFirst()
        return ReceivedRequest(url: Senders.url, headers: fixture.headers, body: body)
    }

    @Test func tokenAndChannelAreHeldAgainstOurs() throws {
        let account = try source.account("token-of-the-channel-01", ["channel_id": "7"])
        func refusal(_ body: String) -> SourceRefusal.Reason? {
            source.refusal(of: .init(url: Senders.url, headers: [], body: Array(body.utf8)), account)
        }
        #expect(refusal(#"{"token":"token-of-the-channel-01","channel_id":7}"#) == nil)
        #expect(refusal(#"{"token":"token-of-the-channel-01","channel_id":"8"}"#) == .foreign)
        #expect(refusal(#"{"token":"token-of-the-channel-0","channel_id":"7"}"#) == .forged)
        #expect(refusal(#"{"channel_id":"7"}"#) == .unsigned)
        #expect(refusal("token-of-the-channel-01") == .malformed)
        #expect(throws: Refusal.self) { try source.account(String(repeating: "t", count: 51)) }
    }

    @Test func eachRecordIsAnEvent() throws {
        let account = try source.account("token-of-the-channel-01")
        let body = Self.body("Leads", "create", #"["1","2"]"#)
        let request = ReceivedRequest(url: Senders.url, headers: [], body: Array(body.utf8))
        let events = source.events(in: request, account, now: SourceConformance.now)
        #expect(
            events.map { source.eventKey(of: $0).value } == [
                "zoho:1000000068001|Leads|create|1762000000000|1", "zoho:1000000068001|Leads|create|1762000000000|2",
            ]
        )
    }

    @Test func whatIsWrittenWithEachRecordIsBounded() throws {
        let account = try source.account(secret: Array("0123456789abcdef".utf8), settings: [:])
        func events(_ more: String) -> Int {
            let ids = Array(repeating: #""1""#, count: 1_000).joined(separator: ",")
            let body = #"{"token":"0123456789abcdef","module":"Leads","x":"\#(more)","ids":[\#(ids)]}"#
            let request = ReceivedRequest(url: Senders.url, headers: [], body: Array(body.utf8))
            return source.events(in: request, account, now: SourceConformance.now).count
        }
        #expect(events("short") == 1_000)
        #expect(events(String(repeating: "a", count: 10_000)) == 1)
    }
}
