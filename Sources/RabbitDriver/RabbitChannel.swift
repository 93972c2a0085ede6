internal import CPlatform
internal import EventLoop

/// One AMQP channel. Loop-bound: every method and callback belongs to the connection's loop.
///
/// A channel does not outlive its connection, and the broker closes it when it refuses a command: then `onClose` comes
/// and whoever needs one opens a new one. Commands are sent one after another; each calls its `done` exactly once,
/// never from inside the call itself.
public final class RabbitChannel {
    /// Options of ``consume(queue:tag:prefetch:options:onDelivery:onCancel:done:)``.
    public struct ConsumeOptions: Sendable, Hashable {
        /// Nobody else may consume from the queue.
        public var isExclusive = false
        /// The broker forgets a message as it sends it.
        public var needsNoAcknowledgement = false
        public var arguments: [String: RabbitValue] = [:]
        public init() {}
    }

    /// A queue as the broker has it.
    public struct QueueState: Sendable, Hashable {
        public let name: String
        /// Messages that are ready for delivery.
        public let messages: Int
        public let consumers: Int
    }

    /// The kinds of exchange.
    public enum ExchangeKind: String, Sendable {
        case direct, fanout, topic, headers
    }

    /// Called once when the channel ends without ``close(done:)``, after every command under way has failed.
    public var onClose: ((RabbitError) -> Void)?
    /// `(tag, multiple, acked)` of every confirm after ``enableConfirms(done:)``; with `multiple`, all up to `tag`.
    public var onConfirm: ((UInt64, Bool, Bool) -> Void)?
    /// A mandatory message came back; its confirm follows.
    public var onReturn: ((RabbitReturn) -> Void)?

    /// The AMQP channel number.
    public let number: UInt16
    /// Whether commands can be given.
    public var isOpen: Bool { phase == .open }
    var isEnded: Bool { phase == .closed }

    private enum Phase: Hashable {
        /// channel.open is under way. Exits: open, closed.
        case opening
        /// Exits: closing (by us), closed (by the broker, or with the connection).
        case open
        /// Our channel.close is under way: everything but its answer is dropped. Exit: closed.
        case closing
        case closed
    }

    private enum Reply {
        case plain
        case queue(QueueState)
        case count(Int)
    }

    private struct Command {
        let name: String
        let answer: amqp_method_number_t
        let send: () -> Int32
        let done: (Result<Reply, RabbitError>) -> Void
    }

    private struct Consumer {
        let tag: String
        let onDelivery: (RabbitDelivery) -> Void
        let onCancel: () -> Void
    }

    private enum Incoming {
        case none
        case delivery(tag: UInt64, redelivered: Bool, consumer: Int?)
        case returned(code: UInt16, text: String)
    }

    private var link: Link?
    private let loop: EventLoop
    private var phase = Phase.opening
    private var closeError: RabbitError?
    private var commands: [Command] = []
    private var commandDeadline: ContinuousClock.Instant?
    private var consumers: [Consumer] = []
    private var confirms = false
    private var published: UInt64 = 0

    // The message that is coming in.
    private var assembler: MessageAssembler
    private var incoming = Incoming.none
    private var incomingSince: ContinuousClock.Instant
    private var contentType: String?
    private var messageID: String?
    private var deliveryCount = 0
    private var deathCount = 0
    private var firstDeathQueue: String?
    // Kept from message to message: a queue's messages mostly share them, and a String costs an allocation.
    private var exchange = ""
    private var routingKey = ""
    private var usualContentType = "application/json"

    init(link: Link, number: UInt16) {
        self.link = link
        self.number = number
        loop = link.loop
        incomingSince = link.loop.now
        assembler = MessageAssembler(limit: link.configuration.bodyLimit)
    }

    // MARK: Consuming

