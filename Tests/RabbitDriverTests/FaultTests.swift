import Foundation
import RabbitDriver
import TestKit
import Testing

/// Faults on the wire, through a proxy.
@Suite(.timeLimit(.minutes(2))) struct WireFaultTests {
    private func throughProxy(
        _ purpose: String,
        _ body: (FaultProxy, String, Client, Held<RabbitChannel>, String) async throws -> Void
    ) async throws {
        try await withQueue(purpose) { client, channel, queue in
            try await FaultProxy.with(to: try port(of: try brokerURL()), speech: .amqp) { proxy in
                try await body(proxy, try brokerURL(port: proxy.port), client, channel, queue)
            }
        }
    }

    /// Resets every connection, and lets everything pass again.
    private func reset(_ proxy: FaultProxy) async {
        proxy.heal()
        await proxy.cut(.reset)
    }

    @Test func halfAFrameAndThenSilenceEndsTheConnection() async throws {
        try await throughProxy("half") { proxy, url, direct, directChannel, queue in
            let client = try await Client.open(url) { $0.heartbeat = .seconds(1) }
            let channel = try await client.channel()
            let (deliveries, _) = try await client.subscribe(queue, on: channel)
            // Method and header pass, of the 100,000 bytes of the body only a part does.
            proxy.silence(after: 5_000)
            try await direct.publish([UInt8](repeating: 1, count: 100_000), to: queue, on: directChannel)
            try await eventually("the end of the connection") { client.lost.count == 1 }
            #expect(client.lost.all[0].code == .connectionLost)
            #expect(deliveries.count == 0)
            await reset(proxy)
            try await eventually("the new connection") { client.connected.count == 2 }
            // The broker gives the message to whoever consumes next.
            let again = try await client.channel()
            let (others, _) = try await client.subscribe(queue, on: again)
            try await eventually("the message") { others.count == 1 }
            #expect(others.all[0].redelivered)
            #expect(others.all[0].body.count == 100_000)
            await client.close()
        }
    }

    /// The broker lives and heartbeats come, but the rest of a message does not.
    @Test func aMessageThatStopsHalfwayIsNotWaitedForForEver() async throws {
        let server = HalfMessageServer()
        defer { server.close() }
        let client = try await Client.open("amqp://127.0.0.1:\(server.port)/") {
            $0.commandTimeout = .seconds(1)
            $0.reconnects = false
        }
        let channel = try await client.channel()
        _ = try? await client.subscribe("q", on: channel)
        try await eventually("the end of the connection") { client.lost.count == 1 }
        #expect(client.lost.all[0].code == .timedOut)
        #expect(client.lost.all[0].message.contains("the rest of a message"))
        await client.close()
    }

    @Test func aResetConnectionComesBack() async throws {
        try await throughProxy("reset") { proxy, url, _, _, queue in
            let client = try await Client.open(url)
            for round in 1...3 {
                let channel = try await client.channel()
                let closed = Recorder<RabbitError>()
                await client.onLoop { channel.value.onClose = { closed.add($0) } }
                _ = try await client.subscribe(queue, on: channel)
                await reset(proxy)
                try await eventually("loss \(round)") { client.lost.count == round }
                #expect(closed.count == 1)
                #expect(closed.all[0].isConnectionLost)
                try await eventually("connection \(round + 1)") { client.connected.count == round + 1 }
            }
            await client.close()
        }
    }

    @Test func aPublisherSaysUnknownForWhatWasOnTheWire() async throws {
        try await throughProxy("wire") { proxy, url, direct, directChannel, queue in
            let publisher = RabbitPublisher(
                configuration: try RabbitConfiguration(url: url, connectionName: "test")
            )
            func message(_ number: Int) -> RabbitMessage {
                RabbitMessage(exchange: "", routingKey: queue, body: Array("\(number)".utf8))
            }
            #expect(await publisher.publish([message(0)]) == [.confirmed])
            // The broker hears us and its confirms do not come through.
            proxy.silence(after: 0)
            async let pending = publisher.publish([message(1)])
            try await eventually("the message at the broker") {
                try await direct.declare(queue, on: directChannel).messages == 2
            }
            await reset(proxy)
            guard case .unknown(let error) = await pending[0] else {
                Issue.record("\(await pending)")
                return
            }
            #expect(error.isConnectionLost)
            // It comes back by itself.
            #expect(await publisher.publish([message(2)]) == [.confirmed])
            await publisher.shutdown()
        }
    }
}

/// Speaks just enough AMQP to log a client in, and then delivers the beginning of a message, with heartbeats.
final class HalfMessageServer: Sendable {
    private let listener = Listener()
    var port: UInt16 { listener.port }

    init() {
        Thread.detachNewThread { [self] in serve() }
    }

    func close() { listener.close() }

    private func serve() {
        guard let client = listener.accept() else { return }
        defer { Foundation.close(client) }
        func write(_ bytes: [UInt8]) -> Bool { send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count }
        func long(_ value: Int) -> [UInt8] {
            [UInt8(value >> 24 & 255), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255)]
        }
        func frame(_ kind: UInt8, _ channel: UInt8, _ payload: [UInt8]) -> [UInt8] {
            [kind, 0, channel] + long(payload.count) + payload + [206]
        }
        func method(_ channel: UInt8, _ id: Int, _ arguments: [UInt8] = []) -> [UInt8] {
            frame(1, channel, long(id) + arguments)
        }
        func short(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }
        var input: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4_096)
        /// Reads whole frames until the client has sent the method.
        func expect(_ id: Int) -> Bool {
            while true {
                while input.count >= 8, input.count >= 8 + Int(input[5]) << 8 + Int(input[6]) {
                    let size = Int(input[5]) << 8 + Int(input[6])
                    let found = input[0] == 1 ? Array(input[7..<11]) : []
                    input.removeFirst(8 + size)
                    if found == long(id) { return true }
                }
                let count = read(client, &buffer, buffer.count)
                guard count > 0 else { return false }
                input += buffer[0..<count]
            }
        }
        // The protocol header, then the login.
        while input.count < 8 {
            let count = read(client, &buffer, buffer.count)
            guard count > 0 else { return }
            input += buffer[0..<count]
        }
        input.removeFirst(8)
        let start: [UInt8] = [0, 9] + long(0) + long(5) + Array("PLAIN".utf8) + long(5) + Array("en_US".utf8)
        guard write(method(0, 0x000A_000A, start)), expect(0x000A_000B) else { return }
        guard write(method(0, 0x000A_001E, [0, 16] + long(131_072) + [0, 1])), expect(0x000A_001F) else { return }
        guard expect(0x000A_0028), write(method(0, 0x000A_0029, short(""))) else { return }
        guard expect(0x0014_000A), write(method(1, 0x0014_000B, long(0))) else { return }
        guard expect(0x003C_000A), write(method(1, 0x003C_000B)) else { return }
        guard expect(0x003C_0014), write(method(1, 0x003C_0015, short("consumer"))) else { return }
        let deliver = short("consumer") + [0, 0, 0, 0, 0, 0, 0, 1, 0] + short("") + short("q")
        let header: [UInt8] = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0]
        guard write(method(1, 0x003C_003C, deliver) + frame(2, 1, header) + frame(3, 1, [1, 2, 3])) else { return }
        while write(frame(8, 0, [])) { usleep(200_000) }
    }
}
