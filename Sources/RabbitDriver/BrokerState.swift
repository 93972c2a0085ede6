internal import CPlatform

/// librabbitmq's state of one connection that has logged in, with the calls that a running connection makes.
@safe struct BrokerState {
    // Safe while nobody calls after `destroy()`: a login has one owner, and a link knows that it has finished.
    private let state: amqp_connection_state_t

    init(_ state: amqp_connection_state_t) { unsafe self.state = state }

    // MARK: Sending; each returns a status of librabbitmq

    func send<Method: BitwiseCopyable>(
        _ method: Method,
        _ id: amqp_method_number_t,
        on channel: UInt16
    ) -> Int32 {
        var method = method
        return unsafe withUnsafeMutablePointer(to: &method) {
            unsafe amqp_send_method(state, channel, id, $0)
        }
    }

    func sendHeartbeat() -> Int32 { unsafe tl_amqp_send_heartbeat(state) }

    func acknowledge(_ tag: UInt64, multiple: Bool, on channel: UInt16) -> Int32 {
        unsafe amqp_basic_ack(state, channel, tag, multiple ? 1 : 0)
    }

    func reject(_ tag: UInt64, requeue: Bool, on channel: UInt16) -> Int32 {
        unsafe amqp_basic_reject(state, channel, tag, requeue ? 1 : 0)
    }

    /// What the bytes and properties point to must live until this returns.
    @unsafe func publish(
        exchange: amqp_bytes_t,
        routingKey: amqp_bytes_t,
        mandatory: Bool,
        properties: inout amqp_basic_properties_t,
        body: amqp_bytes_t,
        on channel: UInt16
    ) -> Int32 {
        unsafe amqp_basic_publish(
            state,
            channel,
            exchange,
            routingKey,
            mandatory ? 1 : 0,
            0,
            &properties,
            body
        )
    }

    // MARK: Receiving

    /// The next frame, if a whole one is there; it points into memory that ``releaseBuffers()`` gives back.
    func nextFrame(_ frame: inout amqp_frame_t) -> Int32 { unsafe tl_amqp_next_frame(state, &frame) }

    /// Whether the library holds frames that it read while it was to do something else.
    var hasQueuedFrames: Bool { unsafe amqp_frames_enqueued(state) != 0 }

    func releaseBuffers() { unsafe amqp_maybe_release_buffers(state) }

    // MARK: The end

    /// Closes the socket and frees everything.
    @discardableResult
    func destroy() -> Int32 { unsafe amqp_destroy_connection(state) }
}