    /// Subscribes to `queue`.
    ///
    /// Take a tag that was never used on this channel: the broker mixes up a cancel and a new subscription of the same
    /// tag while deliveries are on the way.
    ///
    /// - Parameters:
    ///   - prefetch: messages that may be unacknowledged; 1…65,535 (0 would mean no limit to the broker).
    ///   - onCancel: the broker ended the subscription, for example because the queue was deleted.
    public func consume(
        queue: String,
        tag: String,
        prefetch: UInt16,
        options: ConsumeOptions = .init(),
        onDelivery: @escaping (RabbitDelivery) -> Void,
        onCancel: @escaping () -> Void,
        done: @escaping (Result<Void, RabbitError>) -> Void
    ) {
        loop.preconditionOnLoop()
        precondition(prefetch > 0, "a prefetch of 0 has no limit")
        guard accept([queue, tag], options.arguments, done) else { return }
        let number = number
        command("basic.qos", AMQP_BASIC_QOS_OK_METHOD) { state in
            var qos = amqp_basic_qos_t()
            qos.prefetch_count = prefetch
            return amqp_send_method(state, number, AMQP_BASIC_QOS_METHOD, &qos)
        } done: { result in
            // A refusal closes the channel, which answers the consume as well.
            if case .failure = result { return }
        }
        consumers.append(Consumer(tag: tag, onDelivery: onDelivery, onCancel: onCancel))
        command("basic.consume", AMQP_BASIC_CONSUME_OK_METHOD) { state in
            let arena = Arena()
            defer { withExtendedLifetime(arena) {} }
            var consume = amqp_basic_consume_t()
            consume.queue = arena.bytes(queue)
            consume.consumer_tag = arena.bytes(tag)
            consume.no_ack = options.needsNoAcknowledgement ? 1 : 0
            consume.exclusive = options.isExclusive ? 1 : 0
            consume.arguments = arena.table(options.arguments)
            return amqp_send_method(state, number, AMQP_BASIC_CONSUME_METHOD, &consume)
        } done: { result in
            done(result.map { _ in })
        }
    }

    /// Ends a subscription. What was already on the way is delivered before `done`.
    public func cancel(tag: String, done: @escaping (Result<Void, RabbitError>) -> Void) {
        loop.preconditionOnLoop()
        guard accept([tag], [:], done) else { return }
        let number = number
        command("basic.cancel", AMQP_BASIC_CANCEL_OK_METHOD) { state in
            let arena = Arena()
            defer { withExtendedLifetime(arena) {} }
            var cancel = amqp_basic_cancel_t()
            cancel.consumer_tag = arena.bytes(tag)
            return amqp_send_method(state, number, AMQP_BASIC_CANCEL_METHOD, &cancel)
        } done: { [weak self] result in
            self?.consumers.removeAll { $0.tag == tag }
            done(result.map { _ in })
        }
    }

    /// Acknowledges every delivery up to and including `tag`. Does nothing on a closed channel: the broker has taken
    /// its deliveries back.
    public func ack(through tag: UInt64) { acknowledge(tag, multiple: true) }

    /// Acknowledges one delivery.
    public func ack(_ tag: UInt64) { acknowledge(tag, multiple: false) }

    /// Gives one delivery back, or drops it into the queue's dead-letter exchange when `requeue` is false.
    public func reject(_ tag: UInt64, requeue: Bool) {
        loop.preconditionOnLoop()
        guard phase == .open, let link else { return }
        let state = link.state
        let number = number
        link.send { amqp_basic_reject(state, number, tag, requeue ? 1 : 0) }
    }

    private func acknowledge(_ tag: UInt64, multiple: Bool) {
        loop.preconditionOnLoop()
        guard phase == .open, let link else { return }
        let state = link.state
        let number = number
        link.send { amqp_basic_ack(state, number, tag, multiple ? 1 : 0) }
    }

    // MARK: Publishing

    /// Asks the broker to confirm what is published from now on.
    public func enableConfirms(done: @escaping (Result<Void, RabbitError>) -> Void) {
        loop.preconditionOnLoop()
        let number = number
        command("confirm.select", AMQP_CONFIRM_SELECT_OK_METHOD) { state in
            var select = amqp_confirm_select_t()
            return amqp_send_method(state, number, AMQP_CONFIRM_SELECT_METHOD, &select)
        } done: { [weak self] result in
            if case .success = result {
                self?.confirms = true
                self?.published = 0
            }
            done(result.map { _ in })
        }
    }

