internal import RabbitDriver
internal import TrunklineCore

/// A channel for questions and declarations, beside those that consume: a refusal closes it, and nothing else.
protocol ControlChannel: AnyObject {
    /// How many messages of a queue are ready, and how many consumers are active. Fails with 404 when there is no such queue.
    func look(at queue: String, done: @escaping (Result<QueueLook, RabbitError>) -> Void)
    /// Fails with 404 when there is no such exchange.
    func find(exchange: String, done: @escaping (Result<Void, RabbitError>) -> Void)
    /// Declares what is missing; fails at the first object that exists with other arguments.
    func declare(_ plan: Topology.Plan, done: @escaping (Result<Void, RabbitError>) -> Void)
    func close(done: @escaping (Result<Void, RabbitError>) -> Void)
}

/// What the broker says of a queue.
struct QueueLook {
    let messages: Int
    let consumers: Int
}

extension RabbitConnection {
    func openControlChannel(_ done: @escaping (Result<any ControlChannel, RabbitError>) -> Void) {
        openChannel { result in done(result.map { $0 }) }
    }
}

extension RabbitChannel: ControlChannel {
    func look(at queue: String, done: @escaping (Result<QueueLook, RabbitError>) -> Void) {
        declareQueue(queue, passive: true) { result in
            done(result.map { QueueLook(messages: Int($0.messages), consumers: Int($0.consumers)) })
        }
    }

    func find(exchange: String, done: @escaping (Result<Void, RabbitError>) -> Void) {
        declareExchange(exchange, passive: true, done: done)
    }

    func declare(_ plan: Topology.Plan, done: @escaping (Result<Void, RabbitError>) -> Void) {
        func table(_ arguments: [Topology.Argument]) -> [String: RabbitValue] {
            Dictionary(uniqueKeysWithValues: arguments.map { ($0.name, $0.value) })
        }
        typealias Step = (@escaping (Result<Void, RabbitError>) -> Void) -> Void
        let exchanges = plan.exchanges.map { exchange -> Step in
            { [unowned self] done in
                self.declareExchange(
                    exchange.name,
                    kind: exchange.kind,
                    arguments: table(exchange.arguments),
                    done: done
                )
            }
        }
        let queues = plan.queues.map { queue -> Step in
            { [unowned self] done in
                self.declareQueue(queue.name, arguments: table(queue.arguments)) { done($0.map { _ in }) }
            }
        }
        let bindings = plan.bindings.map { binding -> Step in
            { [unowned self] done in
                self.bindQueue(binding.queue, to: binding.exchange, routingKey: binding.routingKey, done: done)
            }
        }
        // One after the other: the first refusal closes the channel.
        var steps = (exchanges + queues + bindings)[...]
        func next(_ result: Result<Void, RabbitError>) {
            guard case .success = result, let step = steps.popFirst() else { return done(result) }
            step { [self] result in withExtendedLifetime(self) { next(result) } }
        }
        next(.success(()))
    }
}
