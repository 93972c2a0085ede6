/// Follows the protocol of one connection as far as the faults need it. No I/O.
struct WireWatch {
    /// What is to be done with the bytes that came.
    enum Sight: Equatable {
        case pass
        /// The armed fault begins with these bytes, which pass.
        case begins
        /// They reach nobody.
        case swallow
        /// What is left of them passes, then the connection is cut; `isNew` when the armed fault strikes by it.
        case cut(isNew: Bool)
    }

    private let speech: FaultProxy.Speech
    private var frames = PostgresFrames()
    /// PostgreSQL: how many replies are swallowed before the cut.
    private var swallowedUntil: Int?
    /// AMQP: bytes of the broker that do not make a whole frame yet.
    private var partial: [UInt8] = []
    private(set) var hasCallInTheAir = false

    init(_ speech: FaultProxy.Speech) { self.speech = speech }

    mutating func saw(_ bytes: inout [UInt8], fromServer: Bool, _ armed: FaultProxy.ArmedFault?) -> Sight {
        switch speech {
        case .postgres: postgres(bytes, fromServer, armed)
        case .amqp: fromServer ? amqp(&bytes, armed) : .pass
        case .http: http(&bytes, fromServer, armed)
        }
    }

    // MARK: PostgreSQL

    private mutating func postgres(_ bytes: [UInt8], _ fromServer: Bool, _ armed: FaultProxy.ArmedFault?) -> Sight {
        guard fromServer else {
            frames.clientSaid(bytes)
            guard swallowedUntil == nil, case .reply(let marker) = armed, Self.contains(bytes, marker) else {
                return .pass
            }
            swallowedUntil = frames.target
            return .begins
        }
        frames.serverSaid(bytes)
        guard let swallowedUntil else { return .pass }
        // ReadyForQuery ends the reply: the transaction is over, and nobody hears of it.
        return frames.answered >= swallowedUntil ? .cut(isNew: false) : .swallow
    }

    private static func contains(_ bytes: [UInt8], _ marker: [UInt8]) -> Bool {
        guard bytes.count >= marker.count, let first = marker.first else { return false }
        return bytes.indices.dropLast(marker.count - 1).contains { start in
            bytes[start] == first && bytes[start..<start + marker.count].elementsEqual(marker)
        }
    }

    // MARK: AMQP

    /// A frame: one byte of type, two of channel, four of size, the payload, one byte of end. The broker's bytes are
    /// frames from the first on.
    private mutating func amqp(_ bytes: inout [UInt8], _ armed: FaultProxy.ArmedFault?) -> Sight {
        partial += bytes
        var whole = 0
        while partial.count - whole >= 7 {
            let size = partial[whole + 3..<whole + 7].reduce(0) { $0 << 8 | Int($1) }
            let end = whole + 8 + size
            guard partial.count >= end else { break }
            switch armed {
            case .confirm where Self.isConfirm(partial[whole..<end]):
                return cut(&bytes, at: whole)
            case .halfFrame where size >= 4:
                return cut(&bytes, at: whole + 8 + size / 2)
            default: break
            }
            whole = end
        }
        bytes = Array(partial[..<whole])
        partial.removeFirst(whole)
        return bytes.isEmpty ? .swallow : .pass
    }

    private mutating func cut(_ bytes: inout [UInt8], at end: Int) -> Sight {
        bytes = Array(partial[..<end])
        partial = []
        return .cut(isNew: true)
    }

    /// A method frame (1) of class basic (60), method ack (80): from a broker that is a publisher confirm.
    private static func isConfirm(_ frame: ArraySlice<UInt8>) -> Bool {
        let at = frame.startIndex
        return frame.count >= 12 && frame[at] == 1 && frame[(at + 7)..<(at + 11)].elementsEqual([0, 60, 0, 80])
    }

    // MARK: HTTP

    /// One call at a time on a connection: what the server says ends the call.
    private mutating func http(_ bytes: inout [UInt8], _ fromServer: Bool, _ armed: FaultProxy.ArmedFault?) -> Sight {
        guard fromServer else {
            if bytes.starts(with: Array("POST ".utf8)) { hasCallInTheAir = true }
            return .pass
        }
        defer { hasCallInTheAir = false }
        if hasCallInTheAir, case .answer = armed {
            bytes = []
            return .cut(isNew: true)
        }
        return .pass
    }
}
