internal import CPlatform
internal import Glibc

/// What a broker says of itself.
package struct RabbitServer: Sendable, Hashable {
    /// For example `RabbitMQ`.
    package let product: String
    /// For example `3.10.8`.
    package let version: String
    /// The cluster's name, empty if it has not said.
    package let cluster: String
}

/// A connection that has logged in and that nobody uses yet.
struct LoggedIn: @unchecked Sendable {
    // Unchecked: the C state has one user at a time. The helper thread hands it over through the loop's queue and
    // never touches it again; librabbitmq allows a connection to move when access is serialised.
    let state: BrokerState
    let socket: GuardedSocket
    let server: RabbitServer
    let channelLimit: Int
    /// The negotiated heartbeat; the broker may ask for a shorter one.
    let heartbeat: Duration

    /// Ends a connection that nobody wants any more.
    func discard() { state.destroy() }
}

/// The blocking part of a connection's life: resolve, connect, TLS, log in. Runs on a helper thread.
enum Login {
    static let systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

    static func perform(_ configuration: RabbitConfiguration) -> Result<LoggedIn, RabbitError> {
        guard let state = unsafe amqp_new_connection() else {
            return .failure(RabbitError(.cannotConnect, "no memory for a connection"))
        }
        do throws(RabbitError) {
            return unsafe .success(try connect(state, configuration))
        } catch {
            unsafe amqp_destroy_connection(state)
            return .failure(error)
        }
    }

    private static func connect(
        _ state: amqp_connection_state_t,
        _ configuration: RabbitConfiguration
    ) throws(RabbitError) -> LoggedIn {
        try unsafe open(makeSocket(state, configuration), configuration)
        let socket = try unsafe guarded(
            tl_amqp_duplicate(amqp_get_sockfd(state)),
            silenceLimit: max(configuration.heartbeat * 2, configuration.loginTimeout + .seconds(2)),
            callLimit: configuration.loginTimeout + .seconds(2)
        )
        // Unacknowledged bytes for 20 s: the kernel gives the connection up, whatever we are doing.
        _ = tl_amqp_set_user_timeout(socket.descriptor, 20_000)
        try unsafe logIn(state, configuration, socket)

        // The heartbeats are ours from here. With its own switched on, the library sends them from inside a read, and
        // a send that meets a full buffer with a stale receive time waits for ever (issue 780).
        let negotiated = unsafe Int(max(1, amqp_get_heartbeat(state)))
        let tuned = unsafe amqp_tune_connection(state, amqp_get_channel_max(state), amqp_get_frame_max(state), 0)
        guard tuned == AMQP_STATUS_OK.rawValue else { throw failure(tuned, configuration) }
        return unsafe LoggedIn(
            state: BrokerState(state),
            socket: try guarded(
                tl_amqp_duplicate(socket.descriptor),
                silenceLimit: .seconds(negotiated * 2),
                callLimit: configuration.hungCallLimit
            ),
            server: server(state),
            channelLimit: Int(amqp_get_channel_max(state)),
            heartbeat: .seconds(negotiated)
        )
    }

    private static func open(_ socket: OpaquePointer, _ configuration: RabbitConfiguration) throws(RabbitError) {
        let milliseconds = Int(configuration.connectTimeout.wholeMilliseconds)
        let opened = unsafe tl_amqp_open_socket(socket, configuration.host, configuration.port, milliseconds)
        guard opened == AMQP_STATUS_OK.rawValue else { throw failure(opened, configuration) }
    }

    /// - Parameter duplicate: of the library's descriptor, just made; negative when there was none to be had.
    private static func guarded(
        _ duplicate: Int32,
        silenceLimit: Duration,
        callLimit: Duration
    ) throws(RabbitError) -> GuardedSocket {
        guard duplicate >= 0 else { throw RabbitError(.cannotConnect, "no descriptor for a connection") }
        return GuardedSocket(takingOwnershipOf: duplicate, silenceLimit: silenceLimit, callLimit: callLimit)
    }

    private static func logIn(
        _ state: amqp_connection_state_t,
        _ configuration: RabbitConfiguration,
        _ socket: GuardedSocket
    ) throws(RabbitError) {
        _ = unsafe tl_amqp_set_login_limit(state, Int(configuration.loginTimeout.wholeMilliseconds))
        // librabbitmq 0.11 announces only authentication_failure_close and exchange_exchange_bindings by itself; it
        // merges these. Without them no basic.cancel and no connection.blocked would ever come.
        let arena = Arena()
        var properties = unsafe arena.table([
            "product": "Trunkline",
            "connection_name": .string(configuration.connectionName),
            "capabilities": .table([
                "authentication_failure_close": true,
                "basic.nack": true,
                "connection.blocked": true,
                "consumer_cancel_notify": true,
                "exchange_exchange_bindings": true,
                "publisher_confirms": true,
            ]),
        ])
        var reply = unsafe amqp_rpc_reply_t()
        _ = socket.call {
            unsafe reply = tl_amqp_login(
                state,
                configuration.virtualHost,
                configuration.channelLimit,
                131_072,
                Int32(configuration.heartbeat.components.seconds),
                &properties,
                configuration.user,
                configuration.password
            )
            return 0
        }
        withExtendedLifetime(arena) {}
        try unsafe check(reply, configuration, socket)
    }

