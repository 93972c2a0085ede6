internal import RabbitDriver
internal import Synchronization
package import TrunklineCore

/// Gives jobs to RabbitMQ only, broker first: what it answers is confirmed by the broker, and a worker takes it from there.
///
/// Safe to repeat, like row first: the same keys are the same jobs. Any task may give jobs; those of one call stay in order.
package final class BrokerAcceptor: Sendable {
    private let publisher: RabbitPublisher
    private let shards: Mutex<Int?>

    /// Begins to connect.
    ///
    /// - Parameters:
    ///   - amqpURL: the broker's. Throws a `RabbitError` for one that cannot be read.
    ///   - shards: the install's number of shards, for the shortest way; without it every job goes through the queue for
    ///     imports, and is as right.
    ///   - connectionName: shown in the broker's list of connections.
    ///   - deadline: after how long a job is answered with ``AcceptVerdict/unknown(_:)`` at the latest.
    package init(amqpURL: String, shards: Int?, connectionName: String, deadline: Duration = .seconds(30)) throws {
        var limits = RabbitPublisher.Limits()
        limits.deadline = deadline
        publisher = RabbitPublisher(
            configuration: try RabbitConfiguration(url: amqpURL, connectionName: connectionName),
            limits: limits
        )
        self.shards = Mutex(shards)
    }

    /// Takes the shortest way from now on.
    package func learn(shards: Int) { self.shards.withLock { $0 = shards } }

    /// Why the broker would take nothing at this moment; nil when it would.
    package var trouble: String? {
        let status = publisher.status
        if let reason = status.blockedReason { return "the broker takes nothing: \(reason)" }
        return status.isConnected
            ? nil : "no connection to the broker" + (status.lastError.map { " (\($0.message))" } ?? "")
    }

    /// Waits for what is under way, within the deadline, and ends the connection.
    package func close() async { await publisher.shutdown() }

    /// Gives jobs, in order, and returns at once.
    package func submit(_ jobs: [CarriedWork]) -> Submission {
        let shards = shards.withLock { $0 }
        return submit(
            jobs.map { job in
                RabbitMessage(
                    exchange: Route.exchange,
                    routingKey: shards.map { Route.shard(shard(ofLane: job.lane.value, of: $0)) } ?? Route.bulk,
                    properties: RabbitProperties(messageID: job.key.value),
                    body: job.encode()
                )
            }
        )
    }

    private func submit(_ messages: [RabbitMessage]) -> Submission {
        let (verdicts, continuation) = AsyncStream<[AcceptVerdict]>.makeStream()
        publisher.publish(messages) { outcomes in
            continuation.yield(outcomes.map(AcceptVerdict.init))
            continuation.finish()
        }
        return Submission(pending: verdicts, count: messages.count)
    }

    // MARK: Of a shared desk

    /// Waits for the broker's word on each job. While it is away nothing is tried.
    func take(_ jobs: [CarriedWork]) async -> [AcceptVerdict] {
        if let trouble { return Array(repeating: .notSent(trouble), count: jobs.count) }
        return await submit(jobs).verdicts()
    }

    /// The same for received events. A worker that takes one from the broker names it as it was named here.
    func take(_ events: [NamedEvent]) async -> [EventAcceptance] {
        if let trouble { return Array(repeating: .notTaken(trouble), count: events.count) }
        let messages = events.map { event in
            // An event's key may hold what a customer wrote, and is as long as it likes.
            RabbitMessage(
                exchange: Route.exchange,
                routingKey: Route.webhook,
                properties: RabbitProperties(messageID: Digest.hex(Digest.sha256(event.key.value.utf8))),
                body: event.event.encode()
            )
        }
        return await submit(messages).verdicts().map(EventAcceptance.init)
    }
}

/// Jobs that were given, and whose verdicts may still be out.
package struct Submission: Sendable {
    private enum State {
        case known([AcceptVerdict])
        case pending(AsyncStream<[AcceptVerdict]>, count: Int)
    }

    private let state: State

    init(known verdicts: [AcceptVerdict]) { state = .known(verdicts) }

    init(pending: AsyncStream<[AcceptVerdict]>, count: Int) { state = .pending(pending, count: count) }

    /// Waits for the verdicts: one per job, in their order. To be called once.
    package func verdicts() async -> [AcceptVerdict] {
        switch state {
        case .known(let verdicts): return verdicts
        case .pending(let stream, let count):
            for await verdicts in stream { return verdicts }
            return Array(repeating: .unknown("the publisher ended"), count: count)
        }
    }
}

extension AcceptVerdict {
    fileprivate init(_ outcome: PublishOutcome) {
        switch outcome {
        case .confirmed: self = .confirmed
        case .returned: self = .unroutable
        case .refused: self = .rejected
        case .notSent(let error): self = .notSent(error.message)
        case .unknown(let error): self = .unknown(error.message)
        }
    }
}
