internal import CPlatform
internal import EventLoop

/// One logged-in connection, bound to its loop: writes, the frame pump, heartbeats, deadlines.
///
/// It ends once: whatever goes wrong is noted by `fail`, and `finish` runs in the next turn, so that no caller sees
/// its world change during a call.
final class Link {
    let loop: EventLoop
    let state: BrokerState
    let server: RabbitServer
    let configuration: RabbitConfiguration

    /// Called once, on the loop, when everything is over. The error is the first one that happened.
    var onEnd: ((RabbitError) -> Void)?
    /// The broker's words when it blocks publishing, nil when it unblocks.
    var onBlocked: ((String?) -> Void)?
    /// The socket takes bytes again after a publish was refused with `busy`.
    var onWritable: (() -> Void)?

    private(set) var isBlocked = false
    private(set) var failure: RabbitError?
    private var isFinished = false

    private let socket: GuardedSocket
    private let heartbeat: Duration
    private var lastSent: ContinuousClock.Instant
    private var lastPumped: ContinuousClock.Instant
    private var isPumping = false
    private var pumpIsScheduled = false
    /// Frames that wait for room in the socket's buffer, oldest first.
    private var outbox: [() -> Int32] = []
    private var outboxSince: ContinuousClock.Instant?
    private var wantsWritable = false
    private var closeDone: [() -> Void] = []
    private var isClosing = false
    /// Its connection lets go of it when it asks for the close; somebody must hold it until it is over.
    private var keptUntilClosed: Link?

    private var channels: [RabbitChannel?] = [nil]
    private var freeNumbers: [UInt16] = []
    let channelLimit: Int

    /// Frames handled in one go, so that a flood on this socket does not starve the loop's other descriptors.
    private static let framesPerTurn = 2_048
    private static let bytesBetweenReleases = 1 << 20

    init(loop: EventLoop, configuration: RabbitConfiguration, takingOwnershipOf loggedIn: LoggedIn) {
        loop.preconditionOnLoop()
        self.loop = loop
        self.configuration = configuration
        state = loggedIn.state
        socket = loggedIn.socket
        server = loggedIn.server
        heartbeat = loggedIn.heartbeat
        channelLimit = loggedIn.channelLimit
        lastSent = loop.now
        lastPumped = loop.now
        socket.heard()
        loop.watch(socket.descriptor, for: .read) { [weak self] in self?.ready($0) }
        // What the library read during the login is invisible to epoll.
        schedulePump()
        scheduleTick()
    }

    deinit {
        // Only when the loop was stopped under it: nobody else can reach the state then.
        if !isFinished { state.destroy() }
    }

    // MARK: Writing

    private var isWritable: Bool { tl_amqp_writable(socket.descriptor) != 0 }

    /// Whether a message may be written now: nothing waits before it and the socket has room.
    var canPublish: Bool { failure == nil && !isClosing && outbox.isEmpty && isWritable }

    /// The one door for frames that must go out, in order: commands, acknowledgements, heartbeats.
    func send(_ frame: @escaping () -> Int32) {
        guard failure == nil else { return }
        if outbox.isEmpty, isWritable {
            write(frame)
            return
        }
        if outbox.isEmpty { outboxSince = ContinuousClock.now }
        outbox.append(frame)
        updateInterest()
    }

    /// Writes at once. Any error leaves half a frame on the wire, so the connection is dead.
    func write(_ frame: () -> Int32) {
        let status = socket.call(frame)
        guard status == AMQP_STATUS_OK.rawValue else {
            fail(lost(status, "sending"))
            return
        }
        lastSent = loop.now
        // A send that had to wait may have read frames and queued them; epoll does not know of those.
        if state.hasQueuedFrames { schedulePump() }
    }

    /// Asks for `onWritable` once there is room.
    func notifyWhenWritable() {
        wantsWritable = true
        updateInterest()
    }

    private func updateInterest() {
        guard failure == nil else { return }
        loop.update(socket.descriptor, to: outbox.isEmpty && !wantsWritable ? .read : [.read, .write])
    }

