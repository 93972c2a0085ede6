internal import CPlatform
internal import Glibc

/// One call slot: an easy handle with its fixed options, and what is known of the request that it carries.
///
/// libcurl points back here from its callbacks, so this is a class with a stable address. It belongs to the loop's thread.
final class Transfer {
    /// Why the driver itself stopped a transfer from inside a callback.
    enum Veto {
        case held, replay, notLoopback
    }

    /// What is discarded of an over-long body before the connection is given up instead of read to its end.
    private static let discardLimit = 1_048_576

    let easy: UnsafeMutableRawPointer
    private unowned let driver: CurlDriver
    private let maximumBody: Int
    private let replayGuard: Bool

    private(set) var isBusy = false
    private(set) var deadline = ContinuousClock.now
    /// The bytes were allowed to leave: from here on nobody can say that the peer did not act.
    private(set) var mayHaveLeft = false
    private(set) var veto: Veto?
    /// For one of the peer's addresses there was no descriptor.
    private var lackedDescriptor = false
    private(set) var body: [UInt8] = []
    private(set) var isTruncated = false
    /// The descriptor that libcurl last asked to watch for this transfer.
    var socket: Int32?
    private(set) var done: ((Result<HTTPResponse, HTTPFailure>) -> Void)?
    private var mayLeave: (() -> Bool)?
    private var route = RequestCheck.Route.secure
    private var prerequisiteCalls = 0
    private var sawEndOfHeaders = false
    private var discarded = 0
    private var hasLargeBody = false
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private var connectToList: UnsafeMutablePointer<curl_slist>?

    init(configuration: CurlDriver.Configuration, driver: CurlDriver) {
        self.driver = driver
        maximumBody = configuration.maximumBody
        replayGuard = configuration.replayGuard
        guard let easy = curl_easy_init() else { preconditionFailure("out of memory") }
        self.easy = easy
        setFixedOptions(configuration)
    }

    deinit {
        curl_slist_free_all(headerList)
        curl_slist_free_all(connectToList)
        curl_easy_cleanup(easy)
    }

    /// The transfer that an easy handle belongs to; nil for a handle of libcurl's own: since 8.9 it ends TLS connections
    /// with one, after the transfer that used them.
    static func of(_ easy: UnsafeMutableRawPointer) -> Transfer? {
        var context: UnsafeMutableRawPointer?
        check(tl_curl_get_private(easy, &context))
        return context.map { of(context: $0) }
    }

    private static func of(context: UnsafeMutableRawPointer?) -> Transfer {
        Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue()
    }

    /// Setting an option fails only for want of memory or for an option that this libcurl was built without; neither can
    /// be handled here, and going on without e.g. certificate checks must not happen.
    private static func check(_ code: CURLcode) {
        precondition(code == CURLE_OK, "libcurl refused an option: code \(code.rawValue)")
    }

    private func set(_ option: CURLoption, _ value: Int) { Self.check(tl_curl_set_long(easy, option, value)) }
    private func set(_ option: CURLoption, _ value: String?) { Self.check(tl_curl_set_string(easy, option, value)) }

