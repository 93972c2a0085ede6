internal import CPlatform

/// Puts the frames of one channel together to deliveries and returned messages. Everything is copied out: a frame's memory is
/// reused after the turn.
struct MessageReader {
    enum Message {
        /// `consumer`: which of the channel's consumers it is for; nil for none of ours.
        case delivery(RabbitDelivery, consumer: Int?)
        case returned(RabbitReturn)
    }

    private enum Incoming {
        case none
        case delivery(tag: UInt64, redelivered: Bool, consumer: Int?)
        case returned(code: UInt16, text: String)
    }

    private var assembler: MessageAssembler
    private var incoming = Incoming.none
    private var since: ContinuousClock.Instant
    private var contentType: String?
    private var messageID: String?
    private var deliveryCount = 0
    private var deathCount = 0
    private var firstDeathQueue: String?
    // Kept from message to message: a queue's messages mostly share them, and a String costs an allocation.
    private var exchange = ""
    private var routingKey = ""
    private var usualContentType = "application/json"

    /// - Parameter limit: bytes of a body that are kept.
    init(limit: Int, at now: ContinuousClock.Instant) {
        assembler = MessageAssembler(limit: limit)
        since = now
    }

    /// Since when the rest of a message is waited for; nil when none is coming in.
    var waitingSince: ContinuousClock.Instant? { assembler.phase == .idle ? nil : since }

    mutating func begin(
        _ deliver: amqp_basic_deliver_t,
        consumer: Int?,
        at now: ContinuousClock.Instant
    ) throws(MessageAssembler.Violation) {
        try assembler.begin()
        unsafe keepNames(exchange: deliver.exchange, routingKey: deliver.routing_key, now)
        incoming = unsafe .delivery(
            tag: deliver.delivery_tag,
            redelivered: deliver.redelivered != 0,
            consumer: consumer
        )
    }

    mutating func begin(
        _ returned: amqp_basic_return_t,
        at now: ContinuousClock.Instant
    ) throws(MessageAssembler.Violation) {
        try assembler.begin()
        unsafe keepNames(exchange: returned.exchange, routingKey: returned.routing_key, now)
        incoming = unsafe .returned(code: returned.reply_code, text: returned.reply_text.text)
    }

    private mutating func keepNames(
        exchange: amqp_bytes_t,
        routingKey: amqp_bytes_t,
        _ now: ContinuousClock.Instant
    ) {
        if unsafe !exchange.equals(self.exchange) { self.exchange = unsafe exchange.text }
        if unsafe !routingKey.equals(self.routingKey) { self.routingKey = unsafe routingKey.text }
        since = now
    }

    /// Returns the message if it has no body.
    mutating func header(_ frame: BrokerFrame) throws(MessageAssembler.Violation) -> Message? {
        if case .none = incoming {
            throw MessageAssembler.Violation(reason: "a content header without a message")
        }
        readProperties(frame)
        return try assembler.header(bodySize: frame.bodySize).flatMap { completed($0) }
    }

    /// Returns the message if that was the last part of it.
    mutating func body(_ frame: BrokerFrame) throws(MessageAssembler.Violation) -> Message? {
        try unsafe assembler.fragment(frame.fragment).flatMap { completed($0) }
    }

    private mutating func readProperties(_ frame: BrokerFrame) {
        contentType = nil
        messageID = nil
        deliveryCount = 0
        deathCount = 0
        firstDeathQueue = nil
        guard let values = unsafe frame.properties?.pointee else { return }
        let flags = unsafe Int32(bitPattern: values._flags)
        if flags & AMQP_BASIC_CONTENT_TYPE_FLAG != 0 {
            if unsafe !values.content_type.equals(usualContentType) {
                usualContentType = unsafe values.content_type.text
            }
            contentType = usualContentType
        }
        if flags & AMQP_BASIC_MESSAGE_ID_FLAG != 0 { messageID = unsafe values.message_id.text }
        if flags & AMQP_BASIC_HEADERS_FLAG != 0 {
            let headers = unsafe values.headers
            deliveryCount = unsafe Int(clamping: headers.first("x-delivery-count")?.integer ?? 0)
            unsafe headers.first("x-death")?.array?.forEach { death in
                unsafe deathCount += Int(clamping: max(0, death.table?.first("count")?.integer ?? 1)) & 0xFFFF_FFFF
            }
            firstDeathQueue = unsafe headers.first("x-first-death-queue")?.string
        }
    }

    private mutating func completed(_ body: [UInt8]) -> Message? {
        defer { incoming = .none }
        switch incoming {
        case .none: return nil
        case .delivery(let tag, let redelivered, let consumer):
            let delivery = RabbitDelivery(
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
            return .delivery(delivery, consumer: consumer)
        case .returned(let code, let text):
            return .returned(
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
}
