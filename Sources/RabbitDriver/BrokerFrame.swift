internal import CPlatform

/// A frame that has come. It points into the library's memory until ``BrokerState/releaseBuffers()``.
@safe struct BrokerFrame {
    // Safe: what leads to that memory is marked where it is read.
    private let frame: amqp_frame_t

    init(_ frame: amqp_frame_t) { unsafe self.frame = frame }

    /// `AMQP_FRAME_METHOD`, `_HEADER`, `_BODY` or `_HEARTBEAT`, of which the others below depend.
    var type: Int32 { unsafe Int32(frame.frame_type) }
    var channel: Int { unsafe Int(frame.channel) }

    /// Of a method's frame.
    var method: BrokerMethod { unsafe BrokerMethod(frame.payload.method) }

    /// Of a header's frame.
    var bodySize: UInt64 { unsafe frame.payload.properties.body_size }

    /// Of a header's frame; nil when it is not one of a message.
    @unsafe var properties: UnsafePointer<amqp_basic_properties_t>? {
        guard unsafe frame.payload.properties.class_id == UInt16(AMQP_BASIC_CLASS) else { return nil }
        return unsafe UnsafePointer(
            frame.payload.properties.decoded.assumingMemoryBound(to: amqp_basic_properties_t.self)
        )
    }

    /// Of a body's frame.
    @unsafe var fragment: UnsafeRawBufferPointer { unsafe frame.payload.body_fragment.buffer }
    var fragmentSize: Int { unsafe frame.payload.body_fragment.len }
}

/// A method that has come, with the memory of its frame.
@safe struct BrokerMethod {
    private let method: amqp_method_t

    init(_ method: amqp_method_t) { unsafe self.method = method }

    var id: amqp_method_number_t { unsafe method.id }

    /// - Parameter type: the one that belongs to ``id``.
    @unsafe func arguments<Arguments>(_ type: Arguments.Type) -> Arguments {
        unsafe method.decoded.assumingMemoryBound(to: type).pointee
    }
}
