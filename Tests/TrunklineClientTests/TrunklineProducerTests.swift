import EventLoop
import Foundation
import RabbitDriver
import Synchronization
import TestKit
import Testing
import TrunklineClient

/// A virtual host of the test's own, with as much of the topology as the test asks for.
private struct Install: Sendable {
    let url: String
    let broker: Broker

    static func with(
        exchange: Bool = true,
        queues: [String: String] = [:],
        arguments: [String: RabbitValue] = ["x-queue-type": "quorum"],
        _ body: (Install) async throws -> Void
    ) async throws {
        try await VirtualHost.with { url in
            let install = Install(url: url, broker: try await Broker.open(url))
            if exchange {
                try await install.broker.call { (channel, done: @escaping (Result<Void, RabbitError>) -> Void) in
                    channel.declareExchange("trunkline.jobs", kind: .direct, done: done)
                }
            }
            for (key, queue) in queues {
                try await install.declare(queue, arguments)
                try await install.broker.call { (channel, done: @escaping (Result<Void, RabbitError>) -> Void) in
                    channel.bindQueue(queue, to: "trunkline.jobs", routingKey: key, done: done)
                }
            }
            try await body(install)
            await install.broker.close()
        }
    }

    @discardableResult
    func declare(_ queue: String, _ arguments: [String: RabbitValue]) async throws -> RabbitChannel.QueueState {
        try await broker.call { channel, done in channel.declareQueue(queue, arguments: arguments, done: done) }
    }

    func count(_ queue: String) async throws -> Int {
        try await broker.call { channel, done in
            channel.declareQueue(queue, passive: true) { done($0.map(\.messages)) }
        }
    }

    func messages(_ queue: String, count: Int) async throws -> [RabbitDelivery] {
        let seen = Seen()
        try await broker.call { (channel, done: @escaping (Result<Void, RabbitError>) -> Void) in
            channel.consume(
                queue: queue,
                tag: "test",
                prefetch: 60_000,
                onDelivery: { seen.add($0) },
                onCancel: {},
                done: done
            )
        }
        try await eventually("\(count) messages") { seen.all.count >= count }
        return seen.all
    }
}

private final class Seen: Sendable {
    private let deliveries = Mutex<[RabbitDelivery]>([])
    func add(_ delivery: RabbitDelivery) { deliveries.withLock { $0.append(delivery) } }
    var all: [RabbitDelivery] { deliveries.withLock { $0 } }
}

/// A connection with one channel for setting up and looking.
private final class Broker: @unchecked Sendable {
    // Unchecked: connection and channel are only touched on the loop.
    private let loop = EventLoop(name: "test")
    private var connection: RabbitConnection?
    private var channel: RabbitChannel?

    static func open(_ url: String) async throws -> Broker {
        let configuration = try RabbitConfiguration(url: url, connectionName: "test")
        let broker = Broker()
        broker.loop.start()
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            broker.loop.run {
                let connection = RabbitConnection(loop: broker.loop, configuration: configuration)
                broker.connection = connection
                connection.onConnect = { [unowned connection] in
                    connection.openChannel { result in
                        broker.channel = try? result.get()
                        continuation.resume(with: result.map { _ in }.mapError { $0 })
                    }
                }
                connection.open()
            }
        }
        return broker
    }

    func call<Value: Sendable>(
        _ body: @escaping @Sendable (RabbitChannel, @escaping (Result<Value, RabbitError>) -> Void) -> Void
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            loop.run { body(self.channel!) { continuation.resume(with: $0.mapError { $0 }) } }
        }
    }

    func close() async {
        await withCheckedContinuation { continuation in
            loop.run { self.connection!.close { continuation.resume() } }
        }
        loop.stop()
    }
}

private func makeJob(_ number: Int, line: String = "acme-il", sendBefore: Timestamp? = nil) throws -> SendJob {
    try SendJob(
        line: LineID(line),
        key: IdempotencyKey("order:acme.\(number):ready"),
        to: PhoneNumber("+972501234567"),
        body: "Your order \(number) is ready.",
        purpose: .pickup,
        sendBefore: sendBefore
    )
}

extension Result where Success == Accepted, Failure == SendError {
    fileprivate var error: SendError? {
        if case .failure(let error) = self { return error }
        return nil
    }
}

