import Foundation
import RabbitDriver
import TestKit
import Testing

@Suite(.timeLimit(.minutes(2))) struct PublisherTests {
    private func message(_ queue: String, _ number: Int = 0, exchange: String = "") -> RabbitMessage {
        RabbitMessage(
            exchange: exchange,
            routingKey: queue,
            properties: RabbitProperties(messageID: "id-\(number)"),
            body: Array("body \(number)".utf8)
        )
    }

    private func makePublisher(
        adjust: (inout RabbitPublisher.Limits) -> Void = { _ in }
    ) throws -> RabbitPublisher {
        var limits = RabbitPublisher.Limits()
        adjust(&limits)
        return RabbitPublisher(
            configuration: try RabbitConfiguration(url: try brokerURL(), connectionName: "test publisher"),
            limits: limits
        )
    }

    @Test func manyCallersGetOneOutcomePerMessageInOrder() async throws {
        try await withQueue("publish") { client, channel, queue in
            let publisher = try makePublisher { $0.window = 100 }
            await withTaskGroup(of: [PublishOutcome].self) { group in
                for caller in 0..<20 {
                    group.addTask {
                        await publisher.publish((0..<250).map { self.message(queue, caller * 1_000 + $0) })
                    }
                }
                for await outcomes in group {
                    #expect(outcomes.count == 250)
                    #expect(outcomes.allSatisfy { $0.isConfirmed })
                }
            }
            // Confirmed is counted by the broker.
            try await eventually("5,000 messages") { try await client.declare(queue, on: channel).messages == 5_000 }
            let (deliveries, _) = try await client.subscribe(queue, on: channel, prefetch: 10_000)
            try await eventually("5,000 deliveries") { deliveries.count == 5_000 }
            #expect(Set(deliveries.all.compactMap(\.messageID)).count == 5_000)
            // One caller's batch keeps its order.
            let first = deliveries.all.compactMap(\.messageID).compactMap { Int($0.dropFirst(3)) }.filter { $0 < 1_000 }
            #expect(first == first.sorted())
            await publisher.shutdown()
        }
    }

    @Test func anUnroutableMessageIsReturnedAndItsNeighboursAreConfirmed() async throws {
        try await withQueue("returned") { _, _, queue in
            let publisher = try makePublisher()
            // Also twice under one id: each return finds its own message.
            let messages = (0..<300).map { self.message($0 % 3 == 1 ? "nowhere" : queue, $0 / 2) }
            let outcomes = await publisher.publish(messages)
            for (index, outcome) in outcomes.enumerated() {
                if index % 3 == 1 {
                    guard case .returned(let value) = outcome else {
                        Issue.record("message \(index): \(outcome)")
                        continue
                    }
                    #expect(value.replyCode == 312)
                    #expect(value.routingKey == "nowhere")
                    #expect(value.messageID == "id-\(index / 2)")
                } else {
                    #expect(outcome == .confirmed)
                }
            }
            await publisher.shutdown()
        }
    }

    /// The raw order, below the publisher: first the return, then the confirm of the same message.
    @Test func aReturnPrecedesItsConfirm() async throws {
        let client = try await Client.open(try brokerURL())
        let channel = try await client.channel()
        try await client.call { _, done in channel.value.enableConfirms(done: done) }
        let events = Recorder<String>()
        let tag = await client.onLoop { () -> UInt64? in
            channel.value.onReturn = { events.add("return \($0.routingKey) \($0.messageID ?? "")") }
            channel.value.onConfirm = { tag, _, acked in events.add("confirm \(tag) \(acked)") }
            return try? channel.value.publish(
                exchange: "",
                routingKey: "nowhere",
                properties: RabbitProperties(messageID: "k"),
                body: [UInt8](repeating: 1, count: 300_000)
            )
        }
        #expect(tag == 1)
        try await eventually("return and confirm") { events.count == 2 }
        #expect(events.all == ["return nowhere k", "confirm 1 true"])
        await client.close()
    }

    @Test func aFullQueueRefuses() async throws {
        let queue = freshName("full")
        let client = try await Client.open(try brokerURL())
        let channel = try await client.channel()
        let _: RabbitChannel.QueueState = try await client.call { _, done in
            channel.value.declareQueue(
                queue,
                arguments: ["x-queue-type": "quorum", "x-max-length": 5, "x-overflow": "reject-publish"],
                done: done
            )
        }
        let publisher = try makePublisher()
        var outcomes: [PublishOutcome] = []
        for number in 0..<40 { outcomes += await publisher.publish([message(queue, number)]) }
        #expect(outcomes.first == .confirmed)
        #expect(outcomes.last == .refused)
        #expect(outcomes.allSatisfy { $0 == .confirmed || $0 == .refused })
        let kept = try await client.call { _, done in channel.value.deleteQueue(queue, done: done) }
        // What was confirmed is there, what was refused is not.
        #expect(kept == outcomes.filter(\.isConfirmed).count)
        await publisher.shutdown()
        await client.close()
    }

    @Test func aMissingExchangeIsNamedAndTheNextMessageGoesThrough() async throws {
        try await withQueue("missing") { _, _, queue in
            let publisher = try makePublisher()
            let outcome = await publisher.publish([message(queue, exchange: "no-such-exchange")])[0]
            guard case .unknown(let error) = outcome else {
                Issue.record("\(outcome)")
                return
            }
            #expect(error.replyCode == 404)
            #expect(error.message.contains("no-such-exchange"))
            #expect(await publisher.publish([message(queue)]) == [.confirmed])
            await publisher.shutdown()
        }
    }

    @Test func aRequiredExchangeThatIsMissingSendsNothing() async throws {
        let publisher = try makePublisher { $0.requiredExchanges = ["amq.direct", "no-such-exchange"] }
        let outcome = await publisher.publish([message("x")])[0]
        guard case .notSent(let error) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(error.replyCode == 404)
        #expect(error.message.contains("no-such-exchange"))
        await publisher.shutdown()
    }

    @Test func aFullPublisherRefusesAtOnceOrWaitsForRoom() async throws {
        try await withQueue("room") { _, _, queue in
            let publisher = try makePublisher {
                $0.queue = 10
                $0.window = 2
            }
            let outcomes = Recorder<[PublishOutcome]>()
            // From one thread, faster than any confirm: the eleventh does not fit.
            for _ in 0..<4 { publisher.publish((0..<5).map { message(queue, $0) }) { outcomes.add($0) } }
            try await eventually("four outcomes") { outcomes.count == 4 }
            let refused = outcomes.all.filter {
                if case .notSent(let error) = $0[0] { return error.code == .busy }
                return false
            }
            #expect(refused.count == 2)
            // Waiting callers all get through.
            await withTaskGroup(of: [PublishOutcome].self) { group in
                for _ in 0..<30 { group.addTask { await publisher.publish((0..<5).map { self.message(queue, $0) }) } }
                for await outcome in group { #expect(outcome.allSatisfy { $0.isConfirmed }) }
            }
            try await eventually("room again") { publisher.status.outstanding == 0 }
            await publisher.shutdown()
        }
    }

    @Test func withoutABrokerTheDeadlineAnswersThatNothingWasSent() async throws {
        var limits = RabbitPublisher.Limits()
        limits.deadline = .milliseconds(300)
        let publisher = RabbitPublisher(
            configuration: try RabbitConfiguration(url: "amqp://127.0.0.1:\(refusingPort)/", connectionName: "test"),
            limits: limits
        )
        let outcomes = await publisher.publish([message("a"), message("b")])
        for outcome in outcomes {
            guard case .notSent(let error) = outcome else {
                Issue.record("\(outcome)")
                continue
            }
            #expect(error.code == .timedOut)
            #expect(error.message.contains("127.0.0.1:\(refusingPort)"))
        }
        await publisher.shutdown()
    }

    @Test func shutdownSettlesWhatWasTaken() async throws {
        try await withQueue("shutdown") { client, channel, queue in
            let publisher = try makePublisher()
            let outcomes = Recorder<[PublishOutcome]>()
            publisher.publish((0..<2_000).map { message(queue, $0) }) { outcomes.add($0) }
            await publisher.shutdown()
            #expect(outcomes.count == 1)
            #expect(outcomes.all[0].allSatisfy { $0.isConfirmed })
            let late = await publisher.publish([message(queue)])
            guard case .notSent(let error) = late[0] else {
                Issue.record("\(late)")
                return
            }
            #expect(error.code == .closed)
            #expect(try await client.declare(queue, on: channel).messages == 2_000)
        }
    }

    @Test func aPublisherThatIsDroppedAnswersEverything() async throws {
        let outcomes = Recorder<[PublishOutcome]>()
        do {
            let publisher = RabbitPublisher(
                configuration: try RabbitConfiguration(url: "amqp://127.0.0.1:\(refusingPort)/", connectionName: "test")
            )
            publisher.publish([message("a")]) { outcomes.add($0) }
        }
        try await eventually("the outcome") { outcomes.count == 1 }
    }
}
