internal import CPlatform
internal import EventLoop

extension RabbitChannel {
    /// Publishes one message.
    ///
    /// - Returns: the tag of its confirm, 0 without confirms.
    /// - Throws: `blocked`, `busy` (try again at the connection's `onWritable`), `notConnected` (also: the
    ///   channel is closed), `invalidArgument`: nothing was sent. Anything else: it may have been sent.
    package func publish(
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
        let link = try linkForPublishing()
        var values = unsafe Self.values(of: properties)
        var arena: Arena?
        if !properties.headers.isEmpty {
            let headers = Arena()
            unsafe values.headers = headers.table(properties.headers)
            arena = headers
        }
        unsafe withBytes(exchange) { exchange in
            unsafe withBytes(routingKey) { routingKey in
                unsafe withBytes(properties.contentType ?? "") { contentType in
                    unsafe withBytes(properties.messageID ?? "") { messageID in
                        unsafe values.content_type = contentType
                        unsafe values.message_id = messageID
                        unsafe body.withUnsafeBytes { body in
                            link.write {
                                unsafe link.state.publish(
                                    exchange: exchange,
                                    routingKey: routingKey,
                                    mandatory: mandatory,
                                    properties: &values,
                                    body: amqp_bytes_t(body),
                                    on: number
                                )
                            }
                        }
                    }
                }
            }
        }
        withExtendedLifetime(arena) {}
        if let failure = link.failure { throw failure }
        return nextConfirmTag()
    }

    private static func values(of properties: RabbitProperties) -> amqp_basic_properties_t {
        var values = unsafe amqp_basic_properties_t()
        var flags = AMQP_BASIC_DELIVERY_MODE_FLAG
        unsafe values.delivery_mode = properties.isPersistent ? 2 : 1
        if properties.contentType != nil { flags |= AMQP_BASIC_CONTENT_TYPE_FLAG }
        if properties.messageID != nil { flags |= AMQP_BASIC_MESSAGE_ID_FLAG }
        if !properties.headers.isEmpty { flags |= AMQP_BASIC_HEADERS_FLAG }
        unsafe values._flags = amqp_flags_t(flags)
        return unsafe values
    }

    /// Headers must fit into one frame; 64 KiB leaves half of it free. Counted generously.
    static func fits(_ headers: [String: RabbitValue]) -> Bool {
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
}

/// Runs `body` with the text's bytes, which live as long as the call.
private func withBytes<Result>(_ text: String, _ body: (amqp_bytes_t) -> Result) -> Result {
    var text = text
    return text.withUTF8 { unsafe body(amqp_bytes_t(UnsafeRawBufferPointer($0))) }
}
