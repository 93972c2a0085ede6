import EventLoop
import RabbitDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineEngine

@Suite struct TopologyPlanTests {
    private let plan = Topology.plan(shards: 64)

    private func argument(_ name: String, of queue: Topology.Queue) -> RabbitValue? {
        queue.arguments.first { $0.name == name }?.value
    }

    @Test func namesAreThoseOfTheDesign() {
        #expect(Topology.jobsExchange == "trunkline.jobs")
        #expect(Topology.shardQueue(7) == "trunkline.shard.07" && Topology.shardQueue(123) == "trunkline.shard.123")
        #expect(plan.queues.count == 5 + 64 + 4)
        #expect(Set(plan.queues.map(\.name)).count == plan.queues.count)
        let keys = Dictionary(uniqueKeysWithValues: plan.bindings.map { ($0.queue, $0) })
        #expect(keys["trunkline.shard.63"]?.routingKey == Route.shard(63))
        #expect(keys["trunkline.intake"]?.routingKey == "send" && keys["trunkline.bulk"]?.routingKey == "bulk")
        #expect(keys["trunkline.webhook"]?.routingKey == "webhook")
        // Every queue has its binding: one without is a place where messages cannot arrive.
        #expect(Set(keys.keys) == Set(plan.queues.map(\.name)))
    }

    @Test func everyQueueIsQuorumAndRefusesInsteadOfDropping() {
        for queue in plan.queues {
            #expect(argument("x-queue-type", of: queue) == "quorum", "\(queue.name)")
            #expect(argument("x-overflow", of: queue) == "reject-publish", "\(queue.name)")
            #expect(!queue.reason.isEmpty && queue.arguments.allSatisfy { !$0.reason.isEmpty })
        }
    }

    /// A limit without a dead-letter exchange drops; at-most-once drops; a dead-letter exchange that leads back loops.
    @Test func noQueueDropsOrLoops() {
        let exchanges = Set(plan.exchanges.map(\.name))
        let target = Dictionary(
            uniqueKeysWithValues: plan.queues.map { ($0.name, argument("x-dead-letter-exchange", of: $0)) }
        )
        for queue in plan.queues {
            if case .some(.string(let exchange)) = argument("x-dead-letter-exchange", of: queue) {
                #expect(exchanges.contains(exchange))
                #expect(argument("x-dead-letter-strategy", of: queue) == "at-least-once", "\(queue.name)")
                // The message must keep the routing key under which it was published.
                #expect(argument("x-dead-letter-routing-key", of: queue) == nil)
            } else {
                #expect(queue.name == Topology.deadQueue, "\(queue.name) would drop what comes back too often")
            }
        }
        #expect(target[Topology.unroutedQueue] == .some(.some(.string(Topology.deadLetterExchange))))
        let dead = plan.queues.first { $0.name == Topology.deadQueue }
        #expect(dead.flatMap { argument("x-delivery-limit", of: $0) } == .int(Int64(Int32.max)))
        for queue in plan.queues where queue.name != Topology.deadQueue && !queue.name.hasPrefix("trunkline.retry.") {
            #expect(argument("x-delivery-limit", of: queue) == .int(1_000), "\(queue.name)")
            #expect(argument("x-single-active-consumer", of: queue) == true, "\(queue.name)")
        }
    }

    @Test func theLargestTierThatIsNotLonger() {
        #expect(Topology.tier(atMost: .seconds(4.999)) == nil)
        #expect(Topology.tier(atMost: .seconds(5))?.name == "5s")
        #expect(Topology.tier(atMost: .seconds(29))?.name == "5s")
        #expect(Topology.tier(atMost: .seconds(119))?.name == "30s")
        #expect(Topology.tier(atMost: .seconds(599))?.name == "2m")
        #expect(Topology.tier(atMost: .seconds(86_400))?.name == "10m")
        #expect(Topology.tiers.map(\.delay) == [.seconds(5), .seconds(30), .seconds(120), .seconds(600)])
    }