    private func setFixedOptions(_ configuration: CurlDriver.Configuration) {
        let me = Unmanaged.passUnretained(self).toOpaque()
        let owner = Unmanaged.passUnretained(driver).toOpaque()
        Self.check(tl_curl_set_pointer(easy, CURLOPT_PRIVATE, me))

        // HTTP/2 multiplexes nothing for one request per line, and its stalls would couple lines to each other.
        set(CURLOPT_HTTP_VERSION, tl_curl_http_1_1)
        set(CURLOPT_PROTOCOLS_STR, "https,http")
        // A redirect would carry the token to another origin.
        set(CURLOPT_FOLLOWLOCATION, 0)
        // An empty proxy, and no proxy for any host: the environment's http_proxy does not apply.
        set(CURLOPT_PROXY, "")
        set(CURLOPT_NOPROXY, "*")
        if let connectTo = configuration.connectTo {
            connectToList = curl_slist_append(nil, connectTo)
            Self.check(tl_curl_set_connect_to(easy, connectToList))
        }
        set(CURLOPT_NETRC, tl_curl_netrc_ignored)
        set(CURLOPT_USERAGENT, configuration.userAgent)
        // Without it libcurl uses SIGALRM and touches the process' signal handlers.
        set(CURLOPT_NOSIGNAL, 1)
        // Without it a cancelled transfer waits on this thread for its resolver thread.
        set(CURLOPT_QUICK_EXIT, 1)
        set(CURLOPT_TCP_NODELAY, 1)
        // Below the 60 s after which common servers close idle connections: fewer requests meet a dead one.
        set(CURLOPT_MAXAGE_CONN, 50)
        // A busy connection would otherwise outlive every change of its name's addresses.
        set(CURLOPT_MAXLIFETIME_CONN, 600)
        set(CURLOPT_DNS_CACHE_TIMEOUT, 60)
        // A buffer per running call; the answers are small.
        set(CURLOPT_BUFFERSIZE, 8_192)

        set(CURLOPT_SSLVERSION, tl_curl_tls_1_2)
        set(CURLOPT_SSL_VERIFYPEER, 1)
        set(CURLOPT_SSL_VERIFYHOST, 2)
        if let authorities = configuration.certificateAuthorities {
            set(CURLOPT_CAINFO, authorities)
            // Else the system's folder of authorities would still be trusted besides the given file.
            set(CURLOPT_CAPATH, nil as String?)
        }

        Self.check(
            tl_curl_set_write(
                easy,
                { data, size, count, context in
                    Transfer.of(context: context).receive(UnsafeRawBufferPointer(start: data, count: size * count))
                },
                me
            )
        )
        Self.check(
            tl_curl_set_header_line(
                easy,
                { data, size, count, context in
                    Transfer.of(context: context).receive(
                        line: UnsafeRawBufferPointer(start: data, count: size * count)
                    )
                    return size * count
                },
                me
            )
        )
        // Bodies are always given whole; the default would read the process' standard input.
        Self.check(tl_curl_set_read(easy, { _, _, _, _ in 0 }))
        Self.check(
            tl_curl_set_prereq(
                easy,
                { context, peer, _, _, _ in Transfer.of(context: context).prerequisite(peer: peer) },
                me
            )
        )
        Self.check(
            tl_curl_set_open(
                easy,
                { context, _, address in
                    let transfer = Transfer.of(context: context)
                    guard let address, transfer.mayConnect(to: &address.pointee.addr) else { return CURL_SOCKET_BAD }
                    let descriptor = transfer.driver.openSocket(for: address.pointee)
                    if descriptor == CURL_SOCKET_BAD, Transfer.isShortage(errno) { transfer.lackedDescriptor = true }
                    return descriptor
                },
                me
            )
        )
        // The driver and not the transfer: a connection outlives the transfer that opened it.
        Self.check(
            tl_curl_set_close(
                easy,
                { context, descriptor in
                    Unmanaged<CurlDriver>.fromOpaque(context!).takeUnretainedValue().closeSocket(descriptor)
                },
                owner
            )
        )
    }

    // MARK: One request

    func begin(
        _ request: HTTPRequest,
        route: RequestCheck.Route,
        mayLeave: @escaping () -> Bool,
        done: @escaping (Result<HTTPResponse, HTTPFailure>) -> Void
    ) {
        precondition(!isBusy, "a slot carries one request at a time")
        isBusy = true
        self.route = route
        self.mayLeave = mayLeave
        self.done = done
        deadline = ContinuousClock.now.advanced(by: request.totalTimeout)
        mayHaveLeft = false
        veto = nil
        lackedDescriptor = false
        body = []
        isTruncated = false
        discarded = 0
        prerequisiteCalls = 0
        sawEndOfHeaders = false
        socket = nil

        set(CURLOPT_URL, request.url)
        // CURLOPT_TIMEOUT_MS stays off: libcurl would book a time-out before it looks at what lies in the socket's
        // buffer. The driver keeps the total time itself, after the loop has shown what is readable.
        set(CURLOPT_CONNECTTIMEOUT_MS, max(1, Int(request.connectTimeout / .milliseconds(1))))
        if request.body != nil || request.method == .post {
            let bytes = request.body ?? []
            set(CURLOPT_POST, 1)
            Self.check(bytes.withUnsafeBytes { tl_curl_set_body(easy, $0.baseAddress, $0.count) })
            hasLargeBody = bytes.count > 16_384
            set(CURLOPT_CUSTOMREQUEST, request.method == .post ? nil : request.method.rawValue)
        } else {
            set(CURLOPT_HTTPGET, 1)
            set(CURLOPT_CUSTOMREQUEST, request.method == .get ? nil : request.method.rawValue)
        }
        setHeaders(of: request)
    }

