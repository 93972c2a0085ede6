package import RabbitDriver
internal import Synchronization
package import TrunklineCore

/// Publishes wake-ups for jobs that were committed as rows. Any thread.
///
/// A wake-up costs latency only when it is lost: the owner of a shard looks for rows it has not seen by itself. So the lack
/// of a broker is one warning, never an error, and nothing waits for it.
package final class WakeSender: Sendable {
    private let publisher: RabbitPublisher
    private let shards: Int
    private let warn: @Sendable (String) -> Void
    private let hasWarned = Atomic(false)

    /// Begins to connect.
    ///
    /// - Parameters:
    ///   - shards: the install's number of shards; a wrong one is slower, never wrong.
    ///   - warn: called once at most, on any thread, with a sentence.
    package init(configuration: RabbitConfiguration, shards: Int, warn: @escaping @Sendable (String) -> Void) {
        var limits = RabbitPublisher.Limits()
        limits.deadline = .seconds(2)
        publisher = RabbitPublisher(configuration: configuration, limits: limits)
        self.shards = shards
        self.warn = warn
    }

    /// One message per shard, with the newest of the given jobs: on any wake-up the owner looks at all that it has not seen.
    package func send(_ newest: [LaneName: JobID]) {
        var perShard: [Int: JobID] = [:]
        for (lane, job) in newest {
            let number = shard(ofLane: lane.value, of: shards)
            perShard[number] = max(job, perShard[number] ?? job)
        }
        guard !perShard.isEmpty else { return }
        let messages = perShard.sorted { $0.key < $1.key }.map { number, job in
            RabbitMessage(
                exchange: Route.exchange,
                routingKey: Route.shard(number),
                body: WakeUp(job: job, attempt: AttemptNumber(0)).encode()
            )
        }
        publisher.publish(messages) { [self] outcomes in
            guard let bad = outcomes.first(where: { !$0.isConfirmed }) else { return }
            guard !hasWarned.exchange(true, ordering: .relaxed) else { return }
            warn(Self.words(bad) + "; the jobs are accepted, workers find them within seconds")
        }
    }

    /// Waits for what is under way, at most 2 s, and ends the connection.
    package func shutdown() async {
        await publisher.shutdown()
    }

    private static func words(_ outcome: PublishOutcome) -> String {
        switch outcome {
        case .confirmed: "wake-ups are confirmed"
        case .returned(let back):
            "the broker has no queue for wake-ups (routing key \(back.routingKey)): run 'trunkline topology apply'"
        case .refused: "the broker refused a wake-up"
        case .notSent(let error), .unknown(let error): "wake-ups do not reach the broker (\(error.message))"
        }
    }
}
