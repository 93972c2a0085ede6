package import EventLoop
internal import Glibc

/// A TCP proxy on loopback that hurts what passes through it, on request: it cuts, slows, freezes, and swallows exactly the
/// reply, confirm or answer after which its receiver cannot know what happened.
///
/// Everything happens on one event loop, which several proxies may share. Methods may be called from any thread.
package final class FaultProxy: @unchecked Sendable {
    // Unchecked: everything that changes is touched on the loop only, which `EventLoop.watch` and `schedule` check.

    /// What is spoken through it: the faults that know a protocol need it.
    package enum Speech: Sendable { case postgres, amqp, http }

    /// How a connection ends.
    package enum Cut: String, Sendable, CaseIterable {
        /// RST to both ends: what was under way is gone.
        case reset
        /// FIN to both ends, in order.
        case close
    }

    /// Which way nothing passes.
    package enum Direction: String, Codable, Sendable, CaseIterable {
        case both
        /// What the client says does not arrive; what the server says does.
        case toServer = "to_server"
        /// What the server says does not arrive; what the client says does.
        case toClient = "to_client"

        func blocks(fromServer: Bool) -> Bool { self == .both || (self == .toClient) == fromServer }
    }

    /// Something that happened to one connection because of a fault.
    package struct Event: Sendable {
        package enum Kind: String, Sendable {
            /// Ended by a fault.
            case cut
            /// Ended by a fault after its receiver was kept from bytes that the other side had sent.
            case undelivered
            /// It stood still for the time of a freeze.
            case frozen
            /// It was slow for a time.
            case slowed
        }
        package let kind: Kind
        /// The client's port, as the proxy sees it.
        package let clientPort: UInt16
        /// The proxy's own port towards the server: what the server takes for the client's.
        package let serverPort: UInt16
        /// ``Moment/now``.
        package let at: Int64
    }

    /// Of some clients' ports, which are meant. May take its time: it is never asked on the loop, on which everybody waits.
    package typealias Covers = @Sendable (_ clientPorts: Set<UInt16>) -> Set<UInt16>

    private struct Block {
        let direction: Direction
        /// Nil: all.
        let covers: Covers?
    }

    /// A connection that is open now.
    package struct OpenFlow: Sendable, Hashable {
        package let clientPort: UInt16
        package let serverPort: UInt16
        /// HTTP only: a POST has gone through and nothing of its answer has come.
        package let hasCallInTheAir: Bool
    }

    /// Where clients connect to.
    package let port: UInt16
    package let speech: Speech

    let loop: EventLoop
    let target: UInt16
    private var listener: Int32
    /// Keeps the port while nobody listens on it: a caller who is refused must not reach what another test opens.
    private let keeper: Int32
    private let report: @Sendable (Event) -> Void
    private var flows: [Int: ProxyFlow] = [:]
    private var lastFlow = 0
    private var isStopped = false

    // Faults that are switched on.
    private(set) var delay: Duration = .zero
    private(set) var isFrozen = false
    private var blocks: [Int: Block] = [:]
    private var lastBlock = 0
    private var isRefusing = false
    var armed: ArmedFault?
    /// Bytes of the server that may still pass; nil: all.
    private var allowance: Int?
    private var swallowed = 0
    private var hits = 0
    private var freezes = 0
    private var slowings = 0

    /// A fault that waits for its moment on the wire, and strikes once.
    enum ArmedFault {
        /// PostgreSQL: the server gets the named statement, its reply is swallowed, the connection is cut after it.
        case reply(marker: [UInt8])
        /// AMQP: the next `basic.ack` of the broker, a publisher confirm, is swallowed, and the connection is cut.
        case confirm
        /// AMQP: the connection is cut when half of the broker's next frame has passed.
        case halfFrame
        /// HTTP: the answer of the next POST is swallowed, and the connection is cut.
        case answer
        /// The connection over which the next bytes come is cut after that many more.
        case after(bytes: Int, fromServer: Bool, Cut)
    }

    /// Listens on a free port of 127.0.0.1 and passes everything on to `target`.
    ///
    /// - Parameters:
    ///   - loop: started, and not stopped before this.
    ///   - report: called on the loop for each connection that a fault hits.
    /// - Throws: ``KitError`` when it cannot listen.
    package init(
        to target: UInt16,
        speech: Speech,
        on loop: EventLoop,
        report: @escaping @Sendable (Event) -> Void = { _ in }
    ) throws(KitError) {
        self.target = target
        self.speech = speech
        self.loop = loop
        self.report = report
        guard let (keeper, port) = Socket.bound(), let listener = Socket.listen(on: port) else {
            throw KitError("the fault proxy cannot listen: errno \(errno)")
        }
        self.keeper = keeper
        self.listener = listener
        self.port = port
        loop.run { [self] in watchListener() }
    }

    /// Ends every connection and stops listening.
    package func stop() {
        loop.run { [self] in
            guard !isStopped else { return }
            isStopped = true
            if !isRefusing {
                loop.forget(listener)
                Glibc.close(listener)
            }
            Glibc.close(keeper)
            for flow in Array(flows.values) { flow.end(.reset) }
        }
    }

    /// Runs `body` with a proxy on a loop of its own.
    package static func with<Value>(
        to target: UInt16,
        speech: Speech,
        _ body: (FaultProxy) async throws -> Value
    ) async throws -> Value {
        let loop = EventLoop(name: "proxy")
        let proxy = try FaultProxy(to: target, speech: speech, on: loop)
        loop.start()
        defer {
            proxy.stop()
            loop.stop()
            loop.join()
        }
        return try await body(proxy)
    }

    // MARK: Faults

    /// Cuts connections at once: those whose client has one of `clientPorts`, or all.
    ///
    /// - Returns: how many there were.
    @discardableResult
    package func cut(_ how: Cut, clientPorts: Set<UInt16>? = nil) async -> Int {
        await onLoop { [self] in
            let hit = flows.values.filter { clientPorts?.contains($0.clientPort) ?? true }
            for flow in hit { strike(flow, how) }
            return hit.count
        }
    }

    /// Lets nothing pass for a time, and accepts nobody: connections stay open and silent, as behind a dead switch.
    ///
    /// - Returns: how many connections there were.
    @discardableResult
    package func freeze(for span: Duration) async -> Int {
        await onLoop { [self] in
            freezes += 1
            let number = freezes
            setFrozen(true)
            loop.schedule(after: span) { [self] in
                // A later freeze goes on.
                if freezes == number { setFrozen(false) }
            }
            return flows.count
        }
    }

    /// Lets nothing pass in a direction, until ``unblock(_:)`` or ``heal()``. Who connects meanwhile is accepted and treated
    /// alike; nothing passes there before it is known whether it is meant.
    ///
    /// - Parameter covers: which clients are meant, asked once for those that are there, and once for each that comes; nil: all.
    /// - Returns: its number, and how many connections there were.
    @discardableResult
    package func block(_ direction: Direction, of covers: Covers? = nil) async -> (block: Int, hits: Int) {
        let (number, there) = await onLoop { [self] in
            lastBlock += 1
            blocks[lastBlock] = Block(direction: direction, covers: covers)
            if covers == nil { for flow in Array(flows.values) { setBlock(lastBlock, direction, of: flow) } }
            return (lastBlock, flows.mapValues(\.clientPort))
        }
        guard let covers, !there.isEmpty else { return (number, there.count) }
        let meant = covers(Set(there.values))
        return await onLoop { [self] in
            let hit = there.filter { meant.contains($0.value) }.compactMap { flows[$0.key] }
            if blocks[number] != nil { for flow in hit { setBlock(number, direction, of: flow) } }
            return (number, hit.count)
        }
    }

    /// Ends a block.
    package func unblock(_ number: Int) {
        loop.run { [self] in
            blocks[number] = nil
            for flow in Array(flows.values) where flow.blocks[number] != nil { setBlock(number, nil, of: flow) }
        }
    }

    /// Resets every connection and refuses new ones, until ``heal()``.
    ///
    /// - Returns: how many connections there were.
    @discardableResult
    package func refuse() async -> Int {
        await onLoop { [self] in
            let hit = Array(flows.values)
            setRefusing(true)
            for flow in hit { strike(flow, .reset) }
            return hit.count
        }
    }

    /// Delays everything in both directions by `delay`, until ``heal()``.
    ///
    /// - Returns: how many connections there were.
    @discardableResult
    package func slow(by delay: Duration) async -> Int {
        await onLoop { [self] in
            slowings += 1
            self.delay = delay
            for flow in flows.values { tell(.slowed, flow) }
            return flows.count
        }
    }

    /// Delays everything in both directions by `delay`, for a time.
    ///
    /// - Returns: how many connections there were.
    @discardableResult
    package func slow(by delay: Duration, for span: Duration) async -> Int {
        await onLoop { [self] in
            slowings += 1
            let number = slowings
            self.delay = delay
            for flow in flows.values { tell(.slowed, flow) }
            loop.schedule(after: span) { [self] in
                guard slowings == number else { return }
                for flow in flows.values { tell(.slowed, flow) }
                self.delay = .zero
            }
            return flows.count
        }
    }

    /// Swallows what the server says after so many more bytes, whatever connection they come over, until ``heal()``. The
    /// connections stay open, and what the clients say arrives.
    package func silence(after bytes: Int) { loop.run { [self] in allowance = bytes } }

    /// How many bytes ``silence(after:)`` has swallowed since the start.
    package func swallowedBytes() async -> Int { await onLoop { [self] in swallowed } }

    /// PostgreSQL: the next execution of the prepared statement `name` reaches the server, and its reply nobody; with nil
    /// the next `COMMIT`.
    package func swallowReply(of name: String?) {
        // Bind: an empty portal name, then the statement's name, each with its terminator. Query and Parse: the text itself.
        let marker = name.map { [0] + Array($0.utf8) + [0] } ?? Array("COMMIT\0".utf8)
        arm(.reply(marker: marker))
    }

    /// AMQP: the next publisher confirm is swallowed.
    package func swallowConfirm() { arm(.confirm) }

    /// AMQP: the next connection over which a frame of the broker comes is cut in the middle of that frame.
    package func cutInFrame() { arm(.halfFrame) }

    /// HTTP: the answer of the next POST is swallowed.
    package func swallowAnswer() { arm(.answer) }

    /// Cuts the connection over which the next bytes of one side come, after `bytes` more of that side.
    package func cut(after bytes: Int, fromServer: Bool, _ how: Cut) {
        arm(.after(bytes: bytes, fromServer: fromServer, how))
    }

    /// Forgets a fault that has not struck yet.
    package func disarm() { loop.run { [self] in armed = nil } }

    /// Forgets a fault that has not struck yet, and lets everything pass.
    package func heal() {
        loop.run { [self] in
            armed = nil
            allowance = nil
            delay = .zero
            slowings += 1
            freezes += 1
            setFrozen(false)
            blocks = [:]
            for flow in Array(flows.values) {
                for number in flow.blocks.keys { setBlock(number, nil, of: flow) }
            }
            setRefusing(false)
        }
    }

    /// How many armed faults have struck since the start.
    package func strikes() async -> Int { await onLoop { [self] in hits } }

    /// The connections that are open now.
    package func openFlows() async -> [OpenFlow] {
        await onLoop { [self] in
            flows.values.map {
                OpenFlow(clientPort: $0.clientPort, serverPort: $0.serverPort, hasCallInTheAir: $0.hasCallInTheAir)
            }
        }
    }

    private func arm(_ fault: ArmedFault) { loop.run { [self] in armed = fault } }

    // MARK: On the loop

    /// An armed fault has struck.
    func struck() {
        disarmed()
        hit()
    }

    /// An armed fault has found its connection, and strikes when the server has answered.
    func disarmed() { armed = nil }

    func hit() { hits += 1 }

    /// Takes away what ``silence(after:)`` swallows.
    func silence(_ bytes: inout [UInt8]) {
        guard let left = allowance else { return }
        let passing = min(left, bytes.count)
        allowance = left - passing
        swallowed += bytes.count - passing
        bytes.removeLast(bytes.count - passing)
    }

    /// Ends a connection for a fault and says so.
    func strike(_ flow: ProxyFlow, _ how: Cut, undelivered: Bool = false) {
        tell(undelivered || flow.holdsBytesOfServer ? .undelivered : .cut, flow)
        flow.end(how)
    }

    func tell(_ kind: Event.Kind, _ flow: ProxyFlow) {
        report(Event(kind: kind, clientPort: flow.clientPort, serverPort: flow.serverPort, at: Moment.now))
    }

    func ended(_ flow: ProxyFlow) { flows[flow.number] = nil }

    private func setFrozen(_ frozen: Bool) {
        guard !isStopped, isFrozen != frozen else { return }
        isFrozen = frozen
        for flow in Array(flows.values) {
            // At the begin and at the end: whoever reads the log sees the interval.
            if flow.blocks.isEmpty { tell(.frozen, flow) }
            frozen ? flow.pause() : flow.resume()
        }
        if !isRefusing { frozen ? loop.forget(listener) : watchListener() }
    }

    /// Begins or ends a block of a connection. Told is when it begins to stand still and when it goes on, whatever overlaps.
    private func setBlock(_ number: Int, _ direction: Direction?, of flow: ProxyFlow) {
        guard flows[flow.number] === flow else { return }
        let wasBlocked = !flow.blocks.isEmpty
        flow.blocks[number] = direction
        if !isFrozen, wasBlocked == flow.blocks.isEmpty { tell(.frozen, flow) }
        // Watched anew, so that a descriptor that was left alone for its hang-up is looked at again.
        guard !isFrozen else { return }
        flow.pause()
        flow.resume()
    }

    private func setRefusing(_ refusing: Bool) {
        guard !isStopped, isRefusing != refusing else { return }
        isRefusing = refusing
        if refusing {
            if !isFrozen { loop.forget(listener) }
            Glibc.close(listener)
        } else {
            listenAgain()
        }
    }

    private func listenAgain() {
        guard let descriptor = Socket.listen(on: port) else {
            preconditionFailure("port \(port) is kept, and cannot be listened on: errno \(errno)")
        }
        listener = descriptor
        if !isFrozen { watchListener() }
    }

    private func watchListener() {
        loop.watch(listener, for: .read) { [self] _ in accept() }
    }

    private func accept() {
        while let client = Socket.accept(listener) {
            guard let server = Socket.connect(to: target) else {
                Socket.close(client, .reset)
                continue
            }
            lastFlow += 1
            let flow = ProxyFlow(number: lastFlow, client: client, server: server, proxy: self)
            flows[lastFlow] = flow
            for (number, block) in blocks { flow.blocks[number] = block.covers == nil ? block.direction : .both }
            if !flow.blocks.isEmpty { tell(.frozen, flow) }
            flow.resume()
            for (number, block) in blocks { ask(block.covers, of: flow, inBlock: number) }
        }
    }

    /// Whether a new connection is meant by a block that it was put under.
    private func ask(_ covers: Covers?, of flow: ProxyFlow, inBlock block: Int) {
        guard let covers else { return }
        let (number, port) = (flow.number, flow.clientPort)
        Task.detached { [self] in
            let isMeant = !covers([port]).isEmpty
            loop.run { [self] in
                // A block that is over has let go of it.
                guard let flow = flows[number], let direction = blocks[block]?.direction else { return }
                setBlock(block, isMeant ? direction : nil, of: flow)
            }
        }
    }

    private func onLoop<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in loop.run { continuation.resume(returning: body()) } }
    }
}
