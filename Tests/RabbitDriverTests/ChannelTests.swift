import RabbitDriver
import TestKit
import Testing

@Suite(.timeLimit(.minutes(2))) struct ChannelTests {
    @Test func aMessageTravelsWithItsPropertiesAndIsAcknowledged() async throws {
        try await withQueue("travel") { client, channel, queue in
            try await client.publish(Array("hello".utf8), to: queue, on: channel, id: "key-1")
            let (deliveries, _) = try await client.subscribe(queue, on: channel)
            try await eventually("the delivery") { deliveries.count == 1 }
            let delivery = deliveries.all[0]
            #expect(delivery.body == Array("hello".utf8))
            #expect(delivery.bodySize == 5)
            #expect(!delivery.isTruncated)
            #expect(delivery.messageID == "key-1")
            #expect(delivery.contentType == "application/json")
            #expect(delivery.exchange == "")
            #expect(delivery.routingKey == queue)
            #expect(!delivery.redelivered)
            #expect(delivery.deliveryCount == 0)
            #expect(delivery.deathCount == 0)
            await client.onLoop { channel.value.ack(delivery.tag) }
            try await client.call { _, done in channel.value.close(done: done) }
            let other = try await client.channel()
            let state = try await client.declare(queue, on: other)
            #expect(state.messages == 0)
        }
    }

    @Test func whatIsNotAcknowledgedComesAgainAndIsCounted() async throws {
        try await withQueue("again") { client, channel, queue in
            try await client.publish([1], to: queue, on: channel)
            let (deliveries, _) = try await client.subscribe(queue, on: channel)
            for round in 1...3 {
                try await eventually("delivery \(round)") { deliveries.count == round }
                let delivery = deliveries.all[round - 1]
                #expect(delivery.deliveryCount == round - 1)
                #expect(delivery.redelivered == (round > 1))
                await client.onLoop { channel.value.reject(delivery.tag, requeue: true) }
            }
            try await eventually("delivery 4") { deliveries.count == 4 }
            // Closing the channel gives it back as well.
            try await client.call { _, done in channel.value.close(done: done) }
            let second = try await client.channel()
            let (others, _) = try await client.subscribe(queue, on: second)
            try await eventually("the delivery on another channel") { others.count == 1 }
            #expect(others.all[0].deliveryCount == 4)
        }
    }

    @Test func oneAcknowledgementCoversAllBefore() async throws {
        try await withQueue("multiple") { client, channel, queue in
            for number in 0..<500 { try await client.publish([UInt8(number & 255)], to: queue, on: channel) }
            let (deliveries, _) = try await client.subscribe(queue, on: channel, prefetch: 1_000)
            try await eventually("500 deliveries") { deliveries.count == 500 }
            #expect(deliveries.all.map(\.body) == (0..<500).map { [UInt8($0 & 255)] })
            await client.onLoop { channel.value.ack(through: deliveries.all[499].tag) }
            try await client.call { _, done in channel.value.close(done: done) }
            let other = try await client.channel()
            let state = try await client.declare(queue, on: other)
            #expect(state.messages == 0)
        }
    }

    @Test func bodiesOfEverySizeComeWhole() async throws {
        try await withQueue("sizes") { client, channel, queue in
            // Around the frame size (131,072 with 8 bytes of frame), over several frames, and empty.
            let sizes = [0, 1, 131_063, 131_064, 131_065, 262_128, 1 << 20, 3_000_000]
            let bodies = sizes.map { size in (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ size) } }
            for body in bodies {
                // A full socket buffer is not an error: the publisher tries again.
                try await eventually("room to publish") {
                    do {
                        try await client.publish(body, to: queue, on: channel)
                        return true
                    } catch let error as RabbitError where error.code == .busy {
                        return false
                    }
                }
            }
            let (deliveries, _) = try await client.subscribe(queue, on: channel)
            try await eventually("all bodies") { deliveries.count == sizes.count }
            #expect(deliveries.all.map(\.bodySize) == sizes.map(UInt64.init))
            #expect(deliveries.all.map(\.body) == bodies)
            await client.onLoop { channel.value.ack(through: deliveries.all[sizes.count - 1].tag) }
        }
    }

    @Test func aBodyOverTheLimitIsCut() async throws {
        try await withQueue("cut") { _, _, queue in
            let client = try await Client.open(try brokerURL()) { $0.bodyLimit = 1_000 }
            let channel = try await client.channel()
            try await client.publish([UInt8](repeating: 7, count: 300_000), to: queue, on: channel)
            try await client.publish([1], to: queue, on: channel)
            let (deliveries, _) = try await client.subscribe(queue, on: channel)
            try await eventually("both messages") { deliveries.count == 2 }
            #expect(deliveries.all[0].isTruncated)
            #expect(deliveries.all[0].body.count == 1_000)
            #expect(deliveries.all[0].bodySize == 300_000)
            #expect(!deliveries.all[1].isTruncated)
            await client.close()
        }
    }

    @Test func aDeadLetteredMessageTellsItsStory() async throws {
        try await withQueue("dead") { client, channel, dead in
            let source = freshName("source")
            let _: RabbitChannel.QueueState = try await client.call { _, done in
                channel.value.declareQueue(
                    source,
                    arguments: [
                        "x-queue-type": "quorum", "x-dead-letter-exchange": "",
                        "x-dead-letter-routing-key": .string(dead),
                    ],
                    done: done
                )
            }
            try await client.publish([9], to: source, on: channel)
            let (deliveries, _) = try await client.subscribe(source, on: channel, tag: "a")
            try await eventually("the delivery") { deliveries.count == 1 }
            await client.onLoop { channel.value.reject(deliveries.all[0].tag, requeue: false) }
            let (buried, _) = try await client.subscribe(dead, on: channel, tag: "b")
            try await eventually("the dead letter") { buried.count == 1 }
            #expect(buried.all[0].deathCount == 1)
            #expect(buried.all[0].firstDeathQueue == source)
            #expect(buried.all[0].body == [9])
            try await client.delete(source)
        }
    }

    @Test func cancelDeliversWhatIsOnTheWayAndThenNothing() async throws {
        try await withQueue("cancel") { client, channel, queue in
            for number in 0..<200 { try await client.publish([UInt8(number)], to: queue, on: channel) }
            let (deliveries, cancelled) = try await client.subscribe(queue, on: channel, prefetch: 50)
            try await client.call { _, done in channel.value.cancel(tag: "consumer", done: done) }
            let afterCancel = deliveries.count
            // What came is acknowledged; with a subscription that would bring the next ones.
            if let last = deliveries.all.last { await client.onLoop { channel.value.ack(through: last.tag) } }
            // An answered command behind the acknowledgement: everything that could come has come.
            try await eventually("the consumer's end") {
                try await client.declare(queue, on: channel).consumers == 0
            }
            #expect(deliveries.count == afterCancel)
            #expect(cancelled.count == 0)
        }
    }

    /// M3: without the capability `consumer_cancel_notify` nothing comes and the consumer is silently dead.
    @Test func aDeletedQueueCancelsItsConsumer() async throws {
        try await withQueue("deleted") { client, channel, queue in
            let (_, cancelled) = try await client.subscribe(queue, on: channel, tag: "mine")
            try await client.delete(queue)
            try await eventually("the cancellation") { cancelled.all == ["mine"] }
            #expect(await client.onLoop { channel.value.isOpen })
        }
    }

    @Test func otherArgumentsAreAClearRefusalAndTheConnectionGoesOn() async throws {
        try await withQueue("arguments") { client, channel, queue in
            let closed = Recorder<RabbitError>()
            await client.onLoop { channel.value.onClose = { closed.add($0) } }
            let error = await #expect(throws: RabbitError.self) {
                try await client.call { (_, done: @escaping (Result<RabbitChannel.QueueState, RabbitError>) -> Void) in
                    channel.value.declareQueue(queue, arguments: ["x-queue-type": "classic"], done: done)
                }
            }
            #expect(error?.code == .channelClosed)
            #expect(error?.replyCode == 406)
            #expect(error?.message.contains("inequivalent arg 'x-queue-type'") == true)
            #expect(closed.all.map(\.replyCode) == [406])
            #expect(await client.onLoop { channel.value.isOpen } == false)
            let other = try await client.channel()
            #expect(try await client.declare(queue, on: other).name == queue)
            #expect(client.lost.count == 0)
        }
    }

    @Test func commandsAreAnsweredInOrder() async throws {
        try await withQueue("order") { client, channel, queue in
            let answers = Recorder<Int>()
            try await client.call { _, done in
                for number in 0..<20 {
                    channel.value.declareQueue(queue, passive: true) { _ in answers.add(number) }
                }
                channel.value.declareExchange("amq.direct", passive: true, done: done)
            }
            #expect(answers.all == Array(0..<20))
        }
    }

    @Test func exchangesAndBindingsRoute() async throws {
        try await withQueue("routes") { client, channel, queue in
            let exchange = freshName("exchange")
            try await client.call { _, done in channel.value.declareExchange(exchange, kind: .direct, done: done) }
            try await client.call { _, done in
                channel.value.bindQueue(queue, to: exchange, routingKey: "here", done: done)
            }
            _ = await client.onLoop {
                try? channel.value.publish(
                    exchange: exchange,
                    routingKey: "here",
                    properties: RabbitProperties(headers: ["n": 1, "list": .array(["a", .table(["b": true])])]),
                    body: [1]
                )
            }
            try await eventually("the routed message") {
                try await client.declare(queue, on: channel).messages == 1
            }
            let purged: Int = try await client.call { _, done in channel.value.purge(queue, done: done) }
            #expect(purged == 1)
            try await client.call { _, done in channel.value.deleteExchange(exchange, done: done) }
        }
    }

    @Test func channelNumbersAreUsedAgain() async throws {
        let client = try await Client.open(try brokerURL()) { $0.channelLimit = 3 }
        for _ in 0..<20 {
            let channel = try await client.channel()
            #expect(channel.value.number <= 3)
            try await client.call { _, done in channel.value.close(done: done) }
        }
        for _ in 0..<3 { _ = try await client.channel() }
        let error = await #expect(throws: RabbitError.self) { try await client.channel() }
        #expect(error?.code == .invalidArgument)
        await client.close()
    }

    @Test func namesThatAMQPCannotCarryAreRefusedBeforeTheyGarbleTheStream() async throws {
        try await withQueue("long") { client, channel, queue in
            let long = String(repeating: "x", count: 256)
            await #expect(throws: RabbitError.self) { try await client.publish([], to: long, on: channel) }
            await #expect(throws: RabbitError.self) { try await client.publish([], to: queue, on: channel, id: long) }
            await #expect(throws: RabbitError.self) { try await client.declare(long, on: channel) }
            let state = try await client.declare(queue, on: channel)
            #expect(state.messages == 0)
        }
    }

    @Test func aWrongPasswordIsAClearErrorWithoutThePassword() async throws {
        let port = try port(of: try brokerURL())
        let error = await #expect(throws: RabbitError.self) {
            _ = try await Client.open("amqp://guest:hunter2@127.0.0.1:\(port)/") { $0.reconnects = false }
        }
        // The password that every broker begins with.
        await #expect(throws: RabbitError.self) {
            _ = try await Client.open("amqp://guest:guest@127.0.0.1:\(port)/") { $0.reconnects = false }
        }
        #expect(error?.code == .loginRefused)
        #expect(error?.replyCode == 403)
        #expect(error?.message.contains("ACCESS_REFUSED") == true)
        #expect(error.map { "\($0)".contains("hunter2") } == false)
    }

    @Test func anAbsentVirtualHostIsAClearError() async throws {
        let url = try brokerURL(port: try port(of: try brokerURL()), virtualHost: "nowhere")
        let error = await #expect(throws: RabbitError.self) {
            _ = try await Client.open(url) { $0.reconnects = false }
        }
        #expect(error?.code == .loginRefused)
        #expect(error?.replyCode == 530)
        #expect(error?.message.contains("nowhere") == true)
    }

    @Test func aClosedPortAndAnUnknownHostAreClearErrors() async throws {
        let refused = await #expect(throws: RabbitError.self) {
            _ = try await Client.open("amqp://127.0.0.1:\(refusingPort)/") { $0.reconnects = false }
        }
        #expect(refused?.code == .cannotConnect)
        let unknown = await #expect(throws: RabbitError.self) {
            _ = try await Client.open("amqps://no-such-host.invalid/") { $0.reconnects = false }
        }
        #expect(unknown?.code == .cannotConnect)
        #expect(unknown?.message.contains("no-such-host.invalid") == true)
    }
}

func port(of url: String) throws -> UInt16 {
    let authority = url.split(separator: "/", omittingEmptySubsequences: true)[1]
    return try #require(authority.split(separator: ":").last.flatMap { UInt16($0) })
}
