import Foundation
import Synchronization
import Testing

@testable import TestKit

/// The proxy with real sockets, and what it understands of each protocol.
@Suite struct ProxyTests {
    /// A proxy in front of a server that sends back what it gets.
    private func withProxy(_ body: (FaultProxy) async throws -> Void) async throws {
        let echo = Echo()
        defer { echo.stop() }
        try await FaultProxy.with(to: echo.port, speech: .http, body)
    }

    @Test func everythingPasses() async throws {
        try await withProxy { proxy in
            let client = try Client(proxy.port)
            let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            async let got = client.read(bytes.count)
            await client.write(bytes)
            #expect(await got == bytes)
            client.close()
        }
    }

    @Test(arguments: FaultProxy.Cut.allCases)
    func aCutEndsTheConnection(how: FaultProxy.Cut) async throws {
        try await withProxy { proxy in
            let client = try Client(proxy.port)
            await client.write([1, 2, 3])
            #expect(await client.read(3) == [1, 2, 3])
            #expect(await proxy.cut(how) == 1)
            #expect(await client.read(1) == [])
            #expect(client.lastError == (how == .reset ? ECONNRESET : 0))
            #expect(await proxy.openFlows().isEmpty)
            client.close()
        }
    }

    @Test func onlyTheNamedClientIsCut() async throws {
        try await withProxy { proxy in
            let (one, two) = (try Client(proxy.port), try Client(proxy.port))
            for client in [one, two] {
                await client.write([1])
                #expect(await client.read(1) == [1])
            }
            #expect(await proxy.cut(.reset, clientPorts: [one.port]) == 1)
            await two.write([2])
            #expect(await two.read(1) == [2])
            one.close()
            two.close()
        }
    }

    @Test func aSilenceLetsItsBytesPassAndSwallowsTheRest() async throws {
        try await withProxy { proxy in
            let client = try Client(proxy.port)
            proxy.silence(after: 2)
            await client.write([1, 2, 3, 4, 5])
            #expect(await client.read(2) == [1, 2])
            try await eventually("the rest to be swallowed") { await proxy.swallowedBytes() == 3 }
            // The connection is as good as before, and what was swallowed never comes.
            proxy.heal()
            await client.write([6])
            #expect(await client.read(1) == [6])
            client.close()
        }
    }

    @Test func aFreezeHoldsEverythingAndLosesNothing() async throws {
        try await withProxy { proxy in
            let client = try Client(proxy.port)
            await client.write([1])
            #expect(await client.read(1) == [1])
            let begin = ContinuousClock.now
            #expect(await proxy.freeze(for: .milliseconds(300)) == 1)
            await client.write([2])
            #expect(await client.read(1) == [2])
            #expect(ContinuousClock.now - begin >= .milliseconds(300))
            client.close()
        }
    }

    /// What is said in a blocked direction arrives when it is open again; other clients notice nothing.
    @Test(arguments: FaultProxy.Direction.allCases)
    func aBlockHoldsItsDirectionOfItsClient(direction: FaultProxy.Direction) async throws {
        try await withProxy { proxy in
            let (cut, other) = (try Client(proxy.port), try Client(proxy.port))
            for client in [cut, other] {
                await client.write([1])
                #expect(await client.read(1) == [1])
            }
            let port = cut.port
            let (block, hits) = await proxy.block(direction) { $0.intersection([port]) }
            #expect(hits == 1)
            let begin = ContinuousClock.now
            await cut.write([2])
            await other.write([3])
            #expect(await other.read(1) == [3])
            Task {
                try? await Task.sleep(for: .milliseconds(300))
                proxy.unblock(block)
            }
            #expect(await cut.read(1) == [2])
            #expect(ContinuousClock.now - begin >= .milliseconds(300))
            cut.close()
            other.close()
        }
    }

    /// Finding out whose a connection is takes time, and nobody else's wire stands still for it.
    @Test func whoseAConnectionIsIsFoundOutBesideTheWire() async throws {
        try await withProxy { proxy in
            let other = try Client(proxy.port)
            let port = other.port
            let gate = Mutex(false)
            let block = Task {
                await proxy.block(.both) { ports in
                    // Until the wire has carried something meanwhile.
                    while !gate.withLock({ $0 }) { usleep(1_000) }
                    return ports.subtracting([port])
                }
            }
            let new = try Client(proxy.port)
            await other.write([1])
            #expect(await other.read(1) == [1])
            gate.withLock { $0 = true }
            let number = await block.value.block
            await other.write([2])
            #expect(await other.read(1) == [2])
            await new.write([3])
            proxy.unblock(number)
            #expect(await new.read(1) == [3])
            other.close()
            new.close()
        }
    }