    @Test(arguments: [
        ("3.10.8", true), ("3.13.7", true), ("4.0.3", true), ("4.1.0-rc.1", true), ("4.3.1", true), ("10.0.0", true),
        ("3.9.29", false), ("3.8.0", false), ("4.0.0", false), ("4.0.2", false), ("4.0.2+deb", false),
    ])
    func someVersionsAreRefused(_ version: String, _ isRight: Bool) {
        #expect((Topology.refusal(ofBroker: "RabbitMQ", version: version) == nil) == isRight)
        #expect(Topology.refusal(ofBroker: "LavinMQ", version: version) == nil)
    }
}

@Suite struct TopologyTests {
    @Test func appliesChecksAndAppliesAgain() async throws {
        try await TestServers.withVirtualHost { url in
            try await BrokerSession.withSession(url: url, connectionName: "tests") { broker in
                await #expect(throws: TopologyError.self) { try await broker.check(shards: 2) }
                #expect(try await broker.messages(in: Topology.shardQueue(0)) == nil, "a check makes no queue")
                #expect(try await broker.apply(shards: 2).isEmpty)
                try await broker.check(shards: 2)
                #expect(try await broker.apply(shards: 2).isEmpty)
                #expect(await broker.server?.product == "RabbitMQ")
            }
        }
    }

