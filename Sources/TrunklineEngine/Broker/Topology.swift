package import RabbitDriver
internal import TrunklineCore

/// Every exchange, queue and binding of an install, as data: each argument with its reason beside it.
///
/// Right on RabbitMQ 3.10 and on 4.x. Where the two differ, the reason says so. What carries it out is
/// ``BrokerSession``; nothing else in Trunkline declares anything.
package enum Topology {
    // MARK: Names

    /// The direct exchange that every producer publishes to.
    package static var jobsExchange: String { Route.exchange }
    /// Where a message goes whose routing key nobody has bound.
    package static let unroutedExchange = "trunkline.unrouted"
    /// Where a message goes that came back too often.
    package static let deadLetterExchange = "trunkline.dlx"

    /// For any producer, without knowing shards; routing key `send`.
    package static let intakeQueue = "trunkline.intake"
    /// For imports; routing key `bulk`.
    package static let bulkQueue = "trunkline.bulk"
    /// For received events; routing key `webhook`.
    package static let webhookQueue = "trunkline.webhook"
    /// Messages with a routing key that nobody has bound, for example of a shard that an install does not have.
    package static let unroutedQueue = "trunkline.unrouted"
    /// Messages that came back more often than ``deliveryLimit``.
    package static let deadQueue = "trunkline.dead"

    /// The queue of a shard: `trunkline.shard.07`, at least two digits.
    package static func shardQueue(_ number: Int) -> String { "trunkline." + Route.shard(number) }

    /// How often a message may come back before it is put aside. A fuse against a message that kills every worker, not
    /// a retry counter: attempts are counted in PostgreSQL, and every crash counts against all that was prefetched.
    package static let deliveryLimit: Int64 = 1_000

    /// RabbitMQ keeps the names of its quorum queues in a table that it writes half a second to a second after the last
    /// change, unlike their messages. After a SIGKILL before that a new queue comes back as another one, empty. Nobody can
    /// ask whether it is written, so whoever has made queues waits before saying that they are there.
    static let writingOfNames: Duration = .milliseconds(1_500)

    // MARK: Retry tiers

    /// A fixed delay: what is published to the tier's exchange comes back to ``jobsExchange`` after it, under the
    /// routing key that it was published with.
    package struct Tier: Sendable, Hashable {
        /// For example `30s`.
        package let name: String
        package let delay: Duration
        /// Publish here, never to the queue through the default exchange: that would lose the routing key.
        package var exchange: String { "trunkline.retry." + name }
        package var queue: String { "trunkline.retry." + name }
    }

    /// Shortest first.
    package static let tiers = [
        Tier(name: "5s", delay: .seconds(5)),
        Tier(name: "30s", delay: .seconds(30)),
        Tier(name: "2m", delay: .seconds(120)),
        Tier(name: "10m", delay: .seconds(600)),
    ]

    /// The largest tier whose delay is not longer than `wait`; nil when the wait is shorter than every tier's.
    package static func tier(atMost wait: Duration) -> Tier? {
        tiers.last { $0.delay <= wait }
    }

    // MARK: Data

    /// An argument of an exchange or a queue, with the reason why it is there.
    package struct Argument: Sendable, Hashable {
        package let name: String
        package let value: RabbitValue
        package let reason: String
    }

    package struct Exchange: Sendable, Hashable {
        package let name: String
        package let kind: RabbitChannel.ExchangeKind
        package let arguments: [Argument]
        package let reason: String
    }

    /// A durable queue.
    package struct Queue: Sendable, Hashable {
        package let name: String
        package let arguments: [Argument]
        package let reason: String
    }

    package struct Binding: Sendable, Hashable {
        package let queue: String
        package let exchange: String
        /// Empty for a fanout exchange, which does not look at it.
        package let routingKey: String
    }

    /// All of it for an install with a given number of shards, in the order in which it must be declared.
    package struct Plan: Sendable, Hashable {
        package let exchanges: [Exchange]
        package let queues: [Queue]
        package let bindings: [Binding]
    }

    /// Numbers of shards that an install may have: as many as were tested, on one worker and on two. A worker that is left
    /// alone consumes from all of them on one connection, whose channels have a limit, and each is a quorum queue.
    package static let shardRange = 1...1_024

    /// How many channels a worker's connection needs: one for each queue that it consumes from, and room for questions and
    /// for one that is being replaced.
    static func channels(forShards shards: Int) -> Int { shards + 16 }

    /// What an install with `shards` shards needs.
    package static func plan(shards: Int) -> Plan {
        precondition(
            shardRange.contains(shards),
            "an install has \(shardRange.lowerBound) to \(shardRange.upperBound) shards"
        )
        return Plan(exchanges: exchanges, queues: queues(shards: shards), bindings: bindings(shards: shards))
    }

    // MARK: Exchanges

    private static var exchanges: [Exchange] {
        [
            Exchange(
                name: unroutedExchange,
                kind: .fanout,
                arguments: [],
                reason: "takes whatever no queue was bound for, whatever its routing key"
            ),
            Exchange(
                name: deadLetterExchange,
                kind: .fanout,
                arguments: [],
                reason: "takes what came back too often; a fanout keeps the routing key without a binding for each"
            ),
            Exchange(
                name: jobsExchange,
                kind: .direct,
                arguments: [
                    Argument(
                        name: "alternate-exchange",
                        value: .string(unroutedExchange),
                        reason: "a routing key that nobody has bound is a late message, never a lost one; this also "
                            + "serves the retry tiers, which could not return theirs to anybody"
                    )
                ],
                reason: "the one door of every producer; direct, because a routing key names one queue"
            ),
        ]
            + tiers.map { tier in
                Exchange(
                    name: tier.exchange,
                    kind: .fanout,
                    arguments: [],
                    reason: "a fanout leaves the routing key as it is, so that the message finds its shard afterwards"
                )
            }
    }

    // MARK: Queues

    private static func queues(shards: Int) -> [Queue] {
        // The targets of dead letters first: a message whose target is missing stays where it is for three minutes.
        [
            Queue(
                name: deadQueue,
                arguments: [
                    quorum, rejectPublish, singleActiveConsumer,
                    Argument(
                        name: "x-delivery-limit",
                        value: .int(Int64(Int32.max)),
                        reason: "the end of the way: without a dead-letter exchange a limit drops, so it must never be "
                            + "reached; left out, 4.x would take 20, and -1 drops at the first return on 3.10"
                    ),
                ],
                reason: "what came back \(deliveryLimit) times, kept until a worker has parked or refused it"
            ),
            Queue(
                name: unroutedQueue,
                arguments: takenArguments,
                reason: "messages under a routing key that nobody bound; taken like the intake"
            ),
            Queue(name: intakeQueue, arguments: takenArguments, reason: "for any producer, without knowing shards"),
            Queue(
                name: bulkQueue,
                arguments: takenArguments,
                reason: "imports, so that they never delay a single notice"
            ),
            Queue(name: webhookQueue, arguments: takenArguments, reason: "received events"),
        ]
            + (0..<shards).map { number in
                Queue(
                    name: shardQueue(number),
                    arguments: takenArguments,
                    reason: "jobs and wake-ups of the shard's lanes"
                )
            }
            + tiers.map { tier in
                Queue(
                    name: tier.queue,
                    arguments: [
                        quorum, rejectPublish, atLeastOnce,
                        Argument(
                            name: "x-message-ttl",
                            value: .int(tier.delay.components.seconds * 1_000),
                            reason: "one delay per queue: quorum queues expire at the head only, so that delays per "
                                + "message would wait for each other"
                        ),
                        Argument(
                            name: "x-dead-letter-exchange",
                            value: .string(jobsExchange),
                            reason: "back to the jobs, with no routing key of its own: the message keeps the one it has"
                        ),
                    ],
                    reason: "wake-ups that wait \(tier.name); nobody consumes from it"
                )
            }
    }

    /// Of every queue that workers take from and whose messages may be put aside.
    private static var takenArguments: [Argument] {
        [
            quorum, rejectPublish, singleActiveConsumer, atLeastOnce,
            Argument(
                name: "x-delivery-limit",
                value: .int(deliveryLimit),
                reason: "a fuse for a message that kills its worker; 3.10 has no limit unless told and puts what came "
                    + "back at the end of the queue without one, 4.x has 20, which a few crashes reach"
            ),
            Argument(
                name: "x-dead-letter-exchange",
                value: .string(deadLetterExchange),
                reason: "a limit without a dead-letter exchange drops the message"
            ),
        ]
    }

    private static let quorum = Argument(
        name: "x-queue-type",
        value: "quorum",
        reason: "only quorum queues write to disk before they confirm"
    )
    private static let singleActiveConsumer = Argument(
        name: "x-single-active-consumer",
        value: true,
        reason: "one worker at a time and in order; what a frozen owner had not acknowledged comes first at the next"
    )
    private static let atLeastOnce = Argument(
        name: "x-dead-letter-strategy",
        value: "at-least-once",
        reason: "a message leaves this queue only when its dead-letter target has confirmed it"
    )
    private static let rejectPublish = Argument(
        name: "x-overflow",
        value: "reject-publish",
        reason: "a full queue refuses the newest and drops none; without it at-least-once silently is at-most-once"
    )

    // MARK: Bindings

    private static func bindings(shards: Int) -> [Binding] {
        [
            Binding(queue: deadQueue, exchange: deadLetterExchange, routingKey: ""),
            Binding(queue: unroutedQueue, exchange: unroutedExchange, routingKey: ""),
            Binding(queue: intakeQueue, exchange: jobsExchange, routingKey: Route.send),
            Binding(queue: bulkQueue, exchange: jobsExchange, routingKey: Route.bulk),
            Binding(queue: webhookQueue, exchange: jobsExchange, routingKey: Route.webhook),
        ]
            + (0..<shards).map { number in
                Binding(queue: shardQueue(number), exchange: jobsExchange, routingKey: Route.shard(number))
            }
            + tiers.map { Binding(queue: $0.queue, exchange: $0.exchange, routingKey: "") }
    }
}