    /// Who comes during a block is let through when it is known to be somebody else.
    @Test func whoComesDuringAnothersBlockIsLetThrough() async throws {
        try await withProxy { proxy in
            let block = await proxy.block(.both) { _ in [] }.block
            let client = try Client(proxy.port)
            await client.write([1])
            #expect(await client.read(1) == [1])
            proxy.unblock(block)
            client.close()
        }
    }

    @Test func whoIsRefusedIsServedWhenItIsHealed() async throws {
        try await withProxy { proxy in
            let client = try Client(proxy.port)
            await client.write([1])
            #expect(await client.read(1) == [1])
            #expect(await proxy.refuse() == 1)
            #expect(await client.read(1) == [])
            // The kernel may say so at once, or when one reads.
            if let refused = try? Client(proxy.port) {
                #expect(await refused.read(1) == [])
                #expect(refused.lastError == ECONNREFUSED)
                refused.close()
            }
            // The number stays the proxy's: who is refused here must not be served by what another test opens.
            #expect(Self.errorOfBinding(to: proxy.port) == EADDRINUSE)
            proxy.heal()
            #expect(await proxy.openFlows().isEmpty)
            let next = try Client(proxy.port)
            await next.write([2])
            #expect(await next.read(1) == [2])
            client.close()
            next.close()
        }
    }

    /// What the kernel says to a listener that wants this port: `errno`, 0 when it may have it.
    private static func errorOfBinding(to port: UInt16) -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = Socket.loopback(port)
        let code = Socket.withAddress(&address) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        return code == 0 ? 0 : errno
    }

    @Test func slowBytesComeInTheirOrder() async throws {
        try await withProxy { proxy in
            let client = try Client(proxy.port)
            await client.write([0])
            #expect(await client.read(1) == [0])
            _ = await proxy.slow(by: .milliseconds(50), for: .seconds(60))
            for byte in 1...20 as ClosedRange<UInt8> { await client.write([byte]) }
            #expect(await client.read(20) == Array(1...20))
            client.close()
        }
    }

    @Test func exactlySoManyBytesPassBeforeTheCut() async throws {
        try await withProxy { proxy in
            let client = try Client(proxy.port)
            proxy.cut(after: 5, fromServer: true, .close)
            await client.write([1, 2, 3, 4, 5, 6, 7, 8])
            #expect(await client.read(8) == [1, 2, 3, 4, 5])
            #expect(await proxy.strikes() == 1)
            client.close()
        }
    }

    @Test func anAnswerIsSwallowedAfterItsRequestPassed() async throws {
        try await withProxy { proxy in
            let client = try Client(proxy.port)
            proxy.swallowAnswer()
            await client.write(Array("POST / HTTP/1.1\r\n\r\n".utf8))
            #expect(await client.read(1) == [])
            #expect(await proxy.strikes() == 1)
            client.close()
        }
    }

    // MARK: Protocols

    /// A message of PostgreSQL; without a type it is one of the start.
    private func message(_ type: Character?, _ payload: [UInt8]) -> [UInt8] {
        (type.map { [$0.asciiValue!] } ?? []) + [0, 0, 0, UInt8(payload.count + 4)] + payload
    }

    @Test func aReplyOfPostgresIsSwallowedToItsEnd() {
        var watch = WireWatch(.postgres)
        let armed = FaultProxy.ArmedFault.reply(marker: [0] + Array("claim".utf8) + [0])
        func saw(_ text: [UInt8], fromServer: Bool) -> WireWatch.Sight {
            var bytes = text
            return watch.saw(&bytes, fromServer: fromServer, armed)
        }
        let (sync, ready) = (message("S", []), message("Z", [73]))
        // The question for TLS and its answer of one byte, then the start.
        #expect(saw(message(nil, [4, 210, 22, 47]), fromServer: false) == .pass)
        #expect(saw(Array("N".utf8), fromServer: true) == .pass)
        #expect(saw(message(nil, Array("user\0x\0\0\0\0".utf8)), fromServer: false) == .pass)
        #expect(saw(message("R", [0, 0, 0, 0]) + ready, fromServer: true) == .pass)
        // One request before it in the pipeline: its reply is swallowed too, and is not the end.
        #expect(saw(message("B", Array("\0other\0".utf8)) + sync, fromServer: false) == .pass)
        #expect(saw(message("B", Array("\0claim\0".utf8)) + sync, fromServer: false) == .begins)
        #expect(saw(message("C", [1]) + ready, fromServer: true) == .swallow)
        #expect(saw(message("D", [2]) + ready.dropLast(), fromServer: true) == .cut(isNew: false))
    }

    /// A frame: type, channel, payload.
    private func frame(_ type: UInt8, _ payload: [UInt8]) -> [UInt8] {
        [type, 0, 1, 0, 0, 0, UInt8(payload.count)] + payload + [0xCE]
    }

    @Test func aConfirmIsSwallowedAndWhatCameBeforeItPasses() {
        var watch = WireWatch(.amqp)
        let other = frame(1, [0, 60, 0, 60, 9, 9])
        let confirm = frame(1, [0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 7, 0])
        var bytes = other + confirm + other
        #expect(watch.saw(&bytes, fromServer: true, .confirm) == .cut(isNew: true))
        #expect(bytes == other)
    }

    @Test func framesInPiecesPassWhole() {
        var watch = WireWatch(.amqp)
        let whole = frame(1, [0, 60, 0, 60, 1, 2, 3]) + frame(3, Array(repeating: 7, count: 40))
        var passed: [UInt8] = []
        for byte in whole {
            var bytes = [byte]
            if watch.saw(&bytes, fromServer: true, nil) == .pass { passed += bytes }
        }
        #expect(passed == whole)
    }

    @Test func aFrameIsCutInItsMiddle() {
        var watch = WireWatch(.amqp)
        var bytes = frame(3, Array(repeating: 7, count: 40))
        #expect(watch.saw(&bytes, fromServer: true, .halfFrame) == .cut(isNew: true))
        #expect(bytes.count == 28)
    }

    @Test func aCallIsInTheAirUntilTheServerSpeaks() {
        var watch = WireWatch(.http)
        var bytes = Array("POST /api/v1/messages/text HTTP/1.1\r\n".utf8)
        _ = watch.saw(&bytes, fromServer: false, nil)
        #expect(watch.hasCallInTheAir)
        bytes = Array("HTTP/1.1 202 Accepted\r\n".utf8)
        _ = watch.saw(&bytes, fromServer: true, nil)
        #expect(!watch.hasCallInTheAir)
    }
}

