import Foundation
import RabbitDriver
import Synchronization
import TestKit
import Testing

/// What Trunkline relies on and RabbitMQ 3.x and 4.x do differently: each test holds on both, and says what the server at hand
/// must do.
@Suite(.timeLimit(.minutes(5))) struct ServerVersionTests {
    private static func isFour(_ client: Client) throws -> Bool {
        let version = try #require(client.connected.all.first)
        return try #require(version.split(separator: ".").first.flatMap { Int($0) }) >= 4
    }

    /// Gives every delivery back until there were `times` of them or none comes any more, and tells how many came.
    private static func giveBack(_ queue: String, times: Int, _ client: Client) async throws -> Int {
        let channel = try await client.channel()
        let seen = Recorder<Int>()
        try await client.call { _, done in
            channel.value.consume(
                queue: queue,
                tag: freshName("tag"),
                prefetch: 1,
                onDelivery: { delivery in
                    seen.add(delivery.deliveryCount)
                    if seen.count <= times { channel.value.reject(delivery.tag, requeue: true) }
                },
                onCancel: {},
                done: done
            )
        }
        // The end of a series is silence: nothing for two seconds, or one more than was given back.
        var before = -1
        while seen.count <= times, seen.count != before {
            before = seen.count
            try await Task.sleep(for: .seconds(2))
        }
        try await client.call { _, done in channel.value.close(done: done) }
        return seen.count
    }

    private func withQueue(
        _ arguments: [String: RabbitValue],
        _ body: (Client, Held<RabbitChannel>, String) async throws -> Void
    ) async throws {
        let client = try await Client.open(try brokerURL())
        let queue = freshName("version")
        do {
            let channel = try await client.channel()
            let _: RabbitChannel.QueueState = try await client.call { _, done in
                channel.value.declareQueue(
                    queue,
                    arguments: ["x-queue-type": "quorum"].merging(arguments) { $1 },
                    done: done
                )
            }
            try await body(client, channel, queue)
        } catch {
            try? await client.delete(queue)
            await client.close()
            throw error
        }
        try await client.delete(queue)
        await client.close()
    }

    /// Without a limit of its own a queue of 4.x drops what came back 20 times; 3.x gives it for ever.
    @Test func aQueueWithoutALimitOfItsOwn() async throws {
        try await withQueue([:]) { client, channel, queue in
            try await client.publish(Array("m".utf8), to: queue, on: channel)
            let came = try await Self.giveBack(queue, times: 30, client)
            let isFour = try Self.isFour(client)
            #expect(came == (isFour ? 21 : 31))
            try await eventually("what is left") {
                try await client.declare(queue, on: channel).messages == (isFour ? 0 : 1)
            }
        }
    }

    /// The limit of Trunkline's queues counts on both, and what exceeds it arrives at the dead-letter target.
    @Test func theQueuesOwnLimitAndItsDeadLetters() async throws {
        try await withQueue([:]) { client, channel, target in
            let arguments: [String: RabbitValue] = [
                "x-delivery-limit": 30, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": .string(target),
                "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
            ]
            try await withQueue(arguments) { client, channel, queue in
                try await client.publish(Array("m".utf8), to: queue, on: channel)
                // More than the 20 of 4.x.
                #expect(try await Self.giveBack(queue, times: 25, client) == 26)
                #expect(try await Self.giveBack(queue, times: 30, client) < 10)
                try await eventually("the dead letter") {
                    try await client.declare(target, on: channel).messages == 1
                }
            }
        }
    }

    /// A delivery that is held longer than the broker's patience ends its channel, and comes again.
    @Test func theBrokersPatienceWithAConsumer() async throws {
        try await PrivateBroker.with { broker in
            try await broker.control.evaluate(
                "application:set_env(rabbit, consumer_timeout, 1000), application:set_env(rabbit, channel_tick_interval, 1000)"
            )
            let client = try await Client.open(try broker.url)
            let channel = try await client.channel()
            try await client.declare("q", on: channel)
            let ends = Recorder<RabbitError>()
            await client.onLoop { channel.value.onClose = { ends.add($0) } }
            try await client.publish(Array("m".utf8), to: "q", on: channel)
            let (deliveries, _) = try await client.subscribe("q", on: channel)
            try await eventually("the end of the channel", within: .seconds(60)) { ends.count == 1 }
            #expect(ends.all[0].replyCode == 406 && deliveries.count == 1)
            #expect(client.lost.count == 0)
            let again = try await client.channel()
            let (second, _) = try await client.subscribe("q", on: again)
            try await eventually("the delivery") { second.count == 1 }
            #expect(second.all[0].redelivered)
            await client.onLoop { again.value.ack(second.all[0].tag) }
            await client.close()
        }
    }

    /// Of a queue with one active consumer: on 4.x a later one with a higher priority takes over, on 3.x it waits.
    @Test func aSingleActiveConsumerAndAPriority() async throws {
        try await withQueue(["x-single-active-consumer": true]) { client, channel, queue in
            func consume(priority: Int64) async throws -> Recorder<UInt64> {
                let channel = try await client.channel()
                let seen = Recorder<UInt64>()
                try await client.call { _, done in
                    var options = RabbitChannel.ConsumeOptions()
                    options.arguments = ["x-priority": .int(priority)]
                    // The active one is done with what it has at once; before that nobody takes over.
                    options.needsNoAcknowledgement = true
                    channel.value.consume(
                        queue: queue,
                        tag: freshName("tag"),
                        prefetch: 100,
                        options: options,
                        onDelivery: { seen.add($0.tag) },
                        onCancel: {},
                        done: done
                    )
                }
                return seen
            }
            let first = try await consume(priority: 0)
            try await client.publish(Array("m".utf8), to: queue, on: channel)
            try await eventually("the first delivery") { first.count == 1 }
            let second = try await consume(priority: 10)
            let isFour = try Self.isFour(client)
            try await eventually("deliveries to whose turn it is") {
                try await client.publish(Array("m".utf8), to: queue, on: channel)
                return isFour ? second.count > 0 : first.count >= 10
            }
            #expect(isFour || second.count == 0)
        }
    }
}
