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

        let parts = try RabbitURL(url)
        host = parts.host
        port = parts.port
        virtualHost = parts.virtualHost
        user = parts.user
        password = parts.password
        isLocal = unsafe tl_is_loopback(host) == 1

        let settings = try RabbitURL.Settings(parts.query, isSecure: parts.isSecure)
        guard parts.isSecure || isLocal || settings.allowsPlaintext else {
            throw RabbitURL.invalid(
                "amqp:// to another machine carries password and messages unencrypted to whoever answers: write amqps://, or ask "
                    + "for it aloud with ?plaintext=allowed"
            )
        }
        tls = parts.isSecure ? settings.tls : nil
        if let heartbeat = settings.heartbeat { self.heartbeat = heartbeat }
        if let connectTimeout = settings.connectTimeout { self.connectTimeout = connectTimeout }
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
}

extension RabbitConfiguration: CustomReflectable {
    // `dump` and string interpolation of an enclosing value would print the password.
    package var customMirror: Mirror { Mirror(self, children: ["broker": description]) }
}
