internal import Glibc
internal import RabbitDriver
internal import Synchronization
// A producer writes `import TrunklineClient` and nothing else: jobs, keys and refusals come with it.
@_exported public import TrunklineCore

/// Hands send jobs to Trunkline through RabbitMQ, with publisher confirms.
///
/// One producer per process is enough: any number of tasks may share it. It has a connection and a thread of its own,
/// reconnects by itself, keeps a bounded window of unconfirmed jobs and answers every job by its deadline.
public final class TrunklineProducer: Sendable {
    /// Bounds and times.
    public struct Options: Sendable {
        /// Jobs on the wire without a confirm; 1…65,535. Default 1,000.
        public var window = 1_000
        /// From the call (for a sequence: from when its part is handed over) to the answer. Default 10 s.
        public var deadline: Duration = .seconds(10)
        /// The clock that `sendBefore` is checked against; for tests.
        public var now: @Sendable () -> Timestamp = TrunklineProducer.systemTime
        /// Shown in the broker's list of connections.
        public var connectionName = "trunkline producer"
        public init() {}
    }

    private let publisher: RabbitPublisher
    private let shards: Int?
    private let options: Options

    /// Jobs that travel together; a few parts are on the way at once.
    private static let partSize = 500
    private static let partsAtOnce = 8

    /// Begins to connect. A broker that is away is no error here: jobs wait for it until their deadline.
    ///
    /// - Parameters:
    ///   - amqpURL: `amqp://user:password@host:port/vhost`, or `amqps://…?cacertfile=…`; see `RabbitConfiguration`.
    ///   - shards: the install's number of shards, 1…10,000. With it jobs go straight to their shard's queue; a wrong
    ///     number is slower, or unroutable, never wrong. Without it they go through the intake queue.
    /// - Throws: ``ProducerConfigurationError``, never naming the password.
    public init(amqpURL: String, shards: Int? = nil, options: Options = .init()) throws(ProducerConfigurationError) {
        if let shards, !(1...10_000).contains(shards) {
            throw ProducerConfigurationError(description: "the number of shards must be 1…10000")
        }
        guard (1...65_535).contains(options.window), options.deadline > .zero else {
            throw ProducerConfigurationError(description: "the window must be 1…65535 and the deadline positive")
        }
        let configuration: RabbitConfiguration
        do throws(RabbitError) {
            configuration = try RabbitConfiguration(url: amqpURL, connectionName: options.connectionName)
        } catch {
            throw ProducerConfigurationError(description: error.message)
        }
        var limits = RabbitPublisher.Limits()
        limits.window = options.window
        limits.queue = max(options.window * 2, Self.partSize * Self.partsAtOnce)
        limits.deadline = options.deadline
        // Publishing to an exchange that is not there closes the channel under every neighbour's feet; asked for
        // first, it is one clear sentence.
        limits.requiredExchanges = [Route.exchange]
        publisher = RabbitPublisher(configuration: configuration, limits: limits)
        self.shards = shards
        self.options = options
    }

    /// Sends one job and waits for the broker's confirm.
    ///
    /// - Returns: when the job is safe.
    /// - Throws: ``SendError``, which says whether it may be queued nevertheless.
    @discardableResult
    public func send(_ job: SendJob, within deadline: Duration? = nil) async throws(SendError) -> Accepted {
        let message: RabbitMessage
        switch self.message(for: job) {
        case .success(let ready): message = ready
        case .failure(let error): throw error
        }
        let outcomes = await publisher.publish([message], within: deadline ?? options.deadline)
        return try Self.verdict(on: job, outcomes[0]).get()
    }

    /// Sends many jobs, in their order, and tells of each what became of it.
    ///
    /// The sequence is read as room comes, so it may be long and made as it goes. A job that is refused does not hold
    /// up its neighbours.
    ///
    /// - Returns: one result per job, in the sequence's order.
    public func send(
        _ jobs: some Sequence<SendJob>,
        within deadline: Duration? = nil
    ) async -> [Result<Accepted, SendError>] {
        let collected = Collector()
        var part = Part()
        var count = 0
        for job in jobs {
            switch message(for: job) {
            case .success(let message):
                part.messages.append(message)
                part.jobs.append((count, job))
            case .failure(let error):
                collected.add(count, .failure(error))
            }
            count += 1
            if part.messages.count == Self.partSize {
                await hand(part, deadline, collected)
                part = Part()
            }
        }
        if !part.messages.isEmpty { await hand(part, deadline, collected) }
        await collected.waitUntilOpen(isBelow: 1)
        return collected.results(count: count)
    }

