internal import CPlatform
internal import EventLoop

// Declaring, deleting and binding.

extension RabbitChannel {
    /// Declares a queue, or with `passive` asks whether it exists. Other arguments than the existing queue has are a
    /// refusal (406) in the broker's words, and the channel is closed by it.
    package func declareQueue(
        _ name: String,
        passive: Bool = false,
        durable: Bool = true,
        exclusive: Bool = false,
        autoDelete: Bool = false,
        arguments: [String: RabbitValue] = [:],
        done: @escaping (Result<QueueState, RabbitError>) -> Void
    ) {
        loop.preconditionOnLoop()
        guard accept([name], arguments, done) else { return }
        ask(Question("queue.declare", AMQP_QUEUE_DECLARE_METHOD, AMQP_QUEUE_DECLARE_OK_METHOD)) { arena in
            var declare = amqp_queue_declare_t()
            declare.queue = arena.bytes(name)
            declare.passive = passive ? 1 : 0
            declare.durable = durable ? 1 : 0
            declare.exclusive = exclusive ? 1 : 0
            declare.auto_delete = autoDelete ? 1 : 0
            declare.arguments = arena.table(arguments)
            return declare
        } done: { result in
            done(
                result.map { reply in
                    if case .queue(let state) = reply { return state }
                    return QueueState(name: name, messages: 0, consumers: 0)
                }
            )
        }
    }

    /// Deletes a queue. Deleting one that does not exist succeeds.
    ///
    /// - Parameter done: the number of messages that went with it.
    package func deleteQueue(
        _ name: String,
        ifUnused: Bool = false,
        ifEmpty: Bool = false,
        done: @escaping (Result<Int, RabbitError>) -> Void
    ) {
        loop.preconditionOnLoop()
        guard accept([name], [:], done) else { return }
        ask(Question("queue.delete", AMQP_QUEUE_DELETE_METHOD, AMQP_QUEUE_DELETE_OK_METHOD)) { arena in
            var delete = amqp_queue_delete_t()
            delete.queue = arena.bytes(name)
            delete.if_unused = ifUnused ? 1 : 0
            delete.if_empty = ifEmpty ? 1 : 0
            return delete
        } done: { result in
            done(result.map(\.count))
        }
    }

    /// Drops every ready message of a queue.
    ///
    /// - Parameter done: how many there were.
    package func purge(_ queue: String, done: @escaping (Result<Int, RabbitError>) -> Void) {
        loop.preconditionOnLoop()
        guard accept([queue], [:], done) else { return }
        ask(Question("queue.purge", AMQP_QUEUE_PURGE_METHOD, AMQP_QUEUE_PURGE_OK_METHOD)) { arena in
            var purge = amqp_queue_purge_t()
            purge.queue = arena.bytes(queue)
            return purge
        } done: { result in
            done(result.map(\.count))
        }
    }

    /// Declares an exchange, or with `passive` asks whether it exists.
    package func declareExchange(
        _ name: String,
        kind: ExchangeKind = .direct,
        passive: Bool = false,
        durable: Bool = true,
        arguments: [String: RabbitValue] = [:],
        done: @escaping (Result<Void, RabbitError>) -> Void
    ) {
        loop.preconditionOnLoop()
        guard accept([name], arguments, done) else { return }
        ask(Question("exchange.declare", AMQP_EXCHANGE_DECLARE_METHOD, AMQP_EXCHANGE_DECLARE_OK_METHOD)) { arena in
            var declare = amqp_exchange_declare_t()
            declare.exchange = arena.bytes(name)
            declare.type = arena.bytes(kind.rawValue)
            declare.passive = passive ? 1 : 0
            declare.durable = durable ? 1 : 0
            declare.arguments = arena.table(arguments)
            return declare
        } done: { result in
            done(result.map { _ in })
        }
    }

    /// Deletes an exchange. Deleting one that does not exist succeeds.
    package func deleteExchange(_ name: String, done: @escaping (Result<Void, RabbitError>) -> Void) {
        loop.preconditionOnLoop()
        guard accept([name], [:], done) else { return }
        ask(Question("exchange.delete", AMQP_EXCHANGE_DELETE_METHOD, AMQP_EXCHANGE_DELETE_OK_METHOD)) { arena in
            var delete = amqp_exchange_delete_t()
            delete.exchange = arena.bytes(name)
            return delete
        } done: { result in
            done(result.map { _ in })
        }
    }

    /// Binds a queue to an exchange.
    package func bindQueue(
        _ queue: String,
        to exchange: String,
        routingKey: String,
        arguments: [String: RabbitValue] = [:],
        done: @escaping (Result<Void, RabbitError>) -> Void
    ) {
        loop.preconditionOnLoop()
        guard accept([queue, exchange, routingKey], arguments, done) else { return }
        ask(Question("queue.bind", AMQP_QUEUE_BIND_METHOD, AMQP_QUEUE_BIND_OK_METHOD)) { arena in
            var bind = amqp_queue_bind_t()
            bind.queue = arena.bytes(queue)
            bind.exchange = arena.bytes(exchange)
            bind.routing_key = arena.bytes(routingKey)
            bind.arguments = arena.table(arguments)
            return bind
        } done: { result in
            done(result.map { _ in })
        }
    }

    /// Takes a binding away. One that does not exist is gone already: that succeeds.
    package func unbindQueue(
        _ queue: String,
        from exchange: String,
        routingKey: String,
        done: @escaping (Result<Void, RabbitError>) -> Void
    ) {
        loop.preconditionOnLoop()
        guard accept([queue, exchange, routingKey], [:], done) else { return }
        ask(Question("queue.unbind", AMQP_QUEUE_UNBIND_METHOD, AMQP_QUEUE_UNBIND_OK_METHOD)) { arena in
            var unbind = amqp_queue_unbind_t()
            unbind.queue = arena.bytes(queue)
            unbind.exchange = arena.bytes(exchange)
            unbind.routing_key = arena.bytes(routingKey)
            return unbind
        } done: { result in
            done(result.map { _ in })
        }
    }
}

extension RabbitChannel.Reply {
    /// How many messages the answer speaks of; 0 when it speaks of none.
    fileprivate var count: Int {
        if case .count(let count) = self { return count }
        return 0
    }
}
