import Foundation
import RabbitDriver
import TestKit
import Testing

/// Brokers of the tests' own that are starved, frozen and killed. One after another: each is a whole Erlang VM.
@Suite(.serialized, .timeLimit(.minutes(5))) struct BrokerFaultTests {
    private func message(_ queue: String, size: Int = 64) -> RabbitMessage {
        RabbitMessage(exchange: "", routingKey: queue, body: [UInt8](repeating: 5, count: size))
    }

    /// M4: without the capability no `connection.blocked` comes, and publishing blocks for ever.
    @Test func aMemoryAlarmBecomesBackPressureAndEnds() async throws {
        try await PrivateBroker.with { broker in
            let consumer = try await Client.open(try broker.url)
            let channel = try await consumer.channel()
            try await consumer.declare("q", on: channel)
            var limits = RabbitPublisher.Limits()
            limits.deadline = .seconds(3)
            let publisher = RabbitPublisher(
                configuration: try RabbitConfiguration(url: try broker.url, connectionName: "test"),
                limits: limits
            )
            #expect(await publisher.publish([message("q")]) == [.confirmed])

            try await broker.control.raiseMemoryAlarm()
            try await eventually("the alarm") {
                _ = await publisher.publish([self.message("q")], within: .milliseconds(200))
                return publisher.status.blockedReason != nil
            }
            // 64 MiB against a broker that reads nothing: every message has its outcome by its deadline.
            let outcomes = await publisher.publish((0..<1_000).map { _ in message("q", size: 64 << 10) })
            #expect(outcomes.count == 1_000)
            for outcome in outcomes {
                guard case .notSent(let error) = outcome else {
                    Issue.record("\(outcome)")
                    break
                }
                #expect(error.message.contains("takes no messages"))
            }
            // Longer than two heartbeats: a blocked connection is not a dead one.
            let still = await publisher.publish([message("q")], within: .seconds(12))
            #expect(!still[0].isConfirmed)
            #expect(publisher.status.blockedReason != nil)
            // The other connection, which published nothing, goes on.
            let (deliveries, _) = try await consumer.subscribe("q", on: channel)
            try await eventually("a delivery during the alarm") { deliveries.count > 0 }
            await consumer.onLoop { channel.value.ack(through: deliveries.all[0].tag) }

            try await broker.control.endMemoryAlarm()
            let after = await publisher.publish([message("q")], within: .seconds(60))
            #expect(after == [.confirmed])
            #expect(publisher.status.blockedReason == nil)
            await publisher.shutdown()
            await consumer.close()
        }
    }

    /// M5: in Debian's librabbitmq a publish into a full buffer waits until the broker wakes up. The watchdog ends it.
    @Test func aHungPublishIsBrokenByTheWatchdog() async throws {
        try await PrivateBroker.with { broker in
            let client = try await Client.open(try broker.url) {
                // Only the rule about calls, not the one about silence, may save it.
                $0.heartbeat = .seconds(60)
                $0.hungCallLimit = .seconds(2)
            }
            let channel = try await client.channel()
            try await client.declare("q", on: channel)
            try broker.signal(SIGSTOP)
            // One body that no socket buffer holds.
            let error = await #expect(throws: RabbitError.self) {
                try await client.publish([UInt8](repeating: 1, count: 64 << 20), to: "q", on: channel)
            }
            #expect(error?.code == .connectionLost)
            #expect(error?.message.contains("did not return") == true)
            try broker.signal(SIGCONT)
            try await eventually("the new connection") { client.connected.count == 2 }
            let again = try await client.channel()
            #expect(try await client.declare("q", on: again).messages == 0)
            await client.close()
        }
    }

    @Test func aFrozenBrokerIsNoticedAndOutcomesKeepTheirDeadlines() async throws {
        try await PrivateBroker.with { broker in
            let client = try await Client.open(try broker.url) { $0.heartbeat = .seconds(1) }
            let channel = try await client.channel()
            try await client.declare("q", on: channel)
            let (deliveries, _) = try await client.subscribe("q", on: channel)
            var configuration = try RabbitConfiguration(url: try broker.url, connectionName: "test")
            configuration.heartbeat = .seconds(1)
            let publisher = RabbitPublisher(configuration: configuration)
            #expect(await publisher.publish([message("q")]) == [.confirmed])
            try await eventually("a delivery") { deliveries.count == 1 }

            try broker.signal(SIGSTOP)
            let outcomes = await publisher.publish(
                (0..<200).map { _ in message("q", size: 64 << 10) },
                within: .milliseconds(500)
            )
            #expect(outcomes.allSatisfy { !$0.isConfirmed })
            // An acknowledgement into the void must not hang either.
            await client.onLoop { channel.value.ack(deliveries.all[0].tag) }
            try await eventually("the end of the silent connection") { client.lost.count == 1 }
            #expect(client.lost.all[0].code == .connectionLost)

            try broker.signal(SIGCONT)
            try await eventually("the new connection") { client.connected.count == 2 }
            #expect(await publisher.publish([message("q")], within: .seconds(60)) == [.confirmed])
            await publisher.shutdown()
            await client.close()
        }
    }

    @Test func aKilledBrokerComesBackAndLosesNothingConfirmed() async throws {
        try await PrivateBroker.with { broker in
            let client = try await Client.open(try broker.url)
            let setup = try await client.channel()
            try await client.declare("q", on: setup)
            // Whoever consumes opens a channel and subscribes in `onConnect`, every time.
            let seen = Recorder<String>()
            let subscriptions = Recorder<Int>()
            let subscribe: @Sendable () -> Void = {
                client.connection.value.openChannel { result in
                    guard case .success(let channel) = result else { return }
                    channel.consume(
                        queue: "q",
                        tag: freshName("tag"),
                        prefetch: 100,
                        onDelivery: { delivery in
                            seen.add(String(decoding: delivery.body, as: UTF8.self))
                            channel.ack(delivery.tag)
                        },
                        onCancel: {},
                        done: { if case .success = $0 { subscriptions.add(1) } }
                    )
                }
            }
            await client.onLoop {
                client.connection.value.onConnect = {
                    client.connected.add("")
                    subscribe()
                }
                subscribe()
            }
            try await eventually("the subscription") { subscriptions.count == 1 }
            let publisher = RabbitPublisher(
                configuration: try RabbitConfiguration(url: try broker.url, connectionName: "test")
            )
            func publish(_ text: String, within: Duration = .seconds(60)) async -> PublishOutcome {
                await publisher.publish(
                    [RabbitMessage(exchange: "", routingKey: "q", body: Array(text.utf8))],
                    within: within
                )[0]
            }
            #expect(await publish("before") == .confirmed)
            try await broker.waitUntilQueueNamesAreWritten()
            try await broker.kill()
            try await eventually("the loss") { client.lost.count >= 1 }
            // Queued while the broker is away, sent when it is back.
            async let during = publish("during", within: .seconds(120))
            try await broker.start()
            #expect(await during == .confirmed)
            try await eventually("the second subscription", within: .seconds(60)) { subscriptions.count >= 2 }
            #expect(await publish("after") == .confirmed)
            try await eventually("all three messages") { Set(seen.all).isSuperset(of: ["before", "during", "after"]) }
            await publisher.shutdown()
            await client.close()
        }
    }
}
