internal import EventLoop
internal import Glibc

/// One connection through a ``FaultProxy``: two descriptors and what is on its way between them. On the loop only.
final class ProxyFlow {
    /// Bytes of one direction that have been read and not yet written.
    private struct Pipe {
        struct Chunk {
            var bytes: [UInt8]
            var due: ContinuousClock.Instant
        }
        var chunks: [Chunk] = []
        /// Bytes of the first chunk that are written.
        var written = 0
        var size = 0
        /// The source has said all.
        var hasEnded = false
        /// The sink was told so.
        var isShut = false
        var hasTimer = false

        var isEmpty: Bool { chunks.isEmpty }
    }

    /// More than this waits in the kernel, so that a slow reader slows the writer.
    private static let limit = 1 << 20

    let number: Int
    let clientPort: UInt16
    private(set) var serverPort: UInt16
    private let client: Int32
    private let server: Int32
    private unowned let proxy: FaultProxy
    private var toServer = Pipe()
    private var toClient = Pipe()
    private var isConnected = false
    private var isOver = false
    private var isPaused = true
    /// By the proxy's numbers: which ways nothing passes.
    var blocks: [Int: FaultProxy.Direction] = [:]
    private var watch: WireWatch
    /// Set by a fault that counts bytes: what may still pass of one side.
    private var allowance: (bytes: Int, fromServer: Bool, how: FaultProxy.Cut)?

    init(number: Int, client: Int32, server: Int32, proxy: FaultProxy) {
        self.number = number
        self.client = client
        self.server = server
        self.proxy = proxy
        clientPort = Socket.port(client, ofPeer: true)
        serverPort = Socket.port(server, ofPeer: false)
        watch = WireWatch(proxy.speech)
    }

    /// See ``FaultProxy/OpenFlow/hasCallInTheAir``.
    var hasCallInTheAir: Bool { watch.hasCallInTheAir }

    /// Whether the server has sent what the client has not got.
    var holdsBytesOfServer: Bool { !toClient.isEmpty }

    // MARK: Freezing

    /// The descriptors are forgotten, not only left alone: a hang-up is reported whatever one waits for.
    func pause() {
        isPaused = true
        proxy.loop.forget(client)
        proxy.loop.forget(server)
    }

    func resume() {
        guard !isOver else { return }
        isPaused = false
        proxy.loop.watch(client, for: .read) { [self] in ready($0, isServer: false) }
        proxy.loop.watch(server, for: isConnected ? .read : .write) { [self] in ready($0, isServer: true) }
        flush(fromServer: false)
        flush(fromServer: true)
    }

    // MARK: Ending

    /// Closes both ends.
    func end(_ how: FaultProxy.Cut) {
        guard !isOver else { return }
        isOver = true
        proxy.loop.forget(client)
        proxy.loop.forget(server)
        Socket.close(client, how)
        Socket.close(server, how)
        proxy.ended(self)
    }

    // MARK: Moving bytes

    private func ready(_ readiness: EventLoop.Readiness, isServer: Bool) {
        guard !isOver, !isPaused else { return }
        if isServer, !isConnected {
            guard Socket.isConnected(server) else { return end(.reset) }
            isConnected = true
            serverPort = Socket.port(server, ofPeer: false)
        }
        if readiness.contains(.read) || readiness.contains(.error) {
            if isBlocked(fromServer: isServer) {
                // Its hang-up would be reported without end. Whoever hung up also reads nothing any more.
                if readiness.contains(.error) { return proxy.loop.forget(isServer ? server : client) }
            } else {
                read(fromServer: isServer)
            }
        }
        guard !isOver else { return }
        if readiness.contains(.write) { flush(fromServer: !isServer) }
        if !isOver { updateInterest() }
    }