    private func flushOutbox() {
        var written = 0
        while written < outbox.count, failure == nil, isWritable {
            let frame = outbox[written]
            written += 1
            write(frame)
        }
        if written > 0 {
            outbox.removeFirst(written)
            outboxSince = outbox.isEmpty ? nil : ContinuousClock.now
        }
        if outbox.isEmpty, wantsWritable, failure == nil {
            wantsWritable = false
            onWritable?()
        }
        updateInterest()
    }

    /// Before a publish: reads what is there if nobody looked for a heartbeat's time (we were frozen, or busy), so that
    /// a `blocked` or a close that came meanwhile is seen first.
    func pumpIfStale() {
        if !isPumping, ContinuousClock.now - lastPumped > heartbeat { pump() }
    }

    // MARK: The pump

    private func ready(_ readiness: EventLoop.Readiness) {
        if readiness.contains(.read) || readiness.contains(.error) {
            if readiness.contains(.read) { socket.heard() }
            pump()
        }
        if readiness.contains(.write) { flushOutbox() }
    }

    private func schedulePump() {
        guard !pumpIsScheduled, failure == nil else { return }
        pumpIsScheduled = true
        loop.schedule(after: .zero) { [weak self] in
            self?.pumpIsScheduled = false
            self?.pump()
        }
    }

    private func pump() {
        guard failure == nil, !isPumping else { return }
        isPumping = true
        defer { isPumping = false }
        lastPumped = ContinuousClock.now
        var frame = unsafe amqp_frame_t()
        var bytes = 0
        for _ in 0..<Self.framesPerTurn {
            // Possible: OK (a frame), TIMEOUT (no whole frame there), and everything else is the end.
            let status = socket.call { unsafe state.nextFrame(&frame) }
            guard status == AMQP_STATUS_OK.rawValue else {
                if status != AMQP_STATUS_TIMEOUT.rawValue { fail(lost(status, "reading")) }
                state.releaseBuffers()
                return
            }
            let arrived = unsafe BrokerFrame(frame)
            if arrived.type == AMQP_FRAME_BODY { bytes += arrived.fragmentSize }
            handle(arrived)
            guard failure == nil else { return }
            if bytes > Self.bytesBetweenReleases {
                // Everything needed from the frames was copied.
                bytes = 0
                state.releaseBuffers()
            }
        }
        state.releaseBuffers()
        schedulePump()
    }

    private func handle(_ frame: BrokerFrame) {
        let number = frame.channel
        if number == 0 {
            guard frame.type == AMQP_FRAME_METHOD else { return }
            handleConnectionMethod(frame.method)
        } else if number < channels.count, let channel = channels[number] {
            if channel.isEnded {
                // Both sides closed it at once; with the answer to our close its number is free.
                if frame.type == AMQP_FRAME_METHOD, frame.method.id == AMQP_CHANNEL_CLOSE_OK_METHOD { release(channel) }
                return
            }
            do throws(MessageAssembler.Violation) {
                try channel.received(frame)
            } catch {
                fail(RabbitError(.connectionLost, "the broker broke the protocol: \(error.reason)"))
            }
        }
        // Frames for a channel that is closed on both sides: late, and nobody's.
    }

    private func handleConnectionMethod(_ method: BrokerMethod) {
        switch method.id {
        case AMQP_CONNECTION_BLOCKED_METHOD:
            isBlocked = true
            unsafe onBlocked?(method.arguments(amqp_connection_blocked_t.self).reason.text)
        case AMQP_CONNECTION_UNBLOCKED_METHOD:
            isBlocked = false
            onBlocked?(nil)
        case AMQP_CONNECTION_CLOSE_METHOD:
            let close = unsafe method.arguments(amqp_connection_close_t.self)
            let error = RabbitError(
                .closedByBroker,
                unsafe "the broker closed the connection: \(close.reply_text.text)",
                replyCode: unsafe close.reply_code
            )
            if isWritable {
                _ = socket.call {
                    state.send(amqp_connection_close_ok_t(), AMQP_CONNECTION_CLOSE_OK_METHOD, on: 0)
                }
            }
            fail(error)
        case AMQP_CONNECTION_CLOSE_OK_METHOD:
            fail(RabbitError(.closed, "closed"))
        default:
            break
        }
    }

