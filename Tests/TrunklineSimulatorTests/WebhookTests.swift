import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Synchronization
import TestKit
import Testing

@testable import TrunklineSimulator

/// What a receiver got.
private struct Received: Sendable {
    var id: String?
    var event: String?
    var line: String?
    var body: JSON
}

private final class Inbox: Sendable {
    private let state = Mutex<(received: [Received], failures: Int)>(([], 0))

    init(failures: Int = 0) {
        state.withLock { $0.failures = failures }
    }

    var received: [Received] { state.withLock { $0.received } }

    func take(_ item: Received) -> HTTPResponse.Status {
        state.withLock { state in
            state.received.append(item)
            if state.failures > 0 {
                state.failures -= 1
                return .serviceUnavailable
            }
            return .ok
        }
    }
}

private struct ReceiverContext: InitializableFromSource {
    init(source: ApplicationRequestContextSource) {}
}

@Suite struct WebhookTests {
    /// Runs a simulator whose first line posts its webhooks to a receiver.
    private func withReceiver(
        failures: Int = 0,
        _ switches: String = "{}",
        _ body: @Sendable (SimulatorServer, Inbox) async throws -> Void
    ) async throws {
        let inbox = Inbox(failures: failures)
        let responder = CallbackResponder<ReceiverContext> { request, _ in
            let bytes = Array(buffer: try await request.body.collect(upTo: 65_536))
            let status = inbox.take(
                Received(
                    id: request.headers[HTTPField.Name("X-EZW-Delivery-Id")!],
                    event: request.headers[HTTPField.Name("X-EZW-Webhook-Event")!],
                    line: request.headers[HTTPField.Name("X-EZW-Line-Id")!],
                    body: try JSON.parse(bytes)
                )
            )
            return Response(status: status)
        }
        let receiver = Application(responder: responder, logger: SimulatorServer.logger(SimulatorOptions()))
        try await receiver.test(.live) { client in
            let port = try #require(client.port)
            try await withSimulator({ options in
                options.settings = SimulatorSettings()
                options.settings?.allowPrivateWebhooks = true
                options.webhookRetryDelays = [.milliseconds(1), .milliseconds(2), .milliseconds(4), .milliseconds(8)]
            }) { server async throws in
                try server.control("PUT", "/__sim/settings", #"{"webhooks":\#(switches)}"#)
                // The receiver listens on whichever address the name has first: on some systems that is ::1.
                let registered = try await server.exchange(
                    request("POST", "/api/v1/webhooks", body: #"{"targetUrl":"http://localhost:\#(port)/hook"}"#)
                )
                #expect(registered?.status == 201)
                try await body(server, inbox)
            }
        }
    }

    private func words(_ inbox: Inbox) -> [String] {
        inbox.received.flatMap { item in
            guard case .array(let statuses)? = item.body["statuses"] else { return [item.event ?? ""] }
            return statuses.compactMap { $0["status"]?.string }
        }
    }

    @Test func anAcceptedSendIsFollowedByItsEvents() async throws {
        try await withReceiver { server, inbox async throws in
            #expect(try await server.send(key: "k")?.status == 202)
            // A replay is no second message.
            #expect(try await server.send(key: "k")?.status == 202)
            try await eventually("five events came") { inbox.received.count >= 5 }
            #expect(words(inbox) == ["messages.post", "chats.post", "sent", "delivered", "read"])
            let received = inbox.received
            #expect(Set(received.compactMap(\.id)).count == 5)
            #expect(received.allSatisfy { $0.line == "line-01" })
            #expect(received.allSatisfy { $0.body["event"]?.string == $0.event })
            guard case .array(let messages)? = received[0].body["messages"], let message = messages.first else {
                throw TestFailure("no message")
            }
            #expect(message["from_me"] == .bool(true))
            #expect(message["contactPhoneNumber"] == .string("+34600111222"))
            #expect(message["text"]?["body"] == .string("Order A-1 is ready."))
            guard case .array(let statuses)? = received[2].body["statuses"] else { throw TestFailure("no status") }
            #expect(statuses.first?["message_id"] == message["id"])
            try await eventually("they are on record") { server.report().webhooks == ["delivered": 5] }
        }
    }

    @Test(arguments: [
        (#"{"outOfOrder":true}"#, ["messages.post", "chats.post", "read", "delivered", "sent"]),
        (#"{"statusBeforeMessage":true}"#, ["sent", "messages.post", "chats.post", "delivered", "read"]),
        (#"{"lostStatus":true}"#, ["messages.post", "chats.post", "sent", "read"]),
        (#"{"failed":true}"#, ["messages.post", "chats.post", "sent", "failed"]),
        (#"{"unknownStatusWord":true}"#, ["messages.post", "chats.post", "sent", "delivered", "teleported", "read"]),
        (#"{"severalItems":true}"#, ["messages.post", "chats.post", "sent", "delivered", "read"]),
    ])
    func theOrderAndTheWordsAreSwitchable(_ switches: String, _ expected: [String]) async throws {
        try await withReceiver(switches) { server, inbox async throws in
            _ = try await server.send(key: "k")
            try await eventually("all came") { words(inbox).count >= expected.count }
            #expect(words(inbox) == expected)
        }
    }

    @Test func deliveriesCanBeDoubledInBothWays() async throws {
        try await withReceiver(#"{"duplicateDeliveryId":true}"#) { server, inbox async throws in
            _ = try await server.send(key: "k")
            try await eventually("ten came") { inbox.received.count == 10 }
            #expect(Set(inbox.received.compactMap(\.id)).count == 5)
        }
        try await withReceiver(#"{"newDeliveryId":true}"#) { server, inbox async throws in
            _ = try await server.send(key: "k")
            try await eventually("ten came") { inbox.received.count == 10 }
            #expect(Set(inbox.received.compactMap(\.id)).count == 10)
            #expect(Set(inbox.received.map(\.body)).count == 5)
        }
    }

    @Test func headersAndBodiesCanBeOdd() async throws {
        let switches = #"{"missingHeader":true,"wrongLineId":true,"noConversationId":true,"groupChat":true}"#
        try await withReceiver(switches) { server, inbox async throws in
            _ = try await server.send(key: "k")
            try await eventually("all came") { inbox.received.count == 5 }
            #expect(inbox.received.allSatisfy { $0.id == nil && $0.line == "line-01-wrong" })
            guard case .array(let chats)? = inbox.received[1].body["chats"] else { throw TestFailure("no chat") }
            #expect(chats.first?["type"] == .string("group"))
            #expect(chats.first?["conversationId"] == nil)
        }
    }

    @Test func aRefusedDeliveryIsTriedAgainUnderItsId() async throws {
        try await withReceiver(failures: 2) { server, inbox async throws in
            _ = try await server.send(key: "k")
            try await eventually("all are delivered") { server.report().webhooks["delivered"] == 5 }
            #expect(server.report().webhooks["again"] == 2)
            #expect(inbox.received.count == 7)
            #expect(Set(inbox.received.compactMap(\.id)).count == 5)
        }
    }

    @Test func afterFiveTriesADeliveryIsDead() async throws {
        try await withReceiver(failures: 1_000) { server, inbox async throws in
            _ = try await server.send(key: "k")
            try await eventually("all are dead") { server.report().webhooks["dead"] == 5 }
            #expect(inbox.received.count == 25)
            let list = try await server.ask("GET", "/deliveries?state=dead").json
            guard case .array(let deliveries)? = list["deliveries"] else { throw TestFailure("no list") }
            #expect(deliveries.count == 5)
            #expect(deliveries.allSatisfy { $0["tries"] == .integer(5) && $0["lastStatus"] == .integer(503) })
        }
    }

    @Test func onlyTheChosenEventsCome() async throws {
        try await withReceiver { server, inbox async throws in
            let target = try await server.ask("GET", "/lines").json
            guard case .array(let lines)? = target["lines"], let url = lines[0]["webhook"]?["targetUrl"]?.string else {
                throw TestFailure("no webhook")
            }
            _ = try await server.exchange(
                request("POST", "/api/v1/webhooks", body: #"{"url":"\#(url)","events":["chats.post"]}"#)
            )
            _ = try await server.send(key: "k")
            try await eventually("it came") { inbox.received.count == 1 }
            #expect(words(inbox) == ["chats.post"])
            try await eventually("it is on record") { server.report().webhooks == ["delivered": 1] }
        }
    }
}
