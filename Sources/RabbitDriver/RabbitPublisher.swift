internal import EventLoop
internal import Synchronization

/// What became of one published message.
package enum PublishOutcome: Sendable, Hashable {
    /// The broker has it: a quorum queue wrote it on a majority.
    case confirmed
    /// No queue takes this routing key; the broker does not have it.
    case returned(RabbitReturn)
    /// The broker answered `basic.nack`: it does not keep it (for example a full queue).
    case refused
    /// It never left this process.
    case notSent(RabbitError)
    /// It was on the wire and no answer came: the broker may have it or not.
    case unknown(RabbitError)

    /// Whether the broker surely has it.
    package var isConfirmed: Bool { self == .confirmed }
    /// Whether the broker may have it.
    package var mayBeQueued: Bool {
        switch self {
        case .confirmed, .unknown: true
        case .returned, .refused, .notSent: false
        }
    }
}

/// Publishes with confirms, on a connection and a thread of its own. Any thread may call it.
///
/// Bounded everywhere: a window of unconfirmed messages, a queue before it, and a deadline for each message, by which its
/// outcome comes whatever the broker does. `connection.blocked` holds messages back until it ends or their deadline.
package final class RabbitPublisher: Sendable {
    /// Bounds and times.
    package struct Limits: Sendable, Hashable {
        /// Messages on the wire without an answer. Default 1,000.
        package var window = 1_000
        /// Their bytes; one larger message may go alone. Small enough to fit into socket buffers, so that a broker that
        /// stops reading does not make a write hang. Default 2 MiB.
        package var windowBytes = 2 << 20
        /// Messages taken in and not yet settled. Default 20,000.
        package var queue = 20_000
        /// Their bytes. Default 64 MiB.
        package var queueBytes = 64 << 20
        /// From the call to the outcome, unless the call says otherwise. Default 10 s.
        package var deadline: Duration = .seconds(10)
        /// A message unconfirmed for longer makes the publisher give its connection up. Default 10 s.
        package var confirmTimeout: Duration = .seconds(10)
        /// Exchanges that must exist; without them nothing is sent and the outcome names the missing one.
        package var requiredExchanges: [String] = []
        package init() {}
    }

    /// What the publisher is doing, for status displays.
    package struct Status: Sendable, Hashable {
        /// Ready to publish now.
        package var isConnected = false
        /// The broker's reason when it takes no messages.
        package var blockedReason: String?
        /// Messages taken in and not settled.
        package var outstanding = 0
        /// Why there is no connection, or why the last one ended.
        package var lastError: RabbitError?
    }

    private let loop: EventLoop
    private let core: LoopBound<PublisherCore>
    private let gate: PublisherGate
    private let limits: Limits

    /// Starts the thread and begins to connect.
    package init(configuration: RabbitConfiguration, limits: Limits = .init()) {
        var configuration = configuration
        // A publisher that gave up after the first try would be of no use to anybody.
        configuration.reconnects = true
        self.limits = limits
        let loop = EventLoop(name: "rabbit-publish")
        let gate = PublisherGate(limits: limits)
        let core = LoopBound(
            PublisherCore(loop: loop, gate: gate, configuration: configuration, limits: limits),
            to: loop
        )
        self.loop = loop
        self.gate = gate
        self.core = core
        loop.start()
        loop.run { core.value.start() }
    }

    deinit {
        if gate.close() {
            let core = core
            let loop = loop
            loop.run { core.value.abort() }
            loop.stop()
            // Not here: the last holder may be a callback on that very thread.
            _ = startThread(named: "rabbit-join") { loop.join() }
        }
    }

    /// Publishes a batch. Any thread; never blocks. Batches go out in the order of the calls.
    ///
    /// - Parameters:
    ///   - within: the deadline from now; default `Limits.deadline`.
    ///   - waitsForRoom: whether a batch that meets a full queue waits behind it, up to its deadline; how many wait is
    ///     then the caller's business. Default false: it is answered at once, on the caller's thread, with `notSent`.
    ///   - done: called once, on the publisher's thread, with one outcome per message in the batch's order. It must not
    ///     block.
    package func publish(
        _ messages: [RabbitMessage],
        within deadline: Duration? = nil,
        waitsForRoom: Bool = false,
        _ done: @escaping @Sendable ([PublishOutcome]) -> Void
    ) {
        hand(messages, deadline, waitsForRoom: waitsForRoom, done)
    }

    /// Publishes a batch and waits for its outcomes. When the queue is full it waits for room first, until the deadline.
    package func publish(_ messages: [RabbitMessage], within deadline: Duration? = nil) async -> [PublishOutcome] {
        await withCheckedContinuation { continuation in
            hand(messages, deadline, waitsForRoom: true) { continuation.resume(returning: $0) }
        }
    }

    /// What it is doing now.
    package var status: Status { gate.status }

    /// Takes no more messages, waits until those taken are settled (at the latest by their deadlines), closes the
    /// connection and ends the thread. A second call returns at once.
    package func shutdown() async {
        guard gate.close() else { return }
        let core = core
        let loop = loop
        await withCheckedContinuation { continuation in
            loop.run { core.value.shutdown { continuation.resume() } }
        }
        loop.stop()
        await withCheckedContinuation { continuation in
            // Joining blocks, which a cooperative thread must not.
            if !startThread(
                named: "rabbit-join",
                {
                    loop.join(); continuation.resume()
                }
            ) {
                continuation.resume()
            }
        }
    }

    private func hand(
        _ messages: [RabbitMessage],
        _ deadline: Duration?,
        waitsForRoom: Bool,
        _ done: @escaping @Sendable ([PublishOutcome]) -> Void
    ) {
        guard !messages.isEmpty else { return done([]) }
        let batch = PublishBatch(
            messages: messages,
            deadline: ContinuousClock.now.advanced(by: deadline ?? limits.deadline),
            done: done
        )
        switch gate.offer(batch, waitsForRoom: waitsForRoom) {
        case .taken(wakes: false):
            break
        case .taken(wakes: true):
            let core = core
            // The turn's end takes the batch in; this only makes a turn happen.
            loop.run { core.value.woken() }
        case .refused(let error):
            done(Array(repeating: .notSent(error), count: messages.count))
        }
    }
}