    private func setHeaders(of request: HTTPRequest) {
        // "Name:" removes one of libcurl's own headers. Expect would hold the body back for a second.
        append(header: "Expect:")
        var hasType = false
        for (name, value) in request.headers {
            hasType = hasType || name.lowercased() == "content-type"
            // "Name;" is how libcurl is told an empty value.
            append(header: value.isEmpty ? "\(name);" : "\(name): \(value)")
        }
        if !hasType { append(header: "Content-Type:") }
        Self.check(tl_curl_set_headers(easy, headerList))
    }

    private func append(header line: String) {
        guard let list = curl_slist_append(headerList, line) else { preconditionFailure("out of memory") }
        headerList = list
    }

    /// Gives the slot back. The easy handle must have been removed from the multi handle.
    func end() {
        isBusy = false
        mayLeave = nil
        done = nil
        body = []
        socket = nil
        Self.check(tl_curl_set_headers(easy, nil))
        curl_slist_free_all(headerList)
        headerList = nil
        if hasLargeBody {
            hasLargeBody = false
            Self.check(tl_curl_set_pointer(easy, CURLOPT_COPYPOSTFIELDS, nil))
        }
    }

    // MARK: Called by libcurl

    /// Before a connection is attempted: a name that resolves to another machine gets no clear-text connection.
    private func mayConnect(to address: UnsafePointer<sockaddr>) -> Bool {
        if route == .plainLoopback, !RequestCheck.isLoopback(address) {
            veto = .notLoopback
            return false
        }
        return true
    }

    /// The last local gate: connected, TLS done, not a byte of the request written.
    ///
    /// libcurl sends a request of any method again when a kept connection dies before the first byte of the answer
    /// (`Curl_retry_request`), and says nothing about it. It comes through here again before it does.
    private func prerequisite(peer: UnsafeMutablePointer<CChar>?) -> Int32 {
        prerequisiteCalls += 1
        if prerequisiteCalls > 1 {
            guard replayGuard else { return CURL_PREREQFUNC_OK }
            veto = .replay
            return CURL_PREREQFUNC_ABORT
        }
        if route == .plainLoopback {
            // A kept connection never went through `mayConnect` for this request.
            guard let peer, RequestCheck.isLoopback(address: String(cString: peer)) else {
                veto = .notLoopback
                return CURL_PREREQFUNC_ABORT
            }
        }
        guard let mayLeave, mayLeave() else {
            veto = .held
            return CURL_PREREQFUNC_ABORT
        }
        mayHaveLeft = true
        return CURL_PREREQFUNC_OK
    }

    /// libcurl reports a connection that ends between two header lines as a whole answer (met with 7.88).
    private func receive(line: UnsafeRawBufferPointer) {
        switch line.first {
        case UInt8(ascii: "\r"), UInt8(ascii: "\n"):
            sawEndOfHeaders = true
        case UInt8(ascii: "H") where line.starts(with: "HTTP/".utf8):
            // The answer after an interim one.
            sawEndOfHeaders = false
        default:
            break
        }
    }

    private func receive(_ bytes: UnsafeRawBufferPointer) -> Int {
        let room = maximumBody - body.count
        body.append(contentsOf: bytes.prefix(room))
        if bytes.count > room {
            isTruncated = true
            discarded += bytes.count - room
            // Reading on keeps the connection; an endless body is not worth one.
            if discarded > Self.discardLimit { return 0 }
        }
        return bytes.count
    }

    // MARK: The outcome

    /// What a finished transfer means. Decided by what was allowed to leave, never by the code alone.
    func outcome(_ code: CURLcode) -> Result<HTTPResponse, HTTPFailure> {
        var status = 0
        Self.check(tl_curl_get_status(easy, &status))
        // A body that was cut short by us is a whole answer as far as anyone reads it.
        if mayHaveLeft, veto == nil, status >= 200, sawEndOfHeaders, code == CURLE_OK || isTruncated {
            return .success(
                HTTPResponse(status: status, body: body, isTruncated: isTruncated, retryAfter: retryAfter(status))
            )
        }
        return .failure(failure(code, status: status))
    }

