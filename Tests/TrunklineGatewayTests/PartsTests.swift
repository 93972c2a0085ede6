import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Testing
import TrunklineCore

@testable import TrunklineGateway

@Suite struct ClientAddressTests {
    @Test(
        arguments: [
            ("10.1.2.3", ["203.0.113.9"], "203.0.113.9"), ("10.1.2.3", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            ("10.1.2.3", ["198.51.100.1", "203.0.113.9, 10.9.9.9"], "203.0.113.9"),
            ("10.1.2.3", ["10.4.4.4"], "10.4.4.4"), ("10.1.2.3", [], "10.1.2.3"), ("10.1.2.3", ["junk"], "10.1.2.3"),
            ("10.1.2.3", ["203.0.113.9, junk"], "10.1.2.3"), ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
            ("::1", ["[2001:db8::7]:443"], "2001:db8::7"), ("::ffff:10.0.0.1", ["203.0.113.9:8080"], "203.0.113.9"),
        ]
    )
    func onlyTrustedProxiesAreBelieved(_ peer: String, _ header: [String], _ client: String) throws {
        let proxies = TrustedProxies([try AddressRange("10.0.0.0/8"), try AddressRange("::1")])
        #expect(proxies.client(peer: peer, header: header) == client)
        #expect(TrustedProxies([]).client(peer: peer, header: header) == peer)
    }

    @Test func theForwardedHeaderIsReadToo() throws {
        let proxies = TrustedProxies([try AddressRange("10.0.0.0/8")], header: .forwarded)
        let header = [#"for=198.51.100.1, For="[2001:db8::7]:47011";proto=https;by=10.0.0.1"#]
        #expect(proxies.client(peer: "10.1.1.1", header: header) == "2001:db8::7")
        #expect(proxies.client(peer: "10.1.1.1", header: ["for=_hidden"]) == "10.1.1.1")
    }

    @Test(arguments: ["", "10.0.0", "10.0.0.0/33", "::1/129", "10.0.0.0/8/8", "host", "10.0.0.0/-1", "10.0.0.0/x"])
    func whatIsNoRangeIsRefused(_ text: String) {
        #expect(throws: Refusal.self) { try AddressRange(text) }
    }

    @Test func aRangeHoldsWhatItSays() throws {
        let range = try AddressRange("172.16.0.0/12")
        #expect(range.contains("172.16.0.1") && range.contains("172.31.255.255") && !range.contains("172.32.0.0"))
        #expect(!range.contains("::1") && !range.contains("x"))
        #expect(try AddressRange("0.0.0.0/0").contains("203.0.113.9"))
        #expect(try AddressRange("2001:db8::/33").contains("2001:db8:7fff::1"))
        #expect(try !AddressRange("2001:db8::/33").contains("2001:db8:8000::1"))
    }
}

@Suite struct WordsTests {
    @Test(
        arguments: [
            ("application/json", true), ("Application/JSON ; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false), ("text/json", false), ("application/jsonx", false),
        ]
    )
    func onlyJSONInUTF8IsJSON(_ type: String, _ isJSON: Bool) {
        #expect(MediaType.isJSON(type) == isJSON)
        #expect(!MediaType.isJSON(nil))
    }

    @Test func escapesAreReadStrictly() {
        #expect(PercentEncoding.decode("order%3A1") == "order:1" && PercentEncoding.decode("a+b") == "a+b")
        #expect(PercentEncoding.decode("a+b", plusIsSpace: true) == "a b" && PercentEncoding.decode("%D7%A9") == "ש")
        for bad in ["%", "%4", "%zz", "%ff", "a%"] { #expect(PercentEncoding.decode(bad) == nil, "\(bad)") }
    }

    @Test func aRequestIDIsTakenOrMade() {
        #expect(RequestID.given("a-Z_0.9") == "a-Z_0.9")
        for bad in [nil, "", "a b", "a\n", String(repeating: "a", count: 65)] { #expect(RequestID.given(bad) == nil) }
        #expect(RequestID.fresh() != RequestID.fresh() && RequestID.given(RequestID.fresh()) != nil)
    }

    @Test func everyRefusalHasItsProblem() {
        for kind in Refusal.Kind.allCases {
            let status = Problem(Refusal(kind: kind, field: "body", reason: "x")).kind.status
            #expect((400..<500).contains(status), "\(kind)")
        }
        #expect(Problem(Refusal(kind: .tooLarge, reason: "x")).kind == .tooLarge)
        #expect(Problem(Refusal(kind: .tooLarge, field: "body", reason: "x")).kind == .invalidField)
    }
}

@Suite struct BodyRoomTests {
    @Test func whoHasNoRoomIsSentAwayAndRoomIsGivenBack() async throws {
        let room = BodyRoom(bytes: 100)
        try await room.with(60) {
            await #expect(throws: Problem.self) { try await room.with(41) {} }
            try await room.with(40) {}
        }
        struct Failure: Error {}
        await #expect(throws: Failure.self) { try await room.with(100) { throw Failure() } }
        try await room.with(100) {}
    }
}

/// With a clock that only the test moves.
@Suite struct SlowClientTests {
    private func channel() throws -> EmbeddedChannel {
        let channel = EmbeddedChannel(handler: SlowClients(SlowClients.Limits()))
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        return channel
    }

    private let head = HTTPRequestPart.head(HTTPRequest(method: .post, scheme: nil, authority: nil, path: "/"))

    private func answer(_ channel: EmbeddedChannel) throws {
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
    }

    @Test func aHeadThatDoesNotComeEndsTheConnection() throws {
        let channel = try channel()
        channel.embeddedEventLoop.advanceTime(by: .seconds(9))
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    @Test func aBodyThatDoesNotComeEndsTheConnection() throws {
        let channel = try channel()
        try channel.writeInbound(head)
        // Every now and then a byte is no end.
        for _ in 0..<19 {
            channel.embeddedEventLoop.advanceTime(by: .seconds(1))
            try channel.writeInbound(HTTPRequestPart.body(ByteBuffer(bytes: [1])))
        }
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    @Test func ourOwnTimeIsNotTheClients() throws {
        let channel = try channel()
        try channel.writeInbound(head)
        try channel.writeInbound(HTTPRequestPart.end(nil))
        channel.embeddedEventLoop.advanceTime(by: .hours(1))
        #expect(channel.isActive)
        try answer(channel)
        channel.embeddedEventLoop.advanceTime(by: .seconds(74))
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    @Test func anAnswerBeforeTheBodysEndLeavesTheBodyItsTime() throws {
        let channel = try channel()
        try channel.writeInbound(head)
        try answer(channel)
        channel.embeddedEventLoop.advanceTime(by: .seconds(19))
        try channel.writeInbound(HTTPRequestPart.end(nil))
        channel.embeddedEventLoop.advanceTime(by: .seconds(74))
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    @Test func anAnswerThatIsNotTakenEndsTheConnection() throws {
        let channel = try channel()
        try channel.writeInbound(head)
        try channel.writeInbound(HTTPRequestPart.end(nil))
        // Written, and never flushed to the client.
        channel.write(HTTPResponsePart.head(HTTPResponse(status: .ok)), promise: nil)
        channel.write(HTTPResponsePart.end(nil), promise: nil)
        channel.embeddedEventLoop.advanceTime(by: .seconds(19))
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }
}
