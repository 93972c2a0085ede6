/// The parts of an AMQP URL, decoded; what they mean together is for ``RabbitConfiguration`` to say.
struct RabbitURL {
    /// Whether it asks for TLS.
    let isSecure: Bool
    let user: String
    let password: String
    let host: String
    let port: Int32
    let virtualHost: String
    /// As written.
    let query: Substring

    /// - Throws: `invalidConfiguration`, never naming user or password.
    init(_ text: String) throws(RabbitError) {
        var rest = Substring(text)
        if rest.hasPrefix("amqp://") {
            isSecure = false
            rest = rest.dropFirst(7)
        } else if rest.hasPrefix("amqps://") {
            isSecure = true
            rest = rest.dropFirst(8)
        } else {
            throw Self.invalid("it must begin with amqp:// or amqps://")
        }
        query = Self.cut(&rest, at: "?")
        let path = Self.cut(&rest, at: "/")
        // An unencoded "/" in a password would make the user the host.
        guard !path.contains("@"), !query.contains("@") else {
            throw Self.invalid("a / ? or @ in user or password must be percent-encoded")
        }
        (user, password) = try Self.takeCredentials(&rest)
        let (host, portText) = try Self.place(rest)
        guard !host.isEmpty, !host.contains("\0") else { throw Self.invalid("it names no host") }
        self.host = host
        if let portText {
            guard let number = UInt16(portText), number > 0 else { throw Self.invalid("the port must be 1…65535") }
            port = Int32(number)
        } else {
            port = isSecure ? 5671 : 5672
        }
        let decoded = try Self.decoded(path, "the virtual host")
        virtualHost = decoded.isEmpty ? "/" : decoded
        // A C string ends at the first zero byte: "user\0x" would log in as "user".
        guard !user.contains("\0"), !password.contains("\0"), !virtualHost.contains("\0") else {
            throw Self.invalid("a zero byte in user, password or virtual host")
        }
    }

    static func invalid(_ reason: String) -> RabbitError { RabbitError(.invalidConfiguration, "AMQP URL: \(reason)") }

    /// Takes away what begins at the first `mark`; returns what comes after it.
    private static func cut(_ rest: inout Substring, at mark: Character) -> Substring {
        guard let place = rest.firstIndex(of: mark) else { return "" }
        defer { rest = rest[..<place] }
        return rest[rest.index(after: place)...]
    }

    private static func takeCredentials(
        _ rest: inout Substring
    ) throws(RabbitError) -> (user: String, password: String) {
        // The last "@" ends the credentials: an unencoded one in a password must not send its rest to a name server.
        guard let at = rest.lastIndex(of: "@") else { return ("guest", "guest") }
        let credentials = rest[..<at]
        rest = rest[rest.index(after: at)...]
        guard let colon = credentials.firstIndex(of: ":") else {
            return (try decoded(credentials, "the user"), "guest")
        }
        return (
            try decoded(credentials[..<colon], "the user"),
            try decoded(credentials[credentials.index(after: colon)...], "the password")
        )
    }

    private static func place(_ rest: Substring) throws(RabbitError) -> (host: String, port: Substring?) {
        guard rest.hasPrefix("[") else {
            let colon = rest.firstIndex(of: ":")
            let host = try decoded(rest[..<(colon ?? rest.endIndex)], "the host")
            return (host, colon.map { rest[rest.index(after: $0)...] })
        }
        guard let end = rest.firstIndex(of: "]") else { throw invalid("an IPv6 address ends with ]") }
        let host = String(rest[rest.index(after: rest.startIndex)..<end])
        let tail = rest[rest.index(after: end)...]
        guard tail.isEmpty || tail.hasPrefix(":") else { throw invalid("after the host comes :port or /vhost") }
        return (host, tail.isEmpty ? nil : tail.dropFirst())
    }

    private static func decoded(_ text: Substring, _ name: String) throws(RabbitError) -> String {
        guard let decoded = percentDecoded(text) else { throw invalid("\(name) is not valid percent-encoding") }
        return decoded
    }

    static func percentDecoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var iterator = text.utf8.makeIterator()
        func digit(_ byte: UInt8?) -> UInt8? {
            switch byte {
            case .some(let byte) where (0x30...0x39).contains(byte): return byte - 0x30
            case .some(let byte) where (0x41...0x46).contains(byte): return byte - 0x37
            case .some(let byte) where (0x61...0x66).contains(byte): return byte - 0x57
            default: return nil
            }
        }
        while let byte = iterator.next() {
            if byte == UInt8(ascii: "%") {
                guard let high = digit(iterator.next()), let low = digit(iterator.next()) else { return nil }
                bytes.append(high << 4 | low)
            } else {
                bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// What the query parameters say.
    struct Settings {
        private(set) var tls = RabbitConfiguration.TLS()
        private(set) var allowsPlaintext = false
        private(set) var heartbeat: Duration?
        private(set) var connectTimeout: Duration?

        init(_ query: Substring, isSecure: Bool) throws(RabbitError) {
            for parameter in query.split(separator: "&") {
                let parts = parameter.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2, let value = RabbitURL.percentDecoded(parts[1]), !value.isEmpty else {
                    throw RabbitURL.invalid("the query parameter \(parts[0]) has no value")
                }
                try read(parts[0], value, isSecure)
            }
            if !isSecure, tls != RabbitConfiguration.TLS() {
                throw RabbitURL.invalid("certificate files need amqps://")
            }
            guard (tls.certificateFile == nil) == (tls.keyFile == nil) else {
                throw RabbitURL.invalid("certfile and keyfile come together")
            }
        }

        private mutating func read(_ name: Substring, _ value: String, _ isSecure: Bool) throws(RabbitError) {
            switch name {
            case "cacertfile": tls.authorityFile = value
            case "certfile": tls.certificateFile = value
            case "keyfile": tls.keyFile = value
            case "verify":
                switch value {
                case "peer", "verify_peer": tls.verifiesPeer = true
                case "none", "verify_none": tls.verifiesPeer = false
                default: throw RabbitURL.invalid("verify must be peer or none")
                }
                guard isSecure else { throw RabbitURL.invalid("verify needs amqps://") }
            case "plaintext":
                guard value == "allowed" else { throw RabbitURL.invalid("plaintext must be allowed, or left out") }
                guard !isSecure else { throw RabbitURL.invalid("plaintext needs amqp://") }
                allowsPlaintext = true
            case "heartbeat":
                guard let seconds = Int(value), (1...60).contains(seconds) else {
                    throw RabbitURL.invalid("heartbeat must be 1…60 seconds")
                }
                heartbeat = .seconds(seconds)
            case "connection_timeout":
                guard let milliseconds = Int(value), (1...300_000).contains(milliseconds) else {
                    throw RabbitURL.invalid("connection_timeout must be 1…300000 milliseconds")
                }
                connectTimeout = .milliseconds(milliseconds)
            default:
                throw RabbitURL.invalid("unknown query parameter \(name)")
            }
        }
    }
}