    /// The answer was not waited for any longer; `cause` says why.
    func abandoned(_ cause: HTTPFailure.Cause, reason: String) -> Result<HTTPResponse, HTTPFailure> {
        var status = 0
        Self.check(tl_curl_get_status(easy, &status))
        if mayHaveLeft, status >= 200, isTruncated {
            return outcome(CURLE_OK)
        }
        return .failure(
            HTTPFailure(
                code: cause == .timeout ? Int32(CURLE_OPERATION_TIMEDOUT.rawValue) : 0,
                sent: mayHaveLeft ? .maybe : .surelyNot,
                cause: cause,
                status: mayHaveLeft && status > 0 ? status : nil,
                reason: reason
            )
        )
    }

    private func retryAfter(_ status: Int) -> String? {
        guard status >= 300 else { return nil }
        var header: UnsafeMutablePointer<curl_header>?
        guard curl_easy_header(easy, "Retry-After", 0, UInt32(CURLH_HEADER), -1, &header) == CURLHE_OK, let header,
            let value = header.pointee.value
        else { return nil }
        return String(String(cString: value).prefix(128))
    }

    private func failure(_ code: CURLcode, status: Int) -> HTTPFailure {
        let number = Int32(bitPattern: code.rawValue)
        switch veto {
        case .held:
            return HTTPFailure(
                code: number,
                sent: .surelyNot,
                cause: .held,
                reason: "the last check before sending said no"
            )
        case .notLoopback:
            return HTTPFailure(
                code: number,
                sent: .surelyNot,
                cause: .refused,
                reason: "http is only allowed to a loopback address, and the name leads elsewhere"
            )
        case .replay:
            return HTTPFailure(
                code: number,
                sent: .maybe,
                cause: .replay,
                reason: "the kept connection ended without an answer; a hidden second send was stopped"
            )
        case nil:
            break
        }
        let words = String(cString: curl_easy_strerror(code))
        if mayHaveLeft {
            let broke =
                status > 0 ? "the answer (status \(status)) broke off" : "no answer after the request may have left"
            return HTTPFailure(
                code: number,
                sent: .maybe,
                cause: code == CURLE_OPERATION_TIMEDOUT ? .timeout : .broken,
                status: status > 0 ? status : nil,
                reason: code == CURLE_OK ? broke : "\(broke): \(words)"
            )
        }
        if lackedDescriptor || metShortage(code) {
            return HTTPFailure(
                code: number,
                sent: .surelyNot,
                cause: .shortage,
                reason: "not sent: this machine had no descriptor or port for a connection (\(words))"
            )
        }
        return HTTPFailure(
            code: number,
            sent: .surelyNot,
            cause: Self.causeBeforeSending(code),
            reason: "not sent: \(words)"
        )
    }

    /// Whether the connection failed for want of something on this machine. The look-up of a name and the loading of
    /// certificates lose the error's number on its way: there, whether a descriptor can be had now decides.
    private func metShortage(_ code: CURLcode) -> Bool {
        if code == CURLE_COULDNT_CONNECT {
            var number = 0
            Self.check(tl_curl_get_errno(easy, &number))
            return Self.isShortage(Int32(truncatingIfNeeded: number))
        }
        let descriptor = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor < 0 else {
            close(descriptor)
            return false
        }
        return Self.isShortage(errno)
    }

    /// EADDRNOTAVAIL: every port for outgoing connections to that peer is in use.
    private static func isShortage(_ number: Int32) -> Bool {
        [EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL].contains(number)
    }

    private static func causeBeforeSending(_ code: CURLcode) -> HTTPFailure.Cause {
        switch code {
        case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL:
            .refused
        case CURLE_COULDNT_RESOLVE_HOST:
            .resolve
        case CURLE_OPERATION_TIMEDOUT:
            .timeout
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
            CURLE_SSL_CIPHER, CURLE_SSL_ENGINE_NOTFOUND, CURLE_SSL_ENGINE_SETFAILED, CURLE_SSL_ENGINE_INITFAILED,
            CURLE_SSL_ISSUER_ERROR, CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_CLIENTCERT:
            .tls
        default:
            .connect
        }
    }
}

// libcurl points back at it from the loop's thread.
@available(*, unavailable)
extension Transfer: Sendable {}
