internal import EventLoop
internal import RabbitDriver
internal import TrunklineCore

extension BrokerSession {
    /// What became of a message that was published to see whether the broker takes any.
    enum Probe: Sendable, Hashable {
        case confirmed
        /// An alarm; the broker's reason.
        case blocked(String)
        /// Neither confirmed nor told why.
        case silent
    }

    /// Publishes one message the way that jobs take, into a queue that only this connection sees and that goes with it.
    ///
    /// A broker under an alarm stops reading from a connection that has published, and tells only such a one: this session
    /// is of no use for anything else afterwards when the answer is not `confirmed`.
    func probe(within limit: Duration) async throws -> Probe {
        let name = "trunkline.doctor.\(UInt64.random(in: 0 ... .max))"
        _ = try await onChannel { channel, done in
            channel.declareQueue(name, durable: false, exclusive: true, done: done)
        }
        try await onChannel { channel, done in
            channel.bindQueue(name, to: Topology.jobsExchange, routingKey: name, done: done)
        }
        let channel = try await openChannel()
        let (connection, loop) = (connection, loop)
        let result: Result<Probe, RabbitError> = await withCheckedContinuation { continuation in
            let end = Once { continuation.resume(returning: $0) }
            channel.onClose = { end(.failure($0)) }
            channel.onConfirm = { _, _, _ in end(.success(.confirmed)) }
            connection.onBlocked = { reason in
                if let reason { end(.success(.blocked(reason))) }
            }
            loop.schedule(after: limit) { end(.success(.silent)) }
            channel.enableConfirms { enabled in
                do throws(RabbitError) {
                    try enabled.get()
                    _ = try channel.publish(
                        exchange: Topology.jobsExchange,
                        routingKey: name,
                        mandatory: true,
                        properties: RabbitProperties(),
                        body: []
                    )
                } catch {
                    end(.failure(error))
                }
            }
        }
        connection.onBlocked = nil
        channel.onClose = nil
        channel.onConfirm = nil
        return try result.get()
    }

    /// Calls its body once, with whatever comes first. Loop-bound, like everything that calls it.
    private final class Once {
        private var body: ((Result<Probe, RabbitError>) -> Void)?

        init(_ body: @escaping (Result<Probe, RabbitError>) -> Void) { self.body = body }

        func callAsFunction(_ result: Result<Probe, RabbitError>) {
            let body = body
            self.body = nil
            body?(result)
        }
    }
}
