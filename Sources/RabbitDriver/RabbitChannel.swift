internal import CPlatform
internal import EventLoop

/// One AMQP channel. Loop-bound: every method and callback belongs to the connection's loop.
///
/// A channel does not outlive its connection, and the broker closes it when it refuses a command: then `onClose` comes
/// and whoever needs one opens a new one. Commands are sent one after another; each calls its `done` exactly once,
/// never from inside the call itself.
package final class RabbitChannel {
    /// Options of ``consume(queue:tag:prefetch:options:onDelivery:onCancel:done:)``.
    package struct ConsumeOptions: Sendable, Hashable {
        /// Nobody else may consume from the queue.
        package var isExclusive = false
        /// The broker forgets a message as it sends it.
        package var needsNoAcknowledgement = false
        package var arguments: [String: RabbitValue] = [:]
        package init() {}
    }

    /// A queue as the broker has it.
    package struct QueueState: Sendable, Hashable {
        package let name: String
        /// Messages that are ready for delivery.
        package let messages: Int
        package let consumers: Int
    }

    /// The kinds of exchange.
    package enum ExchangeKind: String, Sendable {
        case direct, fanout, topic, headers
    }

    /// Called once when the channel ends without ``close(done:)``, after every command under way has failed.
    package var onClose: ((RabbitError) -> Void)?
    /// `(tag, multiple, acked)` of every confirm after ``enableConfirms(done:)``; with `multiple`, all up to `tag`.
    package var onConfirm: ((UInt64, Bool, Bool) -> Void)?
    /// A mandatory message came back; its confirm follows.
    package var onReturn: ((RabbitReturn) -> Void)?

    /// The AMQP channel number.
    package let number: UInt16
    /// Whether commands can be given.
    package var isOpen: Bool { phase == .open }
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

    private var link: Link?
    let loop: EventLoop
    private var phase = Phase.opening
    private var closeError: RabbitError?
    private var commands: [Command] = []
    private var commandDeadline: ContinuousClock.Instant?
    private var consumers: [Consumer] = []
    private var confirms = false
    private var published: UInt64 = 0
    private var reader: MessageReader

    init(link: Link, number: UInt16) {
        self.link = link
        self.number = number
        loop = link.loop
        reader = MessageReader(limit: link.configuration.bodyLimit, at: link.loop.now)
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
    package func consume(
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
        // A refusal closes the channel, which answers the consume as well.
        ask(Question("basic.qos", AMQP_BASIC_QOS_METHOD, AMQP_BASIC_QOS_OK_METHOD)) { _ in
            var qos = amqp_basic_qos_t()
            qos.prefetch_count = prefetch
            return qos
        } done: { _ in
        }
        consumers.append(Consumer(tag: tag, onDelivery: onDelivery, onCancel: onCancel))
        unsafe ask(Question("basic.consume", AMQP_BASIC_CONSUME_METHOD, AMQP_BASIC_CONSUME_OK_METHOD)) { arena in
            unsafe amqp_basic_consume_t(
                ticket: 0,
                queue: arena.bytes(queue),
                consumer_tag: arena.bytes(tag),
                no_local: 0,
                no_ack: options.needsNoAcknowledgement ? 1 : 0,
                exclusive: options.isExclusive ? 1 : 0,
                nowait: 0,
                arguments: arena.table(options.arguments)
            )
        } done: { result in
            done(result.map { _ in })
        }
    }

    /// Ends a subscription. What was already on the way is delivered before `done`.
    package func cancel(tag: String, done: @escaping (Result<Void, RabbitError>) -> Void) {
        loop.preconditionOnLoop()
        guard accept([tag], [:], done) else { return }
        unsafe ask(Question("basic.cancel", AMQP_BASIC_CANCEL_METHOD, AMQP_BASIC_CANCEL_OK_METHOD)) { arena in
            unsafe amqp_basic_cancel_t(consumer_tag: arena.bytes(tag), nowait: 0)
        } done: { [weak self] result in
            self?.consumers.removeAll { $0.tag == tag }
            done(result.map { _ in })
        }
    }

    /// Acknowledges every delivery up to and including `tag`. Does nothing on a closed channel: the broker has taken
    /// its deliveries back.
    package func ack(through tag: UInt64) { acknowledge(tag, multiple: true) }

    /// Acknowledges one delivery.
    package func ack(_ tag: UInt64) { acknowledge(tag, multiple: false) }

    /// Gives one delivery back, or drops it into the queue's dead-letter exchange when `requeue` is false.
    package func reject(_ tag: UInt64, requeue: Bool) {
        loop.preconditionOnLoop()
        guard phase == .open, let link else { return }
        link.send { [state = link.state, number] in state.reject(tag, requeue: requeue, on: number) }
    }

    private func acknowledge(_ tag: UInt64, multiple: Bool) {
        loop.preconditionOnLoop()
        guard phase == .open, let link else { return }
        link.send { [state = link.state, number] in state.acknowledge(tag, multiple: multiple, on: number) }
    }

    // MARK: Publishing

    /// Asks the broker to confirm what is published from now on.
    package func enableConfirms(done: @escaping (Result<Void, RabbitError>) -> Void) {
        loop.preconditionOnLoop()
        ask(Question("confirm.select", AMQP_CONFIRM_SELECT_METHOD, AMQP_CONFIRM_SELECT_OK_METHOD)) { _ in
            amqp_confirm_select_t()
        } done: { [weak self] result in
            if case .success = result {
                self?.confirms = true
                self?.published = 0
            }
            done(result.map { _ in })
        }
    }

    /// The link, when a message can be written to it now.
    func linkForPublishing() throws(RabbitError) -> Link {
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
        return link
    }

    /// A message was written: the tag of its confirm, 0 without confirms.
    func nextConfirmTag() -> UInt64 {
        guard confirms else { return 0 }
        published += 1
        return published
    }

    // MARK: Closing

    /// Closes the channel; the broker takes back what is unacknowledged. `onClose` is not called.
    package func close(done: @escaping (Result<Void, RabbitError>) -> Void) {
        loop.preconditionOnLoop()
        onClose = nil
        unsafe ask(Question("channel.close", AMQP_CHANNEL_CLOSE_METHOD, AMQP_CHANNEL_CLOSE_OK_METHOD)) {
            [weak self] _ in
            self?.phase = .closing
            var close = unsafe amqp_channel_close_t()
            unsafe close.reply_code = 200
            return unsafe close
        } done: { result in
            done(result.map { _ in })
        }
    }

    // MARK: Commands

    func open(_ done: @escaping (Result<Void, RabbitError>) -> Void) {
        unsafe ask(Question("channel.open", AMQP_CHANNEL_OPEN_METHOD, AMQP_CHANNEL_OPEN_OK_METHOD)) { _ in
            unsafe amqp_channel_open_t()
        } done: { [weak self] result in
            if case .success = result, self?.phase == .opening { self?.phase = .open }
            done(result.map { _ in })
        }
    }

    /// Refuses names that AMQP cannot carry, before anything is sent.
    func accept<Value>(
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

    /// The one way of asking: sends the method that `make` fills in when its turn comes, and calls `done` with its answer, or
    /// with why there is none. What `make` puts into the arena lives until it is sent.
    func ask<Method: BitwiseCopyable>(
        _ question: Question,
        _ make: @escaping (Arena) -> Method,
        done: @escaping (Result<Reply, RabbitError>) -> Void
    ) {
        guard let link, phase == .open || phase == .opening else {
            let error = closeError ?? RabbitError(.notConnected, "\(question.name): the channel is closed")
            loop.schedule(after: .zero) { done(.failure(error)) }
            return
        }
        let (state, number) = (link.state, number)
        let send: () -> Int32 = {
            let arena = Arena()
            defer { withExtendedLifetime(arena) {} }
            return state.send(make(arena), question.method, on: number)
        }
        commands.append(Command(name: question.name, answer: question.answer, send: send, done: done))
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
        if let since = reader.waitingSince, let link, since.advanced(by: link.configuration.commandTimeout) < now {
            return RabbitError(.timedOut, "the rest of a message did not come in time")
        }
        return nil
    }

    // MARK: Frames

    func received(_ frame: BrokerFrame) throws(MessageAssembler.Violation) {
        switch frame.type {
        case AMQP_FRAME_METHOD:
            try received(method: frame.method)
        case AMQP_FRAME_HEADER:
            guard phase == .open else { return }
            if let message = try reader.header(frame) { completed(message) }
        case AMQP_FRAME_BODY:
            guard phase == .open else { return }
            if let message = try reader.body(frame) { completed(message) }
        default:
            throw MessageAssembler.Violation(reason: "a frame of type \(frame.type)")
        }
    }

    private func received(method: BrokerMethod) throws(MessageAssembler.Violation) {
        // Everything that is needed is copied out: the frame's memory is reused after this turn.
        if phase == .closing, method.id != AMQP_CHANNEL_CLOSE_OK_METHOD, method.id != AMQP_CHANNEL_CLOSE_METHOD {
            return
        }
        switch method.id {
        case AMQP_BASIC_DELIVER_METHOD:
            let deliver = unsafe method.arguments(amqp_basic_deliver_t.self)
            let consumer = consumers.firstIndex { unsafe deliver.consumer_tag.equals($0.tag) }
            try unsafe reader.begin(deliver, consumer: consumer, at: loop.now)
        case AMQP_BASIC_RETURN_METHOD:
            try unsafe reader.begin(method.arguments(amqp_basic_return_t.self), at: loop.now)
        case AMQP_BASIC_ACK_METHOD:
            let ack = unsafe method.arguments(amqp_basic_ack_t.self)
            onConfirm?(ack.delivery_tag, ack.multiple != 0, true)
        case AMQP_BASIC_NACK_METHOD:
            let nack = unsafe method.arguments(amqp_basic_nack_t.self)
            onConfirm?(nack.delivery_tag, nack.multiple != 0, false)
        case AMQP_BASIC_CANCEL_METHOD:
            let cancel = unsafe method.arguments(amqp_basic_cancel_t.self)
            guard let index = consumers.firstIndex(where: { unsafe cancel.consumer_tag.equals($0.tag) }) else { return }
            let consumer = consumers.remove(at: index)
            consumer.onCancel()
        case AMQP_CHANNEL_CLOSE_METHOD:
            let close = unsafe method.arguments(amqp_channel_close_t.self)
            closedByBroker(
                RabbitError(
                    .channelClosed,
                    unsafe "the broker refused: \(close.reply_text.text)",
                    replyCode: unsafe close.reply_code
                )
            )
        case AMQP_CHANNEL_FLOW_METHOD:
            guard let link else { return }
            let active = unsafe method.arguments(amqp_channel_flow_t.self).active
            link.send { [state = link.state, number] in
                state.send(amqp_channel_flow_ok_t(active: active), AMQP_CHANNEL_FLOW_OK_METHOD, on: number)
            }
        default:
            try received(answer: method)
        }
    }

    private func received(answer method: BrokerMethod) throws(MessageAssembler.Violation) {
        guard let command = commands.first, command.answer == method.id else {
            throw MessageAssembler.Violation(reason: "an answer that nobody asked for (\(method.id))")
        }
        switch method.id {
        case AMQP_QUEUE_DECLARE_OK_METHOD:
            let declared = unsafe method.arguments(amqp_queue_declare_ok_t.self)
            unsafe answered(
                .queue(
                    QueueState(
                        name: declared.queue.text,
                        messages: Int(declared.message_count),
                        consumers: Int(declared.consumer_count)
                    )
                )
            )
        case AMQP_QUEUE_DELETE_OK_METHOD:
            unsafe answered(.count(Int(method.arguments(amqp_queue_delete_ok_t.self).message_count)))
        case AMQP_QUEUE_PURGE_OK_METHOD:
            unsafe answered(.count(Int(method.arguments(amqp_queue_purge_ok_t.self).message_count)))
        case AMQP_CHANNEL_CLOSE_OK_METHOD:
            finishClosing()
        default:
            answered(.plain)
        }
    }

    private func completed(_ message: MessageReader.Message) {
        switch message {
        case .delivery(let delivery, let consumer):
            // A consumer that the broker cancelled, or a tag that is not ours: the delivery stays unacknowledged and
            // returns with the channel.
            guard let consumer, consumer < consumers.count else { return }
            consumers[consumer].onDelivery(delivery)
        case .returned(let returned):
            onReturn?(returned)
        }
    }

    // MARK: The end

    private func closedByBroker(_ error: RabbitError) {
        guard let link else { return }
        link.send { [state = link.state, number] in
            state.send(amqp_channel_close_ok_t(), AMQP_CHANNEL_CLOSE_OK_METHOD, on: number)
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
