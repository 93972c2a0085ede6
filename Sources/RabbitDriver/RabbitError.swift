/// What went wrong between us and the broker, with what to do about it.
///
/// Safe to log: it holds the broker's words, host and port, names of queues and exchanges; never a password, a URL or a
/// message.
package struct RabbitError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kinds of error. New ones may be added.
    package struct Code: Sendable, Hashable, CustomStringConvertible {
        private enum Value: String {
            case invalidConfiguration, invalidArgument, cannotConnect, tlsRefused, loginRefused, notConnected
            case connectionLost, closedByBroker, channelClosed, timedOut, blocked, busy, closed
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// The URL or another setting is not usable.
        package static let invalidConfiguration = Code(.invalidConfiguration)
        /// A name or a value that AMQP cannot carry; nothing was sent.
        package static let invalidArgument = Code(.invalidArgument)
        /// No connection: name resolution, TCP, or no answer in time.
        package static let cannotConnect = Code(.cannotConnect)
        /// TLS failed: the certificate is expired, not signed by the given authority, or of another host.
        package static let tlsRefused = Code(.tlsRefused)
        /// The broker refused user and password, or the virtual host.
        package static let loginRefused = Code(.loginRefused)
        /// There is no connection at the moment; nothing was sent.
        package static let notConnected = Code(.notConnected)
        /// The connection ended or was cut off by us.
        package static let connectionLost = Code(.connectionLost)
        /// The broker closed the connection; see ``RabbitError/replyCode``.
        package static let closedByBroker = Code(.closedByBroker)
        /// The broker closed the channel because of a refused command; see ``RabbitError/replyCode``.
        package static let channelClosed = Code(.channelClosed)
        /// The broker did not answer in time.
        package static let timedOut = Code(.timedOut)
        /// The broker takes no messages for now (`connection.blocked`); nothing was sent.
        package static let blocked = Code(.blocked)
        /// The socket's buffer is full; nothing was sent.
        package static let busy = Code(.busy)
        /// Closed by us.
        package static let closed = Code(.closed)

        package var description: String { value.rawValue }
    }

    /// The kind.
    package let code: Code
    /// What happened, in words that are safe to log.
    package let message: String
    /// The AMQP reply code of a close or a refusal (for example 404 or 406), if the broker gave one.
    package let replyCode: UInt16?

    package init(_ code: Code, _ message: String, replyCode: UInt16? = nil) {
        self.code = code
        self.message = message
        self.replyCode = replyCode
    }

    package var description: String { message }

    /// Whether the connection is gone; the driver reconnects by itself.
    package var isConnectionLost: Bool {
        [.connectionLost, .closedByBroker, .notConnected, .cannotConnect].contains(code)
    }

    /// Whether the same call can succeed later without anybody changing anything.
    package var isRetriable: Bool {
        isConnectionLost || [.timedOut, .blocked, .busy].contains(code)
    }
}
