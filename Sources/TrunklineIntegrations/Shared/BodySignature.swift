package import TrunklineCore

/// HMAC-SHA-256 in a header, as most senders sign: what differs is where it stands, how it is written, and what is signed.
package struct BodySignature: Sendable, Hashable {
    package enum Encoding: String, Sendable, Hashable, CaseIterable {
        case hex, base64
    }

    package enum Signed: Sendable, Hashable {
        /// The raw bytes alone: a repeat cannot be told from a replay, so that only the event's key keeps it away.
        case body
        /// A time in seconds since 1970, a dot, the raw bytes.
        case timeAndBody(header: String)
    }

    /// Either way, when a time is signed.
    package static let window: Duration = .seconds(300)

    /// In lower case.
    let header: String
    let prefix: String
    let encoding: Encoding
    let signed: Signed

    package init(header: String, prefix: String = "", _ encoding: Encoding, signed: Signed = .body) {
        self.header = header
        self.prefix = prefix
        self.encoding = encoding
        self.signed = signed
    }

    /// Holds a request against every secret.
    package func verify(_ request: ReceivedRequest, _ secrets: SourceSecrets, now: Timestamp) throws(SourceRefusal) {
        let text = try request.only(header)
        guard !secrets.values.isEmpty else { throw SourceRefusal(.unconfigured) }
        guard text.hasPrefix(prefix) else { throw SourceRefusal(.malformed, header: header) }
        let code = try Self.code(text.dropFirst(prefix.count), encoding, header: header)
        var parts = [request.body]
        if case .timeAndBody(let timeHeader) = signed {
            let time = try request.only(timeHeader)
            try SignedTime.check(time, now: now, window: Self.window, header: timeHeader)
            parts.insert(Array((time + ".").utf8), at: 0)
        }
        try Self.check(code, of: parts, secrets, header: header)
    }

    /// The 32 bytes of a signature's text.
    static func code(_ text: Substring, _ encoding: Encoding, header: String) throws(SourceRefusal) -> [UInt8] {
        let code =
            switch encoding {
            case .hex: Digest.bytes(hex: text.utf8)
            case .base64: Base64.decode(text.utf8)
            }
        guard let code, code.count == 32 else { throw SourceRefusal(.malformed, header: header) }
        return code
    }

    static func check(_ code: [UInt8], of parts: [[UInt8]], _ secrets: SourceSecrets, header: String)
        throws(SourceRefusal)
    {
        // Every secret is tried, so that the time does not tell which one it was.
        var isRight = false
        for secret in secrets.values where Digest.isHMACSHA256(code, of: parts, key: secret) { isRight = true }
        guard isRight else { throw SourceRefusal(.forged, header: header) }
    }
}

/// The time that a sender signs along with its bytes.
enum SignedTime {
    /// - Parameters:
    ///   - text: whole seconds since 1970, or whole milliseconds.
    ///   - window: either way: a clock that is ahead is as wrong as one that is behind.
    static func check(
        _ text: some StringProtocol,
        milliseconds: Bool = false,
        now: Timestamp,
        window: Duration,
        header: String
    ) throws(SourceRefusal) {
        // More digits are beyond every clock, and would overflow.
        guard (1...(milliseconds ? 14 : 11)).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int64(text)
        else { throw SourceRefusal(.malformed, header: header) }
        let signed = Timestamp(microseconds: number * (milliseconds ? 1_000 : 1_000_000))
        let difference = now - signed
        guard difference <= window, difference >= .zero - window else {
            throw SourceRefusal(.stale, header: header)
        }
    }
}

/// A secret that a sender repeats as it is, in a header or in its body.
enum SharedSecret {
    static func check(_ presented: [UInt8], _ secrets: SourceSecrets, header: String?) throws(SourceRefusal) {
        guard !secrets.values.isEmpty else { throw SourceRefusal(.unconfigured) }
        var isRight = false
        for secret in secrets.values where Digest.areSameSecret(presented, secret) { isRight = true }
        guard isRight else { throw SourceRefusal(.forged, header: header) }
    }

    /// `Authorization: Bearer …`, the scheme in any case.
    static func bearer(_ request: ReceivedRequest) throws(SourceRefusal) -> [UInt8] {
        let value = try request.only("authorization")
        let parts = value.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw SourceRefusal(.malformed, header: "authorization")
        }
        return Array(parts[1].utf8)
    }
}