    private static func server(_ state: amqp_connection_state_t) -> RabbitServer {
        let properties = unsafe amqp_get_server_properties(state)?.pointee
        return unsafe RabbitServer(
            product: properties?.first("product")?.string ?? "",
            version: properties?.first("version")?.string ?? "",
            cluster: properties?.first("cluster_name")?.string ?? ""
        )
    }

    private static func makeSocket(
        _ state: amqp_connection_state_t,
        _ configuration: RabbitConfiguration
    ) throws(RabbitError) -> OpaquePointer {
        guard let tls = configuration.tls else {
            guard let socket = unsafe amqp_tcp_socket_new(state) else {
                throw RabbitError(.cannotConnect, "no memory for a socket")
            }
            return unsafe socket
        }
        guard let socket = unsafe amqp_ssl_socket_new(state) else {
            throw RabbitError(.tlsRefused, "TLS could not be initialised")
        }
        unsafe amqp_ssl_socket_set_verify_peer(socket, tls.verifiesPeer ? 1 : 0)
        unsafe amqp_ssl_socket_set_verify_hostname(socket, tls.verifiesPeer ? 1 : 0)
        guard
            unsafe amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST) == AMQP_STATUS_OK.rawValue
        else {
            throw RabbitError(.tlsRefused, "TLS 1.2 or newer is not available")
        }
        if tls.verifiesPeer || tls.authorityFile != nil {
            let file = tls.authorityFile ?? systemAuthorities
            guard unsafe amqp_ssl_socket_set_cacert(socket, file) == AMQP_STATUS_OK.rawValue else {
                throw RabbitError(.invalidConfiguration, "cannot read certificate authorities from \(file)")
            }
        }
        if let certificate = tls.certificateFile, let key = tls.keyFile {
            guard unsafe amqp_ssl_socket_set_key(socket, certificate, key) == AMQP_STATUS_OK.rawValue else {
                throw RabbitError(.invalidConfiguration, "cannot read the certificate \(certificate) with its key")
            }
        }
        return unsafe socket
    }

    private static func check(
        _ reply: amqp_rpc_reply_t,
        _ configuration: RabbitConfiguration,
        _ socket: GuardedSocket
    ) throws(RabbitError) {
        switch unsafe reply.reply_type {
        case AMQP_RESPONSE_NORMAL:
            return
        case AMQP_RESPONSE_SERVER_EXCEPTION where unsafe reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD:
            let close = unsafe reply.reply.decoded.assumingMemoryBound(to: amqp_connection_close_t.self).pointee
            // 403 is a wrong password, 530 a virtual host that is absent or not allowed.
            let refused = unsafe close.reply_code == 403 || close.reply_code == 530
            throw RabbitError(
                refused ? .loginRefused : .cannotConnect,
                unsafe "the broker at \(configuration.host):\(configuration.port) refused: \(close.reply_text.text)",
                replyCode: unsafe close.reply_code
            )
        default:
            if let reason = socket.wasCutBecause {
                throw RabbitError(.cannotConnect, "\(configuration.host):\(configuration.port): login: \(reason)")
            }
            throw unsafe failure(reply.library_error, configuration)
        }
    }

    private static func failure(_ status: Int32, _ configuration: RabbitConfiguration) -> RabbitError {
        let place = "\(configuration.host):\(configuration.port)"
        switch status {
        case AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED.rawValue:
            // librabbitmq 0.11 looks at the names in a certificate only, so an address never matches.
            let isAddress = configuration.host.allSatisfy { "0123456789abcdefABCDEF.:".contains($0) }
            let hint = isAddress ? "; use a host name, addresses in certificates are not looked at" : ""
            return RabbitError(
                .tlsRefused,
                "\(place): the certificate is not for the host \(configuration.host)\(hint)"
            )
        case AMQP_STATUS_SSL_PEER_VERIFY_FAILED.rawValue:
            return RabbitError(.tlsRefused, "\(place): the certificate was not accepted (expired or unknown authority)")
        case AMQP_STATUS_SSL_CONNECTION_FAILED.rawValue, AMQP_STATUS_SSL_ERROR.rawValue:
            return RabbitError(
                .tlsRefused,
                "\(place): the TLS handshake failed (no TLS there, or a certificate that was not accepted)"
            )
        case AMQP_STATUS_HOSTNAME_RESOLUTION_FAILED.rawValue:
            return RabbitError(.cannotConnect, "the host name \(configuration.host) cannot be resolved")
        case AMQP_STATUS_TIMEOUT.rawValue:
            return RabbitError(.cannotConnect, "\(place): no answer in time")
        default:
            let words = unsafe amqp_error_string2(status).map { unsafe String(cString: $0) } ?? "status \(status)"
            return RabbitError(.cannotConnect, "cannot connect to \(place): \(words)")
        }
    }
}