    @Test func sayWhichObjectIsMissing() async throws {
        try await TestServers.withVirtualHost { url in
            try await BrokerSession.withSession(url: url, connectionName: "tests") { broker in
                try await broker.apply(shards: 2)
                let error = await #expect(throws: TopologyError.self) { try await broker.check(shards: 3) }
                #expect(
                    error?.description == "the queue trunkline.shard.02 does not exist; run 'trunkline topology apply'"
                )
            }
        }
    }

    @Test func anObjectWithOtherArgumentsIsASentence() async throws {
        try await TestServers.withVirtualHost { url in
            try await withChannel(url) { client in
                try await client.declare(
                    queue: Topology.shardQueue(1),
                    ["x-queue-type": "quorum", "x-delivery-limit": 20]
                )
                try await client.declare(queue: Topology.intakeQueue, ["x-queue-type": "classic"])
                try await client.declare(exchange: Topology.jobsExchange)
            }
            try await BrokerSession.withSession(url: url, connectionName: "tests") { broker in
                for isCheck in [false, true] {
                    let error = await #expect(throws: TopologyError.self) {
                        if isCheck { try await broker.check(shards: 2) } else { try await broker.apply(shards: 2) }
                    }
                    guard case .differs(let problems) = error else {
                        Issue.record("no differences but \(String(describing: error))")
                        return
                    }
                    let differing = problems.filter { if case .differs = $0.kind { true } else { false } }
                    #expect(
                        differing.map(\.object) == [
                            "exchange trunkline.jobs", "queue trunkline.intake", "queue trunkline.shard.01",
                        ]
                    )
                    #expect(differing.first?.kind == .differs(argument: "alternate-exchange"))
                    #expect(
                        differing.last?.description.contains("queue trunkline.shard.01 exists with another 'x-") == true
                    )
                    #expect(differing.last?.words.contains("PRECONDITION_FAILED") == true)
                }
            }
        }
    }

    @Test func aMessageNobodyIsBoundForIsKept() async throws {
        try await TestServers.withVirtualHost { url in
            try await BrokerSession.withSession(url: url, connectionName: "tests") { broker in
                try await broker.apply(shards: 2)
                try await withChannel(url) { try await $0.publish(to: Topology.jobsExchange, key: "shard.99", "x") }
                #expect(try await broker.messages(in: Topology.unroutedQueue) == 1)
            }
        }
    }

    @Test func aTierBringsItsMessageBackUnderItsOwnRoutingKey() async throws {
        try await TestServers.withVirtualHost { url in
            try await BrokerSession.withSession(url: url, connectionName: "tests") { broker in
                try await broker.apply(shards: 2)
                let tier = try #require(Topology.tier(atMost: .seconds(5)))
                try await withChannel(url) { client in
                    try await client.publish(to: tier.exchange, key: Route.shard(1), "one")
                    // Of a shard that this install does not have: the alternate exchange serves dead letters too.
                    try await client.publish(to: tier.exchange, key: Route.shard(77), "two")
                }
                #expect(try await broker.messages(in: tier.queue) == 2)
                try await eventually("both come back") {
                    let home = try await broker.messages(in: Topology.shardQueue(1))
                    let unrouted = try await broker.messages(in: Topology.unroutedQueue)
                    return home == 1 && unrouted == 1
                }
                #expect(try await broker.messages(in: tier.queue) == 0)
            }
        }
    }

    /// The whole way of a message that nobody can take, with a limit that a test can wait for.
    @Test func whatComesBackTooOftenLandsAmongTheDeadAndStaysThere() async throws {
        try await TestServers.withVirtualHost { url in
            try await BrokerSession.withSession(url: url, connectionName: "tests") { broker in
                try await broker.apply(shards: 1)
                // The lower of policy and argument counts.
                try await TestServers.setPolicy(
                    url: url,
                    pattern: "^trunkline.intake$",
                    definition: #"{"delivery-limit":2}"#
                )
                try await withChannel(url) { client in
                    try await client.publish(to: Topology.jobsExchange, key: Route.send, "poison")
                    try await client.startRejecting(Topology.intakeQueue)
                    try await eventually("it is among the dead") {
                        try await broker.messages(in: Topology.deadQueue) == 1
                    }
                    try await client.stopRejecting(Topology.intakeQueue)
                    // Thirty returns: more than the twenty that 4.x would take by itself.
                    try await client.startRejecting(Topology.deadQueue)
                    try await eventually("it came back thirty times") { await client.rejected >= 30 }
                    try await client.stopRejecting(Topology.deadQueue)
                }
                try await eventually("it is still there") { try await broker.messages(in: Topology.deadQueue) == 1 }
                #expect(try await broker.messages(in: Topology.intakeQueue) == 0)
            }
        }
    }

    @Test func fewerShardsLoseNoMessage() async throws {
        try await TestServers.withVirtualHost { url in
            try await BrokerSession.withSession(url: url, connectionName: "tests") { broker in
                try await broker.apply(shards: 4)
                try await withChannel(url) { client in
                    for number in 0..<250 {
                        try await client.publish(to: Topology.jobsExchange, key: Route.shard(3), "\(number)")
                    }
                    try await client.publish(to: Topology.jobsExchange, key: Route.shard(2), "x")
                }
                let retired = try await broker.apply(shards: 2)
                #expect(retired.map(\.queue) == [Topology.shardQueue(3), Topology.shardQueue(2)])
                // At least once: a connection that a busy machine loses moves again what it had not acknowledged.
                #expect(retired.count == 2 && retired[0].moved >= 250 && retired[1].moved >= 1)
                let moved = retired.map(\.moved).reduce(0, +)
                #expect(try await broker.messages(in: Topology.intakeQueue) == moved)
                #expect(try await broker.messages(in: Topology.shardQueue(2)) == nil)
                try await withChannel(url) {
                    try await $0.publish(to: Topology.jobsExchange, key: Route.shard(3), "late")
                }
                #expect(try await broker.messages(in: Topology.unroutedQueue) == 1)
                try await broker.check(shards: 2)
            }
        }
    }

    @Test func aBrokerThatIsAwayIsAnError() async throws {
        let error = await #expect(throws: RabbitError.self) {
            _ = try await BrokerSession.open(
                url: "amqp://guest:secret@127.0.0.1:\(refusingPort)/x",
                connectionName: "tests"
            )
        }
        #expect(error?.isConnectionLost == true && error?.message.contains("secret") == false)
    }
}

// MARK: - A client of its own

private func withChannel<R: Sendable>(_ url: String, _ body: (TestChannel) async throws -> R) async throws -> R {
    let client = try await TestChannel.open(url)
    do {
        let value = try await body(client)
        await client.close()
        return value
    } catch {
        await client.close()
        throw error
    }
}

