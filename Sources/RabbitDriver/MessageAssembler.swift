/// Puts a message together from its method, header and body frames, for one channel.
///
/// Phases: idle → header (a deliver or return method has come) → body (unless it is empty) → idle. No I/O, no clock.
struct MessageAssembler {
    enum Phase: Hashable {
        /// No message is under way. Exits: header.
        case idle
        /// The method has come. Exits: body, idle (empty body).
        case header
        /// The header has come. Exits: idle.
        case body
    }

    /// The broker broke the protocol; the connection cannot be trusted any more.
    struct Violation: Error, Hashable {
        let reason: String
    }

    private(set) var phase = Phase.idle
    private(set) var bodySize: UInt64 = 0
    private var received: UInt64 = 0
    private var body: [UInt8] = []
    /// Bytes of a body that are kept; the rest is counted and dropped.
    let limit: Int

    init(limit: Int) { self.limit = limit }

    mutating func begin() throws(Violation) {
        guard phase == .idle else { throw Violation(reason: "a message began before the last one was complete") }
        phase = .header
    }

    /// - Returns: the body, when the message is complete already.
    mutating func header(bodySize: UInt64) throws(Violation) -> [UInt8]? {
        guard phase == .header else { throw Violation(reason: "a content header without a message") }
        self.bodySize = bodySize
        received = 0
        guard bodySize > 0 else {
            phase = .idle
            return []
        }
        phase = .body
        return nil
    }

    /// - Returns: the body, when this was its last part.
    mutating func fragment(_ bytes: UnsafeRawBufferPointer) throws(Violation) -> [UInt8]? {
        guard phase == .body else { throw Violation(reason: "a body frame without a header") }
        // The sum cannot overflow: `received` is at most `bodySize`.
        guard UInt64(bytes.count) <= bodySize - received else {
            throw Violation(reason: "a body longer than its header said")
        }
        let isWhole = received == 0 && UInt64(bytes.count) == bodySize
        received += UInt64(bytes.count)
        if isWhole, bytes.count <= limit {
            phase = .idle
            return unsafe [UInt8](bytes)
        }
        if body.isEmpty {
            // What the header promises is reserved only within the limit.
            body.reserveCapacity(Int(min(bodySize, UInt64(limit))))
        }
        unsafe body.append(contentsOf: bytes.prefix(limit - body.count))
        guard received == bodySize else { return nil }
        phase = .idle
        defer { body = [] }
        return body
    }
}