    private func read(fromServer: Bool) {
        let source = fromServer ? server : client
        guard !pipe(fromServer).hasEnded, pipe(fromServer).size < Self.limit else { return }
        var count = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, filled in
            count = Glibc.read(source, buffer.baseAddress!, buffer.count)
            filled = max(0, count)
        }
        if count > 0 { return take(bytes, fromServer: fromServer) }
        if count < 0 {
            // The source was reset: so is the other end. What the server said before it reaches nobody.
            if errno != EAGAIN, errno != EINTR { end(.reset) }
            return
        }
        change(fromServer) { $0.hasEnded = true }
        flush(fromServer: fromServer)
    }

    /// Looks at what came, lets an armed fault strike, and passes the rest on.
    private func take(_ bytes: [UInt8], fromServer: Bool) {
        if case .after(let count, fromServer, let how) = proxy.armed {
            proxy.struck()
            allowance = (count, fromServer, how)
        }
        var bytes = bytes
        if fromServer {
            proxy.silence(&bytes)
            guard !bytes.isEmpty else { return }
        }
        if let given = allowance, given.fromServer == fromServer {
            if bytes.count >= given.bytes {
                bytes.removeLast(bytes.count - given.bytes)
                push(bytes, fromServer: fromServer)
                return proxy.strike(self, given.how, undelivered: fromServer)
            }
            allowance = (given.bytes - bytes.count, given.fromServer, given.how)
        }
        switch watch.saw(&bytes, fromServer: fromServer, proxy.armed) {
        case .pass:
            push(bytes, fromServer: fromServer)
        case .begins:
            // The request goes on; what comes back is swallowed.
            proxy.disarmed()
            push(bytes, fromServer: fromServer)
        case .swallow:
            break
        case .cut(let isNew):
            isNew ? proxy.struck() : proxy.hit()
            // What is swallowed to its end reaches nobody.
            if isNew { push(bytes, fromServer: fromServer) }
            proxy.strike(self, .reset, undelivered: fromServer)
        }
    }

    private func push(_ bytes: [UInt8], fromServer: Bool) {
        guard !bytes.isEmpty, !isOver else { return }
        let due = ContinuousClock.now + proxy.delay
        change(fromServer) { pipe in
            pipe.size += bytes.count
            // Never past what is already on its way.
            pipe.chunks.append(.init(bytes: bytes, due: max(due, pipe.chunks.last?.due ?? due)))
        }
        flush(fromServer: fromServer)
    }

    private func isBlocked(fromServer: Bool) -> Bool { blocks.values.contains { $0.blocks(fromServer: fromServer) } }

    private func flush(fromServer: Bool) {
        guard !isOver, !isPaused, isConnected || fromServer, !isBlocked(fromServer: fromServer) else { return }
        let sink = fromServer ? client : server
        let now = ContinuousClock.now
        while let chunk = pipe(fromServer).chunks.first {
            guard chunk.due <= now else {
                wait(until: chunk.due, fromServer: fromServer)
                return
            }
            let offset = pipe(fromServer).written
            let count = chunk.bytes.withUnsafeBytes {
                send(sink, $0.baseAddress! + offset, chunk.bytes.count - offset, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else {
                if errno == EAGAIN || errno == EINTR { return updateInterest() }
                return end(.reset)
            }
            change(fromServer) { pipe in
                pipe.size -= count
                pipe.written += count
                if pipe.written == chunk.bytes.count {
                    pipe.written = 0
                    pipe.chunks.removeFirst()
                }
            }
        }
        if pipe(fromServer).hasEnded, !pipe(fromServer).isShut {
            change(fromServer) { $0.isShut = true }
            shutdown(sink, Int32(SHUT_WR))
        }
        if toServer.isShut, toClient.isShut { return end(.close) }
        updateInterest()
    }

    private func wait(until due: ContinuousClock.Instant, fromServer: Bool) {
        guard !pipe(fromServer).hasTimer else { return }
        change(fromServer) { $0.hasTimer = true }
        proxy.loop.schedule(at: due) { [self] in
            change(fromServer) { $0.hasTimer = false }
            flush(fromServer: fromServer)
        }
    }

    private func updateInterest() {
        guard !isOver, !isPaused else { return }
        proxy.loop.update(client, to: interest(fromServer: false))
        if isConnected { proxy.loop.update(server, to: interest(fromServer: true)) }
    }

    /// What to wait for on one side's descriptor.
    private func interest(fromServer: Bool) -> EventLoop.Interest {
        let (source, sink) = (pipe(fromServer), pipe(!fromServer))
        var interest: EventLoop.Interest = []
        if !source.hasEnded, source.size < Self.limit, !isBlocked(fromServer: fromServer) { interest.insert(.read) }
        if !sink.isEmpty, !sink.hasTimer, !isBlocked(fromServer: !fromServer) { interest.insert(.write) }
        return interest
    }

    private func pipe(_ fromServer: Bool) -> Pipe { fromServer ? toClient : toServer }

    private func change(_ fromServer: Bool, _ body: (inout Pipe) -> Void) {
        if fromServer { body(&toClient) } else { body(&toServer) }
    }
}