/// The messages of one call.
final class PublishBatch: @unchecked Sendable {
    // Unchecked: written by the caller before it is handed over, and by the publisher's loop after.
    let messages: [RabbitMessage]
    let deadline: ContinuousClock.Instant
    let bytes: Int
    private let done: @Sendable ([PublishOutcome]) -> Void
    private var outcomes: [PublishOutcome?]
    private(set) var open: Int
    /// The first message that was not yet written.
    var next = 0

    init(
        messages: [RabbitMessage],
        deadline: ContinuousClock.Instant,
        done: @escaping @Sendable ([PublishOutcome]) -> Void
    ) {
        self.messages = messages
        self.deadline = deadline
        self.done = done
        bytes = messages.reduce(0) { $0 + $1.size }
        outcomes = Array(repeating: nil, count: messages.count)
        open = messages.count
    }

    /// - Returns: false when this message has its outcome already.
    func settle(_ index: Int, _ outcome: PublishOutcome) -> Bool {
        guard outcomes[index] == nil else { return false }
        outcomes[index] = outcome
        open -= 1
        if open == 0 { done(outcomes.compactMap { $0 }) }
        return true
    }
}

/// What the callers' threads and the publisher's loop share.
final class PublisherGate: Sendable {
    enum Offer {
        case taken(wakes: Bool)
        case refused(RabbitError)
    }

    private struct State {
        var count = 0
        var bytes = 0
        var inbox: [PublishBatch] = []
        var waiting: [PublishBatch] = []
        var isClosed = false
        var isWoken = false
        var status = RabbitPublisher.Status()
    }
    private let state = Mutex(State())
    private let limits: RabbitPublisher.Limits

    init(limits: RabbitPublisher.Limits) { self.limits = limits }

    var status: RabbitPublisher.Status {
        state.withLock { state in
            var status = state.status
            status.outstanding = state.count
            return status
        }
    }

    func update(_ change: (inout RabbitPublisher.Status) -> Void) {
        state.withLock { change(&$0.status) }
    }

    private func admits(_ batch: PublishBatch, _ state: State) -> Bool {
        // A batch larger than the whole queue goes alone.
        state.count == 0
            || (state.count + batch.messages.count <= limits.queue && state.bytes + batch.bytes <= limits.queueBytes)
    }

    func offer(_ batch: PublishBatch, waitsForRoom: Bool) -> Offer {
        state.withLock { state in
            if state.isClosed { return .refused(RabbitError(.closed, "the publisher is closed")) }
            if state.waiting.isEmpty, admits(batch, state) {
                state.count += batch.messages.count
                state.bytes += batch.bytes
                state.inbox.append(batch)
            } else if waitsForRoom {
                state.waiting.append(batch)
            } else {
                return .refused(RabbitError(.busy, "the publisher's queue is full"))
            }
            defer { state.isWoken = true }
            return .taken(wakes: !state.isWoken)
        }
    }

    /// The loop takes what has come in, and gives back the room of what it settled.
    func exchange(released count: Int, bytes: Int, now: ContinuousClock.Instant) -> (
        arrived: [PublishBatch], expired: [PublishBatch], isWaiting: Bool
    ) {
        state.withLock { state in
            state.isWoken = false
            state.count -= count
            state.bytes -= bytes
            let expired = state.waiting.filter { $0.deadline <= now }
            if !expired.isEmpty { state.waiting.removeAll { $0.deadline <= now } }
            while let first = state.waiting.first, admits(first, state) {
                state.waiting.removeFirst()
                state.count += first.messages.count
                state.bytes += first.bytes
                state.inbox.append(first)
            }
            var arrived: [PublishBatch] = []
            swap(&arrived, &state.inbox)
            return (arrived, expired, !state.waiting.isEmpty)
        }
    }

    /// - Returns: whether it was open.
    func close() -> Bool {
        state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
    }
}
