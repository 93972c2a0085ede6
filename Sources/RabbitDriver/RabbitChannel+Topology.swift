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
        unsafe ask(Question("queue.declare", AMQP_QUEUE_DECLARE_METHOD, AMQP_QUEUE_DECLARE_OK_METHOD)) { arena in
            unsafe amqp_queue_declare_t(
                ticket: 0,
                queue: arena.bytes(name),
                passive: passive ? 1 : 0,
                durable: durable ? 1 : 0,
                exclusive: exclusive ? 1 : 0,
                auto_delete: autoDelete ? 1 : 0,
                nowait: 0,
                arguments: arena.table(arguments)
            )
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
        unsafe ask(Question("queue.delete", AMQP_QUEUE_DELETE_METHOD, AMQP_QUEUE_DELETE_OK_METHOD)) { arena in
            unsafe amqp_queue_delete_t(
                ticket: 0,
                queue: arena.bytes(name),
                if_unused: ifUnused ? 1 : 0,
                if_empty: ifEmpty ? 1 : 0,
                nowait: 0
            )
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
        unsafe ask(Question("queue.purge", AMQP_QUEUE_PURGE_METHOD, AMQP_QUEUE_PURGE_OK_METHOD)) { arena in
            unsafe amqp_queue_purge_t(ticket: 0, queue: arena.bytes(queue), nowait: 0)
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
        unsafe ask(Question("exchange.declare", AMQP_EXCHANGE_DECLARE_METHOD, AMQP_EXCHANGE_DECLARE_OK_METHOD)) {
            arena in
            unsafe amqp_exchange_declare_t(
                ticket: 0,
                exchange: arena.bytes(name),
                type: arena.bytes(kind.rawValue),
                passive: passive ? 1 : 0,
                durable: durable ? 1 : 0,
                auto_delete: 0,
                internal: 0,
                nowait: 0,
                arguments: arena.table(arguments)
            )
        } done: { result in
            done(result.map { _ in })
        }
    }

    /// Deletes an exchange. Deleting one that does not exist succeeds.
    package func deleteExchange(_ name: String, done: @escaping (Result<Void, RabbitError>) -> Void) {
        loop.preconditionOnLoop()
        guard accept([name], [:], done) else { return }
        unsafe ask(Question("exchange.delete", AMQP_EXCHANGE_DELETE_METHOD, AMQP_EXCHANGE_DELETE_OK_METHOD)) { arena in
            unsafe amqp_exchange_delete_t(ticket: 0, exchange: arena.bytes(name), if_unused: 0, nowait: 0)
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
        unsafe ask(Question("queue.bind", AMQP_QUEUE_BIND_METHOD, AMQP_QUEUE_BIND_OK_METHOD)) { arena in
            unsafe amqp_queue_bind_t(
                ticket: 0,
                queue: arena.bytes(queue),
                exchange: arena.bytes(exchange),
                routing_key: arena.bytes(routingKey),
                nowait: 0,
                arguments: arena.table(arguments)
            )
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
        unsafe ask(Question("queue.unbind", AMQP_QUEUE_UNBIND_METHOD, AMQP_QUEUE_UNBIND_OK_METHOD)) { arena in
            unsafe amqp_queue_unbind_t(
                ticket: 0,
                queue: arena.bytes(queue),
                exchange: arena.bytes(exchange),
                routing_key: arena.bytes(routingKey),
                arguments: arena.table([:])
            )
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