    /// Publishes one message.
    ///
    /// - Returns: the tag of its confirm, 0 without confirms.
    /// - Throws: `blocked`, `busy` (try again at the connection's `onWritable`), `notConnected` (also: the
    ///   channel is closed), `invalidArgument`: nothing was sent. Anything else: it may have been sent.
    public func publish(
        exchange: String,
        routingKey: String,
        mandatory: Bool = true,
        properties: RabbitProperties,
        body: [UInt8]
    ) throws(RabbitError) -> UInt64 {
        loop.preconditionOnLoop()
        // A name over 255 bytes would be written with a wrong length byte and garble the stream.
        guard
            exchange.utf8.count <= 255, routingKey.utf8.count <= 255,
            (properties.contentType?.utf8.count ?? 0) <= 255, (properties.messageID?.utf8.count ?? 0) <= 255,
            Self.fits(properties.headers)
        else {
            throw RabbitError(.invalidArgument, "a name, a property or the headers are too long for AMQP")
        }
        link?.pumpIfStale()
        guard phase == .open, let link, link.failure == nil else {
            let reason = link?.failure ?? closeError
            throw RabbitError(.notConnected, reason?.message ?? "the channel is closed")
        }
        guard !link.isBlocked else { throw RabbitError(.blocked, "the broker takes no messages for now") }
        guard link.canPublish else {
            link.notifyWhenWritable()
            throw RabbitError(.busy, "the socket's buffer is full")
        }

        let state = link.state
        var values = amqp_basic_properties_t()
        var flags = AMQP_BASIC_DELIVERY_MODE_FLAG
        values.delivery_mode = properties.isPersistent ? 2 : 1
        if properties.contentType != nil { flags |= AMQP_BASIC_CONTENT_TYPE_FLAG }
        if properties.messageID != nil { flags |= AMQP_BASIC_MESSAGE_ID_FLAG }
        var arena: Arena?
        if !properties.headers.isEmpty {
            let headers = Arena()
            values.headers = headers.table(properties.headers)
            flags |= AMQP_BASIC_HEADERS_FLAG
            arena = headers
        }
        values._flags = amqp_flags_t(flags)
        withBytes(exchange) { exchange in
            withBytes(routingKey) { routingKey in
                withBytes(properties.contentType ?? "") { contentType in
                    withBytes(properties.messageID ?? "") { messageID in
                        values.content_type = contentType
                        values.message_id = messageID
                        body.withUnsafeBytes { body in
                            let body = amqp_bytes_t(
                                len: body.count,
                                bytes: UnsafeMutableRawPointer(mutating: body.baseAddress)
                            )
                            link.write {
                                amqp_basic_publish(
                                    state,
                                    number,
                                    exchange,
                                    routingKey,
                                    mandatory ? 1 : 0,
                                    0,
                                    &values,
                                    body
                                )
                            }
                        }
                    }
                }
            }
        }
        withExtendedLifetime(arena) {}
        if let failure = link.failure { throw failure }
        guard confirms else { return 0 }
        published += 1
        return published
    }

    /// Headers must fit into one frame; 64 KiB leaves half of it free. Counted generously.
    private static func fits(_ headers: [String: RabbitValue]) -> Bool {
        if headers.isEmpty { return true }
        func size(_ value: RabbitValue) -> Int {
            switch value {
            case .bool, .int, .double, .timestamp, .void: return 16
            case .string(let text): return 16 + text.utf8.count
            case .bytes(let bytes): return 16 + bytes.count
            case .array(let values): return values.reduce(16) { $0 + size($1) }
            case .table(let values): return values.reduce(16) { $0 + $1.key.utf8.count + size($1.value) }
            }
        }
        return size(.table(headers)) <= 65_536 && keysFit(.table(headers))
    }

    private static func keysFit(_ value: RabbitValue) -> Bool {
        switch value {
        case .table(let values): return values.allSatisfy { $0.key.utf8.count <= 128 && keysFit($0.value) }
        case .array(let values): return values.allSatisfy(keysFit)
        default: return true
        }
    }

    // MARK: Topology