/// Sends back whatever comes, on threads of its own.
private final class Echo: Sendable {
    private let listener = Listener()
    var port: UInt16 { listener.port }

    init() {
        Thread.detachNewThread { [listener] in
            while let client = listener.accept() {
                Thread.detachNewThread {
                    var buffer = [UInt8](repeating: 0, count: 65_536)
                    while true {
                        let count = Glibc.read(client, &buffer, buffer.count)
                        guard count > 0, Glibc.send(client, buffer, count, Int32(MSG_NOSIGNAL)) == count else { break }
                    }
                    Glibc.close(client)
                }
            }
        }
    }

    func stop() { listener.close() }
}

/// A blocking client, whose calls run on threads of their own.
private final class Client: @unchecked Sendable {
    // Unchecked: `lastError` is written by a read that the test waits for.
    let port: UInt16
    private let descriptor: Int32
    private(set) var lastError: Int32 = 0

    init(_ target: UInt16) throws {
        descriptor = try #require(Socket.connect(to: target))
        var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&waiting, 1, 5_000)
        _ = fcntl(descriptor, F_SETFL, 0)
        port = Socket.port(descriptor, ofPeer: false)
    }

    func write(_ bytes: [UInt8]) async {
        await onThread { [descriptor] in
            var sent = 0
            while sent < bytes.count {
                let count = bytes.withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { return }
                sent += count
            }
        }
    }

    /// That many bytes, or those that came before the end.
    func read(_ count: Int) async -> [UInt8] {
        await onThread { [self] in
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while bytes.count < count {
                let got = Glibc.read(descriptor, &buffer, min(buffer.count, count - bytes.count))
                guard got > 0 else {
                    lastError = got < 0 ? errno : 0
                    break
                }
                bytes += buffer[..<got]
            }
            return bytes
        }
    }

    func close() { Glibc.close(descriptor) }

    private func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: body()) }
        }
    }
}