    // MARK: Time

    private func scheduleTick() {
        let interval = min(heartbeat / 3, .seconds(1))
        loop.schedule(after: interval) { [weak self] in self?.tick() }
    }

    private func tick() {
        guard failure == nil else { return }
        let now = ContinuousClock.now
        // Also the loop's own end of the watchdog's rule: it may be that the kernel has bytes and nobody looked.
        pump()
        guard failure == nil else { return }
        if now - lastSent >= heartbeat / 2, outbox.isEmpty, isWritable {
            write { state.sendHeartbeat() }
        }
        if let outboxSince, now - outboxSince > configuration.commandTimeout {
            fail(RabbitError(.connectionLost, "the broker stopped reading"))
        }
        for channel in channels {
            guard failure == nil else { break }
            if let channel, let late = channel.overdue(at: now) { fail(late) }
        }
        scheduleTick()
    }

    // MARK: Channels

    /// A number and a channel on it, not yet opened at the broker; nil when all numbers are in use.
    func makeChannel() -> RabbitChannel? {
        let number: UInt16
        if let free = freeNumbers.popLast() {
            number = free
        } else if channels.count <= channelLimit {
            number = UInt16(channels.count)
            channels.append(nil)
        } else {
            return nil
        }
        let channel = RabbitChannel(link: self, number: number)
        channels[Int(number)] = channel
        return channel
    }

    /// Both sides have closed it: the number may be used again.
    func release(_ channel: RabbitChannel) {
        guard channels[Int(channel.number)] === channel else { return }
        channels[Int(channel.number)] = nil
        freeNumbers.append(channel.number)
    }

    // MARK: The end

    /// Says goodbye; `done` is called when the broker has answered, or after two seconds without an answer.
    func close(_ done: @escaping () -> Void) {
        closeDone.append(done)
        guard !isClosing, failure == nil else { return }
        isClosing = true
        keptUntilClosed = self
        send { [state] in
            var close = unsafe amqp_connection_close_t()
            unsafe close.reply_code = 200
            return unsafe state.send(close, AMQP_CONNECTION_CLOSE_METHOD, on: 0)
        }
        loop.schedule(after: .seconds(2)) { [weak self] in self?.fail(RabbitError(.closed, "closed")) }
    }

    func fail(_ error: RabbitError) {
        guard failure == nil else { return }
        failure = error
        loop.schedule(after: .zero) { self.finish() }
    }

    private func lost(_ status: Int32, _ doing: String) -> RabbitError {
        if let reason = socket.wasCutBecause {
            return RabbitError(.connectionLost, "connection cut off: \(reason)")
        }
        if isClosing { return RabbitError(.closed, "closed") }
        switch status {
        case AMQP_STATUS_CONNECTION_CLOSED.rawValue, AMQP_STATUS_SOCKET_CLOSED.rawValue:
            return RabbitError(.connectionLost, "the broker closed the socket")
        default:
            let words = unsafe amqp_error_string2(status).map { unsafe String(cString: $0) } ?? "status \(status)"
            return RabbitError(.connectionLost, "connection lost while \(doing): \(words)")
        }
    }

    private func finish() {
        guard !isFinished, let failure else { return }
        isFinished = true
        loop.forget(socket.descriptor)
        // Whatever is still to be written must not be waited for.
        socket.cut(because: "closed")
        _ = socket.call { state.destroy() }
        outbox = []
        let open = channels.compactMap { $0 }
        channels = [nil]
        freeNumbers = []
        for channel in open { channel.linkEnded(failure) }
        let end = onEnd
        onEnd = nil
        onBlocked = nil
        onWritable = nil
        end?(failure)
        for done in closeDone { done() }
        closeDone = []
        keptUntilClosed = nil
    }
}