    /// Declares a queue, or with `passive` asks whether it exists. Other arguments than the existing queue has are a
    /// refusal (406) in the broker's words, and the channel is closed by it.
    public func declareQueue(
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
        let number = number
        command("queue.declare", AMQP_QUEUE_DECLARE_OK_METHOD) { state in
            let arena = Arena()
            defer { withExtendedLifetime(arena) {} }
            var declare = amqp_queue_declare_t()
            declare.queue = arena.bytes(name)
            declare.passive = passive ? 1 : 0
            declare.durable = durable ? 1 : 0
            declare.exclusive = exclusive ? 1 : 0
            declare.auto_delete = autoDelete ? 1 : 0
            declare.arguments = arena.table(arguments)
            return amqp_send_method(state, number, AMQP_QUEUE_DECLARE_METHOD, &declare)
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
    public func deleteQueue(
        _ name: String,
        ifUnused: Bool = false,
        ifEmpty: Bool = false,
        done: @escaping (Result<Int, RabbitError>) -> Void
    ) {
        loop.preconditionOnLoop()
        guard accept([name], [:], done) else { return }
        let number = number
        command("queue.delete", AMQP_QUEUE_DELETE_OK_METHOD) { state in
            let arena = Arena()
            defer { withExtendedLifetime(arena) {} }
            var delete = amqp_queue_delete_t()
            delete.queue = arena.bytes(name)
            delete.if_unused = ifUnused ? 1 : 0
            delete.if_empty = ifEmpty ? 1 : 0
            return amqp_send_method(state, number, AMQP_QUEUE_DELETE_METHOD, &delete)
        } done: { result in
            done(result.map(Self.count))
        }
    }

    /// Drops every ready message of a queue.
    ///
    /// - Parameter done: how many there were.
    public func purge(_ queue: String, done: @escaping (Result<Int, RabbitError>) -> Void) {
        loop.preconditionOnLoop()
        guard accept([queue], [:], done) else { return }
        let number = number
        command("queue.purge", AMQP_QUEUE_PURGE_OK_METHOD) { state in
            let arena = Arena()
            defer { withExtendedLifetime(arena) {} }
            var purge = amqp_queue_purge_t()
            purge.queue = arena.bytes(queue)
            return amqp_send_method(state, number, AMQP_QUEUE_PURGE_METHOD, &purge)
        } done: { result in
            done(result.map(Self.count))
        }
    }

    /// Declares an exchange, or with `passive` asks whether it exists.
    public func declareExchange(
        _ name: String,
        kind: ExchangeKind = .direct,
        passive: Bool = false,
        durable: Bool = true,
        arguments: [String: RabbitValue] = [:],
        done: @escaping (Result<Void, RabbitError>) -> Void
    ) {
        loop.preconditionOnLoop()
        guard accept([name], arguments, done) else { return }
        let number = number
        command("exchange.declare", AMQP_EXCHANGE_DECLARE_OK_METHOD) { state in
            let arena = Arena()
            defer { withExtendedLifetime(arena) {} }
            var declare = amqp_exchange_declare_t()
            declare.exchange = arena.bytes(name)
            declare.type = arena.bytes(kind.rawValue)
            declare.passive = passive ? 1 : 0
            declare.durable = durable ? 1 : 0
            declare.arguments = arena.table(arguments)
            return amqp_send_method(state, number, AMQP_EXCHANGE_DECLARE_METHOD, &declare)
        } done: { result in
            done(result.map { _ in })
        }
    }

    /// Deletes an exchange. Deleting one that does not exist succeeds.
    public func deleteExchange(_ name: String, done: @escaping (Result<Void, RabbitError>) -> Void) {
        loop.preconditionOnLoop()
        guard accept([name], [:], done) else { return }
        let number = number
        command("exchange.delete", AMQP_EXCHANGE_DELETE_OK_METHOD) { state in
            let arena = Arena()
            defer { withExtendedLifetime(arena) {} }
            var delete = amqp_exchange_delete_t()
            delete.exchange = arena.bytes(name)
            return amqp_send_method(state, number, AMQP_EXCHANGE_DELETE_METHOD, &delete)
        } done: { result in
            done(result.map { _ in })
        }
    }

    /// Binds a queue to an exchange.
    public func bindQueue(
        _ queue: String,
        to exchange: String,
        routingKey: String,
        arguments: [String: RabbitValue] = [:],
        done: @escaping (Result<Void, RabbitError>) -> Void
    ) {
        loop.preconditionOnLoop()
        guard accept([queue, exchange, routingKey], arguments, done) else { return }
        let number = number
        command("queue.bind", AMQP_QUEUE_BIND_OK_METHOD) { state in
            let arena = Arena()
            defer { withExtendedLifetime(arena) {} }
            var bind = amqp_queue_bind_t()
            bind.queue = arena.bytes(queue)
            bind.exchange = arena.bytes(exchange)
            bind.routing_key = arena.bytes(routingKey)
            bind.arguments = arena.table(arguments)
            return amqp_send_method(state, number, AMQP_QUEUE_BIND_METHOD, &bind)
        } done: { result in
            done(result.map { _ in })
        }
    }

    /// Takes a binding away. One that does not exist is gone already: that succeeds.
    public func unbindQueue(
        _ queue: String,
        from exchange: String,
        routingKey: String,
        done: @escaping (Result<Void, RabbitError>) -> Void
    ) {
        loop.preconditionOnLoop()
        guard accept([queue, exchange, routingKey], [:], done) else { return }
        let number = number
        command("queue.unbind", AMQP_QUEUE_UNBIND_OK_METHOD) { state in
            let arena = Arena()
            defer { withExtendedLifetime(arena) {} }
            var unbind = amqp_queue_unbind_t()
            unbind.queue = arena.bytes(queue)
            unbind.exchange = arena.bytes(exchange)
            unbind.routing_key = arena.bytes(routingKey)
            return amqp_send_method(state, number, AMQP_QUEUE_UNBIND_METHOD, &unbind)
        } done: { result in
            done(result.map { _ in })
        }
    }

    // MARK: Closing

    /// Closes the channel; the broker takes back what is unacknowledged. `onClose` is not called.
    public func close(done: @escaping (Result<Void, RabbitError>) -> Void) {
        loop.preconditionOnLoop()
        let number = number
        onClose = nil
        command("channel.close", AMQP_CHANNEL_CLOSE_OK_METHOD) { [weak self] state in
            self?.phase = .closing
            var close = amqp_channel_close_t()
            close.reply_code = 200
            return amqp_send_method(state, number, AMQP_CHANNEL_CLOSE_METHOD, &close)
        } done: { result in
            done(result.map { _ in })
        }
    }

    // MARK: Commands

    func open(_ done: @escaping (Result<Void, RabbitError>) -> Void) {
        let number = number
        command("channel.open", AMQP_CHANNEL_OPEN_OK_METHOD) { state in
            var open = amqp_channel_open_t()
            return amqp_send_method(state, number, AMQP_CHANNEL_OPEN_METHOD, &open)
        } done: { [weak self] result in
            if case .success = result, self?.phase == .opening { self?.phase = .open }
            done(result.map { _ in })
        }
    }

    private static func count(_ reply: Reply) -> Int {
        if case .count(let count) = reply { return count }
        return 0
    }

    /// Refuses names that AMQP cannot carry, before anything is sent.
    private func accept<Value>(
        _ names: [String],
        _ arguments: [String: RabbitValue],
        _ done: @escaping (Result<Value, RabbitError>) -> Void
    ) -> Bool {
        if names.allSatisfy({ $0.utf8.count <= 255 }), Self.fits(arguments) { return true }
        loop.schedule(after: .zero) {
            done(.failure(RabbitError(.invalidArgument, "a name or an argument is too long for AMQP")))
        }
        return false
    }

    private func command(
        _ name: String,
        _ answer: amqp_method_number_t,
        _ send: @escaping (amqp_connection_state_t) -> Int32,
        done: @escaping (Result<Reply, RabbitError>) -> Void
    ) {
        guard let link, phase == .open || phase == .opening else {
            let error = closeError ?? RabbitError(.notConnected, "\(name): the channel is closed")
            loop.schedule(after: .zero) { done(.failure(error)) }
            return
        }
        let state = link.state
        commands.append(Command(name: name, answer: answer, send: { send(state) }, done: done))
        if commands.count == 1 { startCommand() }
    }

    private func startCommand() {
        guard let link, let command = commands.first else { return }
        commandDeadline = ContinuousClock.now.advanced(by: link.configuration.commandTimeout)
        link.send(command.send)
    }

    private func answered(_ reply: Reply) {
        let command = commands.removeFirst()
        commandDeadline = nil
        // Started first: `done` may give the next command, which must queue behind the ones that wait.
        startCommand()
        command.done(.success(reply))
    }

    /// What is late on this channel, as the error that ends the connection: its state is not known any more.
    func overdue(at now: ContinuousClock.Instant) -> RabbitError? {
        if let deadline = commandDeadline, deadline < now, let command = commands.first {
            return RabbitError(.timedOut, "\(command.name): no answer from the broker in time")
        }
        if assembler.phase != .idle, let link, incomingSince.advanced(by: link.configuration.commandTimeout) < now {
            return RabbitError(.timedOut, "the rest of a message did not come in time")
        }
        return nil
    }

    // MARK: Frames

    func received(_ frame: inout amqp_frame_t) throws(MessageAssembler.Violation) {
        switch Int32(frame.frame_type) {
        case AMQP_FRAME_METHOD:
            try received(method: frame.payload.method)
        case AMQP_FRAME_HEADER:
            guard phase == .open else { return }
            if case .none = incoming {
                throw MessageAssembler.Violation(reason: "a content header without a message")
            }
            readProperties(frame)
            if let body = try assembler.header(bodySize: frame.payload.properties.body_size) { completed(body) }
        case AMQP_FRAME_BODY:
            guard phase == .open else { return }
            let fragment = frame.payload.body_fragment
            let bytes = UnsafeRawBufferPointer(start: fragment.bytes, count: fragment.len)
            if let body = try assembler.fragment(bytes) { completed(body) }
        default:
            throw MessageAssembler.Violation(reason: "a frame of type \(frame.frame_type)")
        }
    }

    private func received(method: amqp_method_t) throws(MessageAssembler.Violation) {
        // Everything that is needed is copied out: the frame's memory is reused after this turn.
        func decoded<Method>(_ type: Method.Type) -> Method {
            method.decoded.assumingMemoryBound(to: type).pointee
        }
        if phase == .closing, method.id != AMQP_CHANNEL_CLOSE_OK_METHOD, method.id != AMQP_CHANNEL_CLOSE_METHOD {
            return
        }
        switch method.id {
        case AMQP_BASIC_DELIVER_METHOD:
            try assembler.begin()
            let deliver = decoded(amqp_basic_deliver_t.self)
            keepNames(exchange: deliver.exchange, routingKey: deliver.routing_key)
            incoming = .delivery(
                tag: deliver.delivery_tag,
                redelivered: deliver.redelivered != 0,
                consumer: consumers.firstIndex { deliver.consumer_tag.equals($0.tag) }
            )
        case AMQP_BASIC_RETURN_METHOD:
            try assembler.begin()
            let returned = decoded(amqp_basic_return_t.self)
            keepNames(exchange: returned.exchange, routingKey: returned.routing_key)
            incoming = .returned(code: returned.reply_code, text: returned.reply_text.text)
        case AMQP_BASIC_ACK_METHOD:
            let ack = decoded(amqp_basic_ack_t.self)
            onConfirm?(ack.delivery_tag, ack.multiple != 0, true)
        case AMQP_BASIC_NACK_METHOD:
            let nack = decoded(amqp_basic_nack_t.self)
            onConfirm?(nack.delivery_tag, nack.multiple != 0, false)
        case AMQP_BASIC_CANCEL_METHOD:
            let cancel = decoded(amqp_basic_cancel_t.self)
            guard let index = consumers.firstIndex(where: { cancel.consumer_tag.equals($0.tag) }) else { return }
            let consumer = consumers.remove(at: index)
            consumer.onCancel()
        case AMQP_CHANNEL_CLOSE_METHOD:
            let close = decoded(amqp_channel_close_t.self)
            closedByBroker(
                RabbitError(
                    .channelClosed,
                    "the broker refused: \(close.reply_text.text)",
                    replyCode: close.reply_code
                )
            )
        case AMQP_CHANNEL_FLOW_METHOD:
            guard let link else { return }
            let active = decoded(amqp_channel_flow_t.self).active
            let state = link.state
            let number = number
            link.send {
                var answer = amqp_channel_flow_ok_t(active: active)
                return amqp_send_method(state, number, AMQP_CHANNEL_FLOW_OK_METHOD, &answer)
            }
        default:
            guard let command = commands.first, command.answer == method.id else {
                throw MessageAssembler.Violation(reason: "an answer that nobody asked for (\(method.id))")
            }
            switch method.id {
            case AMQP_QUEUE_DECLARE_OK_METHOD:
                let declared = decoded(amqp_queue_declare_ok_t.self)
                answered(
                    .queue(
                        QueueState(
                            name: declared.queue.text,
                            messages: Int(declared.message_count),
                            consumers: Int(declared.consumer_count)
                        )
                    )
                )
            case AMQP_QUEUE_DELETE_OK_METHOD:
                answered(.count(Int(decoded(amqp_queue_delete_ok_t.self).message_count)))
            case AMQP_QUEUE_PURGE_OK_METHOD:
                answered(.count(Int(decoded(amqp_queue_purge_ok_t.self).message_count)))
            case AMQP_CHANNEL_CLOSE_OK_METHOD:
                finishClosing()
            default:
                answered(.plain)
            }
        }
    }

    private func keepNames(exchange: amqp_bytes_t, routingKey: amqp_bytes_t) {
        if !exchange.equals(self.exchange) { self.exchange = exchange.text }
        if !routingKey.equals(self.routingKey) { self.routingKey = routingKey.text }
        incomingSince = loop.now
    }

    private func readProperties(_ frame: amqp_frame_t) {
        contentType = nil
        messageID = nil
        deliveryCount = 0
        deathCount = 0
        firstDeathQueue = nil
        guard frame.payload.properties.class_id == UInt16(AMQP_BASIC_CLASS) else { return }
        let values = frame.payload.properties.decoded.assumingMemoryBound(to: amqp_basic_properties_t.self)
        let flags = Int32(bitPattern: values.pointee._flags)
        if flags & AMQP_BASIC_CONTENT_TYPE_FLAG != 0 {
            if !values.pointee.content_type.equals(usualContentType) {
                usualContentType = values.pointee.content_type.text
            }
            contentType = usualContentType
        }
        if flags & AMQP_BASIC_MESSAGE_ID_FLAG != 0 { messageID = values.pointee.message_id.text }
        if flags & AMQP_BASIC_HEADERS_FLAG != 0 {
            let headers = values.pointee.headers
            deliveryCount = Int(clamping: headers.first("x-delivery-count")?.integer ?? 0)
            for death in headers.first("x-death")?.array ?? UnsafeBufferPointer(start: nil, count: 0) {
                deathCount += Int(clamping: max(0, death.table?.first("count")?.integer ?? 1)) & 0xFFFF_FFFF
            }
            firstDeathQueue = headers.first("x-first-death-queue")?.string
        }
    }

    private func completed(_ body: [UInt8]) {
        let message = incoming
        incoming = .none
        switch message {
        case .none:
            break
        case .delivery(let tag, let redelivered, let consumer):
            // A consumer that the broker cancelled, or a tag that is not ours: the delivery stays unacknowledged and
            // returns with the channel.
            guard let consumer, consumer < consumers.count else { return }
            consumers[consumer].onDelivery(
                RabbitDelivery(
                    tag: tag,
                    redelivered: redelivered,
                    exchange: exchange,
                    routingKey: routingKey,
                    contentType: contentType,
                    messageID: messageID,
                    deliveryCount: deliveryCount,
                    deathCount: deathCount,
                    firstDeathQueue: firstDeathQueue,
                    bodySize: assembler.bodySize,
                    body: body
                )
            )
        case .returned(let code, let text):
            onReturn?(
                RabbitReturn(
                    replyCode: code,
                    replyText: text,
                    exchange: exchange,
                    routingKey: routingKey,
                    messageID: messageID
                )
            )
        }
    }

    // MARK: The end

    private func closedByBroker(_ error: RabbitError) {
        guard let link else { return }
        let state = link.state
        let number = number
        link.send {
            var answer = amqp_channel_close_ok_t()
            return amqp_send_method(state, number, AMQP_CHANNEL_CLOSE_OK_METHOD, &answer)
        }
        // With our own close on the way its answer is still to come: the number stays taken until the connection ends.
        if phase != .closing { link.release(self) }
        end(error)
    }

    private func finishClosing() {
        link?.release(self)
        let command = commands.removeFirst()
        end(RabbitError(.closed, "the channel is closed"))
        command.done(.success(.plain))
    }

    func linkEnded(_ error: RabbitError) { end(error) }

    private func end(_ error: RabbitError) {
        guard phase != .closed else { return }
        phase = .closed
        closeError = error
        link = nil
        commandDeadline = nil
        consumers = []
        let failed = commands
        let notify = onClose
        commands = []
        onClose = nil
        onConfirm = nil
        onReturn = nil
        for command in failed { command.done(.failure(error)) }
        notify?(error)
    }
}

/// Runs `body` with the text's bytes, which live as long as the call.
private func withBytes<Result>(_ text: String, _ body: (amqp_bytes_t) -> Result) -> Result {
    var text = text
    return text.withUTF8 { buffer in
        body(amqp_bytes_t(len: buffer.count, bytes: UnsafeMutableRawPointer(mutating: buffer.baseAddress)))
    }
}