@Suite(.timeLimit(.minutes(3))) struct TrunklineProducerTests {
    @Test func aJobGoesToTheIntakeQueueAsDocumented() async throws {
        try await Install.with(queues: ["send": "trunkline.intake"]) { install in
            let producer = try TrunklineProducer(amqpURL: install.url)
            let job = try makeJob(1042)
            let accepted = try await producer.send(job)
            #expect(accepted.key == job.key)
            #expect(accepted.line == job.line)
            let message = try #require(try await install.messages("trunkline.intake", count: 1).first)
            #expect(message.body == job.encode())
            #expect(try SendJob.decode(json: message.body) == job)
            #expect(message.messageID == "order:acme.1042:ready")
            #expect(message.contentType == "application/json")
            #expect(message.exchange == "trunkline.jobs")
            #expect(message.routingKey == "send")
            await producer.shutdown()
        }
    }

    @Test func withTheNumberOfShardsAJobGoesToItsOwn() async throws {
        let lines = (0..<40).map { "line-\($0)" }
        let keys = Set(lines.map { Route.shard(shard(ofLane: "line:\($0)", of: 16)) })
        let queues = Dictionary(uniqueKeysWithValues: keys.map { ($0, "trunkline.\($0)") })
        try await Install.with(queues: queues, arguments: [:]) { install in
            let producer = try TrunklineProducer(amqpURL: install.url, shards: 16)
            let results = await producer.send(try lines.enumerated().map { try makeJob($0, line: $1) })
            #expect(results.allSatisfy { $0.error == nil })
            for key in keys {
                let expected = lines.filter { Route.shard(shard(ofLane: "line:\($0)", of: 16)) == key }.count
                #expect(try await install.count("trunkline.\(key)") == expected)
            }
            await producer.shutdown()
        }
    }

    @Test func manyJobsKeepTheirOrderAndAreAllAccounted() async throws {
        try await Install.with(queues: ["send": "trunkline.intake"]) { install in
            let producer = try TrunklineProducer(amqpURL: install.url)
            let past = Timestamp(microseconds: TrunklineProducer.systemTime().microseconds - 1_000_000)
            // Lazily made, every 100th too late.
            let jobs = try (0..<12_000).map { try makeJob($0, sendBefore: $0 % 100 == 7 ? past : nil) }
            let results = await producer.send(jobs.lazy.map { $0 })
            #expect(results.count == 12_000)
            for (number, result) in results.enumerated() {
                if number % 100 == 7 {
                    guard case .refused(let refusal) = result.error else {
                        Issue.record("job \(number): \(result)")
                        return
                    }
                    #expect(refusal.kind == .late)
                } else {
                    guard case .success(let accepted) = result else {
                        Issue.record("job \(number): \(result)")
                        return
                    }
                    #expect(accepted.key.value == "order:acme.\(number):ready")
                }
            }
            let ids = try await install.messages("trunkline.intake", count: 11_880).compactMap(\.messageID)
            #expect(ids == (0..<12_000).filter { $0 % 100 != 7 }.map { "order:acme.\($0):ready" })
            await producer.shutdown()
        }
    }

    @Test func aMissingExchangeIsSaidInWords() async throws {
        try await Install.with(exchange: false) { install in
            let producer = try TrunklineProducer(amqpURL: install.url)
            let error = await #expect(throws: SendError.self) { try await producer.send(try makeJob(1)) }
            guard case .notSent(let reason) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(reason.contains("trunkline.jobs"))
            #expect(reason.contains("topology apply"))
            #expect(error?.mayBeQueued == false)
            // As soon as it is there, the same producer goes on.
            try await install.broker.call { (channel, done: @escaping (Result<Void, RabbitError>) -> Void) in
                channel.declareExchange("trunkline.jobs", kind: .direct, done: done)
            }
            try await install.declare("trunkline.intake", [:])
            try await install.broker.call { (channel, done: @escaping (Result<Void, RabbitError>) -> Void) in
                channel.bindQueue("trunkline.intake", to: "trunkline.jobs", routingKey: "send", done: done)
            }
            let deadline = ContinuousClock.now + .seconds(30)
            var result = await producer.send([try makeJob(1)])[0]
            while result.error != nil, ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(50))
                result = await producer.send([try makeJob(1)])[0]
            }
            #expect(result.error == nil)
            await producer.shutdown()
        }
    }

    @Test func anUnroutableJobIsNotAccepted() async throws {
        try await Install.with(queues: ["send": "trunkline.intake"]) { install in
            let producer = try TrunklineProducer(amqpURL: install.url, shards: 4)
            let error = await #expect(throws: SendError.self) { try await producer.send(try makeJob(1)) }
            guard case .unroutable(let reason) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(reason.contains("shard.0"))
            #expect(error?.isRetriable == false)
            await producer.shutdown()
        }
    }

    @Test func aFullQueueIsARejection() async throws {
        try await Install.with(
            queues: ["send": "trunkline.intake"],
            arguments: ["x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"]
        ) { install in
            let producer = try TrunklineProducer(amqpURL: install.url)
            var results: [Result<Accepted, SendError>] = []
            for number in 0..<30 { results += await producer.send([try makeJob(number)]) }
            #expect(results.first?.error == nil)
            guard case .rejected = results.last?.error else {
                Issue.record("\(String(describing: results.last))")
                return
            }
            await producer.shutdown()
        }
    }

    @Test func withoutABrokerTheAnswerComesByTheDeadline() async throws {
        var options = TrunklineProducer.Options()
        options.deadline = .milliseconds(200)
        let producer = try TrunklineProducer(
            amqpURL: "amqp://guest:hunter2@127.0.0.1:\(refusingPort)/",
            options: options
        )
        let error = await #expect(throws: SendError.self) { try await producer.send(try makeJob(1)) }
        guard case .notSent(let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(reason.contains("127.0.0.1:\(refusingPort)"))
        #expect(!"\(reason)".contains("hunter2"))
        #expect(error?.isRetriable == true)
        await producer.shutdown()
    }

    @Test func badSettingsAreRefusedWithoutThePassword() {
        for url in ["http://u:hunter2@h", "amqp://u:hunter2@h:x/"] {
            let error = #expect(throws: ProducerConfigurationError.self) { _ = try TrunklineProducer(amqpURL: url) }
            #expect(error.map { "\($0)".contains("hunter2") } == false)
        }
        #expect(throws: ProducerConfigurationError.self) { _ = try TrunklineProducer(amqpURL: "amqp://h", shards: 0) }
    }

    @Test func anEmptySequenceHasNoResults() async throws {
        let producer = try TrunklineProducer(amqpURL: "amqp://127.0.0.1:\(refusingPort)/")
        #expect(await producer.send([]).isEmpty)
        await producer.shutdown()
    }
}
