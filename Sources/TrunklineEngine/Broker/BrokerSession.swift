internal import EventLoop
package import RabbitDriver
internal import TrunklineCore

/// A connection to the broker with an async interface and a loop thread of its own: for commands, checks and tests, never
/// for a hot path. Connects once; a lost connection fails what is under way.
package actor BrokerSession {
    let loop: EventLoop
    let connection: RabbitConnection
    private var channel: RabbitChannel?

    nonisolated package var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    // MARK: Life

    private init(loop: EventLoop, configuration: RabbitConfiguration) {
        self.loop = loop
        connection = RabbitConnection(loop: loop, configuration: configuration)
    }

    /// Connects, and refuses a broker that this program does not work with.
    ///
    /// - Parameter url: `amqp://…` or `amqps://…`.
    package static func open(url: String, connectionName: String) async throws -> BrokerSession {
        var configuration = try RabbitConfiguration(url: url, connectionName: connectionName)
        configuration.reconnects = false
        let loop = EventLoop(name: "broker-session")
        loop.start()
        let session = BrokerSession(loop: loop, configuration: configuration)
        do {
            try await session.connect()
        } catch {
            await session.close()
            throw error
        }
        return session
    }

    /// Connects, runs `body` and closes, whatever happens.
    package static func withSession<R: Sendable>(
        url: String,
        connectionName: String,
        _ body: (BrokerSession) async throws -> R
    ) async throws -> R {
        let session = try await open(url: url, connectionName: connectionName)
        do {
            let value = try await body(session)
            await session.close()
            return value
        } catch {
            await session.close()
            throw error
        }
    }

    private func connect() async throws {
        let connection = connection
        let result: Result<Void, RabbitError> = await withCheckedContinuation { continuation in
            connection.onConnect = {
                connection.onConnect = nil
                connection.onConnectFailed = nil
                continuation.resume(returning: .success(()))
            }
            connection.onConnectFailed = { error in
                connection.onConnect = nil
                connection.onConnectFailed = nil
                continuation.resume(returning: .failure(error))
            }
            connection.open()
        }
        try result.get()
        if let server = connection.server,
            let refusal = Topology.refusal(ofBroker: server.product, version: server.version)
        {
            throw refusal
        }
    }

    /// Closes the connection and ends the thread.
    package nonisolated func close() async {
        await closeConnection()
        // From outside the loop, which cannot wait for itself.
        loop.stop()
        loop.join()
    }

    private func closeConnection() async {
        channel = nil
        let connection = connection
        await withCheckedContinuation { continuation in connection.close { continuation.resume() } }
    }

    /// The broker's own words about itself.
    package var server: RabbitServer? { connection.server }

    // MARK: Topology

    /// Declares everything of ``Topology/plan(shards:)`` and retires queues of shards that the install no longer has.
    /// Changes nothing that is right already.
    ///
    /// - Parameter outlivesCrash: return only when new queues outlive a crash of the broker, as far as a client can know.
    /// - Returns: the queues that were retired, with how many of their messages were moved to the intake.
    @discardableResult
    package func apply(shards: Int, outlivesCrash: Bool = true) async throws -> [Topology.Retired] {
        try requireChannels(forShards: shards)
        let plan = Topology.plan(shards: shards)
        var problems: [TopologyError.Problem] = []
        for exchange in plan.exchanges { try await collect(&problems) { try await declare(exchange) } }
        var isNew = false
        for queue in plan.queues {
            if try await messages(in: queue.name) == nil { isNew = true }
            try await collect(&problems) { try await declare(queue) }
        }
        guard problems.isEmpty else { throw TopologyError.differs(problems) }
        for binding in plan.bindings { try await bind(binding) }
        let retired = try await retireQueues(from: shards)
        if isNew, outlivesCrash { try await Task.sleep(for: Topology.writingOfNames) }
        return retired
    }

    /// A worker that is left alone must be able to consume from every queue.
    private func requireChannels(forShards shards: Int) throws(TopologyError) {
        let needed = Topology.channels(forShards: shards)
        guard let limit = connection.channelLimit, limit < needed else { return }
        throw .tooFewChannels(limit: limit, needed: needed)
    }

    /// Throws ``TopologyError`` when something of ``Topology/plan(shards:)`` is missing or exists with other arguments.
    /// Makes no queue and no exchange; bindings, which nobody can ask for over AMQP, are made again.
    package func check(shards: Int) async throws {
        try requireChannels(forShards: shards)
        let plan = Topology.plan(shards: shards)
        var problems: [TopologyError.Problem] = []
        for exchange in plan.exchanges {
            try await collect(&problems) {
                try await declare(exchange, passive: true)
                try await declare(exchange)
            }
        }
        for queue in plan.queues {
            try await collect(&problems) {
                try await declare(queue, passive: true)
                try await declare(queue)
            }
        }
        guard problems.isEmpty else { throw TopologyError.differs(problems) }
        for binding in plan.bindings { try await bind(binding) }
    }

    /// How many messages are ready in a queue, nil when there is no such queue.
    package func messages(in queue: String) async throws -> Int? {
        do {
            return try await onChannel { channel, done in channel.declareQueue(queue, passive: true, done: done) }
                .messages
        } catch let error as RabbitError where error.replyCode == 404 {
            return nil
        }
    }

    private func collect(_ problems: inout [TopologyError.Problem], _ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch let problem as TopologyError.Problem {
            problems.append(problem)
        }
    }

    private func declare(_ exchange: Topology.Exchange, passive: Bool = false) async throws {
        try await explained(exchange: exchange.name) {
            try await onChannel { channel, done in
                channel.declareExchange(
                    exchange.name,
                    kind: exchange.kind,
                    passive: passive,
                    arguments: Self.table(exchange.arguments),
                    done: done
                )
            }
        }
    }

    private func declare(_ queue: Topology.Queue, passive: Bool = false) async throws {
        try await explained(queue: queue.name) {
            _ = try await onChannel { channel, done in
                channel.declareQueue(queue.name, passive: passive, arguments: Self.table(queue.arguments), done: done)
            }
        }
    }

    private func bind(_ binding: Topology.Binding) async throws {
        try await onChannel { channel, done in
            channel.bindQueue(binding.queue, to: binding.exchange, routingKey: binding.routingKey, done: done)
        }
    }

    private static func table(_ arguments: [Topology.Argument]) -> [String: RabbitValue] {
        Dictionary(uniqueKeysWithValues: arguments.map { ($0.name, $0.value) })
    }

    /// Turns the broker's refusal of a declaration into a ``TopologyError/Problem``.
    private func explained(exchange: String? = nil, queue: String? = nil, _ body: () async throws -> Void) async throws
    {
        do {
            try await body()
        } catch let error as RabbitError {
            let kind: TopologyError.Problem.Kind
            switch error.replyCode {
            case 404: kind = .missing
            case 405: kind = .locked
            case 406:
                kind = .differs(
                    argument: error.message.firstMatch(of: /inequivalent arg '([^']+)'/).map { String($0.1) }
                )
            default: throw error
            }
            throw TopologyError.Problem(
                object: exchange.map { "exchange \($0)" } ?? "queue \(queue ?? "")",
                kind: kind,
                words: error.message
            )
        }
    }

    // MARK: Retiring

    /// Empties and deletes the shard queues from `first` on: after the number of shards was lowered nobody consumes from
    /// them. Their messages go to the intake, confirmed there before they are acknowledged here.
    private func retireQueues(from first: Int) async throws -> [Topology.Retired] {
        var end = first
        while end < Topology.shardRange.upperBound, try await messages(in: Topology.shardQueue(end)) != nil { end += 1 }
        var retired: [Topology.Retired] = []
        // From the highest down, so that a run that was broken off is found by the next one's walk up.
        for number in (first..<end).reversed() {
            let queue = Topology.shardQueue(number)
            // First of all: what comes now finds no binding and goes to the unrouted ones, which are taken.
            try await onChannel { channel, done in
                channel.unbindQueue(queue, from: Topology.jobsExchange, routingKey: Route.shard(number), done: done)
            }
            let moved = try await move(from: queue)
            _ = try await onChannel { channel, done in channel.deleteQueue(queue, done: done) }
            retired.append(Topology.Retired(queue: queue, moved: moved))
        }
        return retired
    }

    /// Publishes every message of `queue` to the intake and acknowledges it once that is confirmed. Returns when the
    /// queue is empty.
    private func move(from queue: String) async throws -> Int {
        var moved = 0
        while let left = try await messages(in: queue), left > 0 {
            let state = Moving(until: left)
            let channel = try await openChannel()
            let result: Result<Void, RabbitError> = await withCheckedContinuation { continuation in
                state.finish = { continuation.resume(returning: $0) }
                channel.onClose = { state.end(.failure($0)) }
                channel.onConfirm = { tag, multiple, acked in
                    guard acked else {
                        state.end(.failure(RabbitError(.channelClosed, "the broker refused a message for the intake")))
                        return
                    }
                    for (published, delivered) in state.open.filter({ multiple ? $0.key <= tag : $0.key == tag }) {
                        state.open[published] = nil
                        channel.ack(delivered)
                        state.moved += 1
                    }
                    if state.moved >= state.until { state.end(.success(())) }
                }
                channel.enableConfirms { result in
                    if case .failure(let error) = result { state.end(.failure(error)) }
                }
                channel.consume(
                    queue: queue,
                    tag: "trunkline-topology-apply",
                    prefetch: 100,
                    onDelivery: { delivery in
                        var properties = RabbitProperties(messageID: delivery.messageID)
                        properties.contentType = delivery.contentType
                        do throws(RabbitError) {
                            // Cut bodies cannot be moved; 16 MiB is more than any message of ours.
                            guard !delivery.isTruncated else {
                                throw RabbitError(
                                    .invalidArgument,
                                    "a message of \(delivery.bodySize) bytes is too big to be moved"
                                )
                            }
                            let tag = try channel.publish(
                                exchange: Topology.jobsExchange,
                                routingKey: Route.send,
                                mandatory: true,
                                properties: properties,
                                body: delivery.body
                            )
                            state.open[tag] = delivery.tag
                        } catch {
                            state.end(.failure(error))
                        }
                    },
                    onCancel: {
                        state.end(.failure(RabbitError(.channelClosed, "the broker ended the consumer of \(queue)")))
                    },
                    done: { result in
                        if case .failure(let error) = result { state.end(.failure(error)) }
                    }
                )
            }
            moved += state.moved
            channel.onClose = nil
            channel.onConfirm = nil
            // What was delivered beyond that goes back, and the next round takes it.
            await withCheckedContinuation { continuation in channel.close { _ in continuation.resume() } }
            try result.get()
        }
        return moved
    }

    private final class Moving {
        let until: Int
        var moved = 0
        /// Delivery tag by publishing number.
        var open: [UInt64: UInt64] = [:]
        var finish: ((Result<Void, RabbitError>) -> Void)?

        init(until: Int) { self.until = until }

        func end(_ result: Result<Void, RabbitError>) {
            let finish = finish
            self.finish = nil
            finish?(result)
        }
    }

    // MARK: Channels

    func openChannel() async throws -> RabbitChannel {
        let (connection, answer) = (connection, Answer<RabbitChannel>())
        await withCheckedContinuation { continuation in
            connection.openChannel { answer.give($0, continuation) }
        }
        return try answer.get()
    }

    /// Runs one command on the session's channel, or on a new one when a refusal has closed it.
    func onChannel<Value>(
        _ start: (RabbitChannel, @escaping (Result<Value, RabbitError>) -> Void) -> Void
    ) async throws -> Value {
        let usable: RabbitChannel
        if let channel, channel.isOpen {
            usable = channel
        } else {
            usable = try await openChannel()
            channel = usable
        }
        let answer = Answer<Value>()
        await withCheckedContinuation { continuation in
            start(usable) { answer.give($0, continuation) }
        }
        return try answer.get()
    }

    /// A result that stays on the loop while the continuation, which may carry only what is Sendable, wakes whoever waits.
    private final class Answer<Value> {
        private var result: Result<Value, RabbitError>?

        func give(_ result: Result<Value, RabbitError>, _ continuation: CheckedContinuation<Void, Never>) {
            self.result = result
            continuation.resume()
        }

        func get() throws(RabbitError) -> Value {
            guard let result else { preconditionFailure("the continuation is resumed by `give` only") }
            return try result.get()
        }
    }
}

extension Topology {
    /// Why this program does not work with a broker, judged by what it says of itself at login; nil when it does.
    package static func refusal(ofBroker product: String, version text: String) -> TopologyError? {
        // Another product counts otherwise; whether it knows quorum queues shows when they are declared.
        guard product == "RabbitMQ" else { return nil }
        let parts = text.split { !$0.isNumber }.prefix(3).map { Int($0) ?? 0 }
        guard parts.count == 3 else { return nil }
        if parts.lexicographicallyPrecedes([3, 10, 0]) {
            return .brokerRefused(version: text, reason: "dead-lettering at least once needs RabbitMQ 3.10 or newer")
        }
        if parts[0] == 4, parts[1] == 0, parts[2] < 3 {
            return .brokerRefused(
                version: text,
                reason: "4.0.0 to 4.0.2 can lose messages of quorum queues; 4.0.3 is good"
            )
        }
        return nil
    }

    /// A queue of a shard that the install no longer has.
    package struct Retired: Sendable, Hashable {
        package let queue: String
        /// How many of its messages went to the intake.
        package let moved: Int
    }
}
