internal import CPlatform

/// How to reach a broker, checked when it is made.
package struct RabbitConfiguration: Sendable, CustomStringConvertible {
    /// TLS settings of an `amqps://` URL.
    struct TLS: Sendable, Hashable {
        var authorityFile: String?
        var certificateFile: String?
        var keyFile: String?
        var verifiesPeer = true
    }

    let host: String
    let port: Int32
    let virtualHost: String
    let user: String
    let password: String
    let tls: TLS?
    /// Whether the broker is on this machine: localhost, 127.0.0.0/8 or ::1.
    package let isLocal: Bool

    /// Shown in the broker's list of connections.
    package var connectionName: String
    /// AMQP heartbeat; whole seconds, 1…60. A connection that heard nothing for two of them is cut off. Default 5 s.
    package var heartbeat: Duration
    /// For resolving, connecting and TLS. Default 5 s.
    package var connectTimeout: Duration = .seconds(5)
    /// For the AMQP login once connected. Default 10 s.
    package var loginTimeout: Duration = .seconds(10)
    /// For every command that has an answer, and for the rest of a message whose beginning has come. Default 10 s.
    package var commandTimeout: Duration = .seconds(10)
    /// A single call into librabbitmq that lasts longer is broken by the watchdog. Default 10 s.
    package var hungCallLimit: Duration = .seconds(10)
    /// Highest number of open channels; 1…2,047, which is also the server's usual limit. The lower of both counts.
    package var channelLimit: Int32 = 2_047
    /// Longer bodies are delivered cut to this size, with ``RabbitDelivery/isTruncated`` set. Default 16 MiB.
    package var bodyLimit: Int = 16 << 20
    /// Whether a lost or failed connection is tried again (full jitter, 0.1…15 s) until `close()`. Default true.
    package var reconnects = true

    /// Reads `amqp://user:password@host:port/vhost` or `amqps://…`.
    ///
    /// Every part but the host may be left out (`guest`, `guest`, 5672 or 5671, `/`) and may be percent-encoded. Query
    /// parameters: `cacertfile`, `certfile`, `keyfile`, `verify=peer|none` (default `peer`, which also checks the host
    /// name; without `cacertfile` the system's authorities count), `heartbeat` (seconds), `connection_timeout`
    /// (milliseconds), `plaintext=allowed` (without it `amqp://` leads only to this machine).
    ///
    /// - Throws: `invalidConfiguration`, never naming user or password.
    package init(url: String, connectionName: String, heartbeat: Duration = .seconds(5)) throws(RabbitError) {
        self.connectionName = connectionName
        self.heartbeat = heartbeat

        func invalid(_ reason: String) -> RabbitError { RabbitError(.invalidConfiguration, "AMQP URL: \(reason)") }

        var rest = Substring(url)
        let secure: Bool
        if rest.hasPrefix("amqp://") {
            secure = false
            rest = rest.dropFirst(7)
        } else if rest.hasPrefix("amqps://") {
            secure = true
            rest = rest.dropFirst(8)
        } else {
            throw invalid("it must begin with amqp:// or amqps://")
        }

        var query: Substring = ""
        if let mark = rest.firstIndex(of: "?") {
            query = rest[rest.index(after: mark)...]
            rest = rest[..<mark]
        }
        var path: Substring = ""
        if let slash = rest.firstIndex(of: "/") {
            path = rest[rest.index(after: slash)...]
            rest = rest[..<slash]
        }
        // An unencoded "/" in a password would make the user the host.
        guard !path.contains("@"), !query.contains("@") else {
            throw invalid("a / ? or @ in user or password must be percent-encoded")
        }

        var user = "guest"
        var password = "guest"
        // The last "@" ends the credentials: an unencoded one in a password must not send its rest to a name server.
        if let at = rest.lastIndex(of: "@") {
            let credentials = rest[..<at]
            rest = rest[rest.index(after: at)...]
            let colon = credentials.firstIndex(of: ":")
            guard let decodedUser = Self.percentDecoded(credentials[..<(colon ?? credentials.endIndex)]) else {
                throw invalid("the user is not valid percent-encoding")
            }
            user = decodedUser
            if let colon {
                guard let decoded = Self.percentDecoded(credentials[credentials.index(after: colon)...]) else {
                    throw invalid("the password is not valid percent-encoding")
                }
                password = decoded
            }
        }

        var portText: Substring?
        if rest.hasPrefix("[") {
            guard let end = rest.firstIndex(of: "]") else { throw invalid("an IPv6 address ends with ]") }
            self.host = String(rest[rest.index(after: rest.startIndex)..<end])
            let tail = rest[rest.index(after: end)...]
            if tail.hasPrefix(":") {
                portText = tail.dropFirst()
            } else if !tail.isEmpty {
                throw invalid("after the host comes :port or /vhost")
            }
        } else {
            let colon = rest.firstIndex(of: ":")
            guard let decoded = Self.percentDecoded(rest[..<(colon ?? rest.endIndex)]) else {
                throw invalid("the host is not valid percent-encoding")
            }
            self.host = decoded
            if let colon { portText = rest[rest.index(after: colon)...] }
        }
        guard !host.isEmpty, !host.contains("\0") else { throw invalid("it names no host") }
        if let portText {
            guard let number = UInt16(portText), number > 0 else { throw invalid("the port must be 1…65535") }
            self.port = Int32(number)
        } else {
            self.port = secure ? 5671 : 5672
        }

        guard let decodedPath = Self.percentDecoded(path) else {
            throw invalid("the virtual host is not valid percent-encoding")
        }
        self.virtualHost = decodedPath.isEmpty ? "/" : decodedPath
        // A C string ends at the first zero byte: "user\0x" would log in as "user".
        guard !user.contains("\0"), !password.contains("\0"), !virtualHost.contains("\0") else {
            throw invalid("a zero byte in user, password or virtual host")
        }
        self.user = user
        self.password = password

        isLocal = tl_is_loopback(host) == 1
        var allowsPlaintext = false
        var tls = TLS()
        for parameter in query.split(separator: "&") {
            let parts = parameter.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let value = Self.percentDecoded(parts[1]), !value.isEmpty else {
                throw invalid("the query parameter \(parts[0]) has no value")
            }
            switch parts[0] {
            case "cacertfile": tls.authorityFile = value
            case "certfile": tls.certificateFile = value
            case "keyfile": tls.keyFile = value
            case "verify":
                switch value {
                case "peer", "verify_peer": tls.verifiesPeer = true
                case "none", "verify_none": tls.verifiesPeer = false
                default: throw invalid("verify must be peer or none")
                }
                guard secure else { throw invalid("verify needs amqps://") }
            case "plaintext":
                guard value == "allowed" else { throw invalid("plaintext must be allowed, or left out") }
                guard !secure else { throw invalid("plaintext needs amqp://") }
                allowsPlaintext = true
            case "heartbeat":
                guard let seconds = Int(value), (1...60).contains(seconds) else {
                    throw invalid("heartbeat must be 1…60 seconds")
                }
                self.heartbeat = .seconds(seconds)
            case "connection_timeout":
                guard let milliseconds = Int(value), (1...300_000).contains(milliseconds) else {
                    throw invalid("connection_timeout must be 1…300000 milliseconds")
                }
                self.connectTimeout = .milliseconds(milliseconds)
            default:
                throw invalid("unknown query parameter \(parts[0])")
            }
        }
        if !secure, tls != TLS() {
            throw invalid("certificate files need amqps://")
        }
        guard secure || isLocal || allowsPlaintext else {
            throw invalid(
                "amqp:// to another machine carries password and messages unencrypted to whoever answers: write amqps://, or ask "
                    + "for it aloud with ?plaintext=allowed"
            )
        }
        guard (tls.certificateFile == nil) == (tls.keyFile == nil) else {
            throw invalid("certfile and keyfile come together")
        }
        self.tls = secure ? tls : nil
        guard self.heartbeat >= .seconds(1), self.heartbeat <= .seconds(60) else {
            throw RabbitError(.invalidConfiguration, "AMQP heartbeat must be 1…60 seconds")
        }
    }

    /// Host, port and virtual host; never user or password.
    package var description: String {
        "\(tls == nil ? "amqp" : "amqps")://\(host):\(port)\(virtualHost == "/" ? "" : "/" + virtualHost)"
    }

    /// What a person should know who did not mean it; nil when the broker is on this machine or proves who it is.
    package var transportWarning: String? {
        guard !isLocal else { return nil }
        guard let tls else {
            return "plaintext=allowed: password and messages travel unencrypted to whoever poses as the broker"
        }
        return tls.verifiesPeer
            ? nil
            : "verify=none: the connection to the broker is encrypted, and anybody on the way can pose as the broker"
    }

    /// Whether AMQP's TLS is in use.
    package var isEncrypted: Bool { tls != nil }

    /// Whether a URL holds a password, be it well-formed or not: everybody on a machine reads command lines.
    package static func holdsPassword(url: String) -> Bool {
        guard let scheme = url.firstRange(of: "://"), let at = url[scheme.upperBound...].lastIndex(of: "@") else {
            return false
        }
        return url[scheme.upperBound..<at].contains(":")
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
}

extension RabbitConfiguration: CustomReflectable {
    // `dump` and string interpolation of an enclosing value would print the password.
    package var customMirror: Mirror { Mirror(self, children: ["broker": description]) }
}