    /// Whether the producer is connected and ready to publish.
    public var isConnected: Bool { publisher.status.isConnected }

    /// The broker's reason when it takes no messages for now (`connection.blocked`), else nil.
    public var blockedReason: String? { publisher.status.blockedReason }

    /// Takes no more jobs, waits until those on the way have their answer, and closes the connection.
    public func shutdown() async { await publisher.shutdown() }

    // MARK: Inside

    private struct Part {
        var messages: [RabbitMessage] = []
        var jobs: [(index: Int, job: SendJob)] = []
    }

    private func hand(_ part: Part, _ deadline: Duration?, _ collected: Collector) async {
        await collected.waitUntilOpen(isBelow: Self.partsAtOnce)
        collected.begin()
        let jobs = part.jobs
        // Not in a task of its own: parts must reach the publisher in their order.
        publisher.publish(part.messages, within: deadline ?? options.deadline, waitsForRoom: true) { outcomes in
            for ((index, job), outcome) in zip(jobs, outcomes) {
                collected.add(index, Self.verdict(on: job, outcome))
            }
            collected.end()
        }
    }

    private func message(for job: SendJob) -> Result<RabbitMessage, SendError> {
        do throws(Refusal) {
            try job.validate(now: options.now())
        } catch {
            return .failure(.refused(error))
        }
        let body = job.encode()
        guard body.count <= SendJob.maximumMessageBytes else {
            return .failure(
                .refused(
                    Refusal(
                        kind: .tooLarge,
                        reason: "the job is \(body.count) bytes, at most \(SendJob.maximumMessageBytes) are allowed"
                    )
                )
            )
        }
        let routingKey = shards.map { Route.shard(shard(ofLane: job.laneName, of: $0)) } ?? Route.send
        return .success(
            RabbitMessage(
                exchange: Route.exchange,
                routingKey: routingKey,
                properties: RabbitProperties(messageID: job.key.value),
                body: body
            )
        )
    }

    private static func verdict(on job: SendJob, _ outcome: PublishOutcome) -> Result<Accepted, SendError> {
        switch outcome {
        case .confirmed:
            return .success(Accepted(key: job.key, line: job.line))
        case .returned(let value):
            return .failure(
                .unroutable("no queue takes the routing key \(value.routingKey); is the number of shards right?")
            )
        case .refused:
            return .failure(.rejected("its queue is full or not available"))
        case .notSent(let error):
            if error.replyCode == 404 {
                return .failure(.notSent("\(error.message); run trunkline topology apply"))
            }
            return .failure(.notSent(error.message))
        case .unknown(let error):
            return .failure(.unknown(error.message))
        }
    }

    /// The wall clock.
    public static func systemTime() -> Timestamp {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000)
    }
}

/// Results of a sequence, filled in from the publisher's thread, and how many parts are on the way.
private final class Collector: Sendable {
    private struct State {
        var results: [Int: Result<Accepted, SendError>] = [:]
        var open = 0
        var waiter: (below: Int, continuation: CheckedContinuation<Void, Never>)?
    }
    private let state = Mutex(State())

    func add(_ index: Int, _ result: Result<Accepted, SendError>) {
        state.withLock { $0.results[index] = result }
    }

    func begin() { state.withLock { $0.open += 1 } }

    func end() {
        let resumed = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.open -= 1
            guard let waiter = state.waiter, state.open < waiter.below else { return nil }
            state.waiter = nil
            return waiter.continuation
        }
        resumed?.resume()
    }

    /// Only one task waits: the one that sends the sequence.
    func waitUntilOpen(isBelow limit: Int) async {
        await withCheckedContinuation { continuation in
            let ready = state.withLock { state in
                if state.open < limit { return true }
                state.waiter = (limit, continuation)
                return false
            }
            if ready { continuation.resume() }
        }
    }

    func results(count: Int) -> [Result<Accepted, SendError>] {
        state.withLock { state in
            (0..<count).map { state.results[$0] ?? .failure(.unknown("no answer was recorded")) }
        }
    }
}