/// One connection with one confirming channel.
private actor TestChannel {
    private let loop: EventLoop
    private let connection: RabbitConnection
    private var channel: RabbitChannel?
    private var waiting: [UInt64: CheckedContinuation<Bool, Never>] = [:]

    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    static func open(_ url: String) async throws -> TestChannel {
        let loop = EventLoop(name: "test")
        loop.start()
        let client = TestChannel(loop, try RabbitConfiguration(url: url, connectionName: "test client"))
        try await client.connect()
        return client
    }

    private init(_ loop: EventLoop, _ configuration: RabbitConfiguration) {
        self.loop = loop
        connection = RabbitConnection(loop: loop, configuration: configuration)
    }

    private func connect() async throws {
        await connected()
        let channel = try await openChannel()
        self.channel = channel
        channel.onConfirm = { [weak self] tag, multiple, acked in
            self?.assumeIsolated { $0.confirmed(tag, multiple, acked) }
        }
        try await perform { channel, done in channel.enableConfirms(done: done) }
    }

    private func connected() async {
        let connection = connection
        await withCheckedContinuation { continuation in
            connection.onConnect = {
                connection.onConnect = nil
                continuation.resume()
            }
            connection.open()
        }
    }

    private func openChannel() async throws -> RabbitChannel {
        let (connection, answer) = (connection, Answer<RabbitChannel>())
        await withCheckedContinuation { continuation in
            connection.openChannel { answer.give($0, continuation) }
        }
        return try answer.get()
    }

    private func confirmed(_ tag: UInt64, _ multiple: Bool, _ acked: Bool) {
        for (waited, continuation) in waiting where multiple ? waited <= tag : waited == tag {
            waiting[waited] = nil
            continuation.resume(returning: acked)
        }
    }

    nonisolated func close() async {
        await closeConnection()
        loop.stop()
        loop.join()
    }

    private func closeConnection() async {
        channel = nil
        await withCheckedContinuation { continuation in connection.close { continuation.resume() } }
    }

    func declare(queue: String, _ arguments: [String: RabbitValue]) async throws {
        _ = try await perform { channel, done in channel.declareQueue(queue, arguments: arguments, done: done) }
    }

    func declare(exchange: String) async throws {
        try await perform { channel, done in channel.declareExchange(exchange, done: done) }
    }

    /// Returns when the broker has confirmed it.
    func publish(to exchange: String, key: String, _ body: String) async throws {
        let channel = try #require(channel)
        let tag = try channel.publish(
            exchange: exchange,
            routingKey: key,
            mandatory: false,
            properties: RabbitProperties(),
            body: Array(body.utf8)
        )
        let isAcked = await withCheckedContinuation { waiting[tag] = $0 }
        #expect(isAcked)
    }

    /// How many deliveries ``startRejecting(_:)`` has given back.
    private(set) var rejected = 0

    /// Consumes from `queue` and gives every delivery back, until ``stopRejecting(_:)``.
    func startRejecting(_ queue: String) async throws {
        rejected = 0
        try await perform { channel, done in
            channel.consume(
                queue: queue,
                tag: "reject-" + queue,
                prefetch: 1,
                onDelivery: { [weak self] delivery in
                    channel.reject(delivery.tag, requeue: true)
                    self?.assumeIsolated { $0.rejected += 1 }
                },
                onCancel: {},
                done: done
            )
        }
    }

    func stopRejecting(_ queue: String) async throws {
        try await perform { channel, done in channel.cancel(tag: "reject-" + queue, done: done) }
    }

    private func perform<Value>(_ start: (RabbitChannel, @escaping (Result<Value, RabbitError>) -> Void) -> Void)
        async throws -> Value
    {
        let channel = try #require(channel)
        let answer = Answer<Value>()
        await withCheckedContinuation { continuation in
            start(channel) { answer.give($0, continuation) }
        }
        return try answer.get()
    }

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
