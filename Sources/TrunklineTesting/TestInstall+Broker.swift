private import RabbitDriver
package import TestKit
package import TrunklineCore
private import TrunklineEngine

extension TestInstall {
    /// Takes away everything that the broker has of this install, and makes its virtual host again, empty.
    package func wipeBroker() async throws {
        try await broker.deleteVirtualHost(vhost)
        try await makeVirtualHost()
    }

    /// Makes the install's virtual host.
    package func makeVirtualHost() async throws { try await broker.makeVirtualHost(vhost) }

    /// The queues of this install by name.
    package func queues() async throws -> [String: BrokerControl.Queue] { try await broker.queues(of: vhost) }

    /// Whether nothing lies in a queue, and nothing is out.
    package func hasEmptyQueues() async throws -> Bool {
        try await queues().values.allSatisfy { $0.messages == 0 }
    }

    /// A job that the simulator accepts.
    package static func job(
        _ key: String,
        line: String = "line-01",
        to: String = "+972501234567",
        body: String? = nil,
        sendBefore: Timestamp? = nil
    ) throws -> SendJob {
        try SendJob(
            line: LineID(line),
            key: IdempotencyKey(key),
            to: PhoneNumber(to),
            body: body ?? "Notice for \(key).",
            purpose: .order,
            sendBefore: sendBefore
        )
    }

    /// `count` jobs with keys `PREFIX.1`…, spread over persons and lines.
    package static func jobs(
        _ count: Int,
        prefix: String = "job",
        lines: [String] = ["line-01", "line-02"],
        persons: Int = 50
    ) throws -> [SendJob] {
        try (1...count).map { number in
            try job(
                "\(prefix).\(number)",
                line: lines[number % lines.count],
                to: "+97250" + String(1_000_000 + number % persons)
            )
        }
    }

    /// Publishes to the shards' queues and waits for every confirm.
    package func publish(_ jobs: [SendJob], routingKey: String? = nil) async throws {
        try await publish(
            raw: jobs.map { (routingKey ?? Route.shard(shard(ofLane: $0.line.laneName, of: shards)), $0.encode()) }
        )
    }

    /// Publishes bodies as they are.
    package func publish(raw messages: [(routingKey: String, body: [UInt8])]) async throws {
        let publisher = RabbitPublisher(
            configuration: try RabbitConfiguration(url: amqpURL, connectionName: "trunkline test")
        )
        let outcomes: [PublishOutcome] = await withCheckedContinuation { continuation in
            publisher.publish(
                messages.map { RabbitMessage(exchange: Route.exchange, routingKey: $0.routingKey, body: $0.body) }
            ) { continuation.resume(returning: $0) }
        }
        await publisher.shutdown()
        for outcome in outcomes where outcome != .confirmed { throw Failure("not confirmed: \(outcome)") }
    }
}
