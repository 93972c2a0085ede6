internal import CPlatform
internal import Glibc

/// One call slot: an easy handle with its fixed options, and what is known of the request that it carries.
///
/// libcurl points back here from its callbacks, so this is a class with a stable address. It belongs to the loop's thread.
@safe final class Transfer {
    // Safe: handle and lists live until this object ends, and only this driver sees them.

    /// Why the driver itself stopped a transfer from inside a callback.
    enum Veto {
        case held, replay, foreignAddress
    }

    /// What is discarded of an over-long body before the connection is given up instead of read to its end.
    private static let discardLimit = 1_048_576

    let easy: UnsafeMutableRawPointer
    /// Where its connections come from, always.
    unowned let cache: ConnectionCache
    private unowned let driver: CurlDriver
    private let maximumBody: Int
    private let replayGuard: Bool

    private(set) var isBusy = false
    private(set) var deadline = ContinuousClock.now
    /// The bytes were allowed to leave: from here on nobody can say that the peer did not act.
    private(set) var mayHaveLeft = false
    private(set) var veto: Veto?
    /// For one of the peer's addresses there was no descriptor.
    private(set) var lackedDescriptor = false
    /// Of the peer's addresses: one that may not be connected to, and one that may.
    private var metForeignAddress = false
    private var triedAddress = false
    private(set) var body: [UInt8] = []
    private(set) var isTruncated = false
    /// The descriptor that libcurl last asked to watch for this transfer.
    var socket: Int32?
    private(set) var done: ((Result<HTTPResponse, HTTPFailure>) -> Void)?
    private var mayLeave: (() -> Bool)?
    private var route = RequestCheck.Route.secure
    private(set) var onlyPublicHosts = false
    private(set) var wantedHeaders: [String] = []
    private var prerequisiteCalls = 0
    private(set) var sawEndOfHeaders = false
    private var discarded = 0
    private var hasLargeBody = false
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private var connectToList: UnsafeMutablePointer<curl_slist>?

    init(configuration: CurlDriver.Configuration, driver: CurlDriver, cache: ConnectionCache) {
        self.driver = driver
        self.cache = cache
        maximumBody = configuration.maximumBody
        replayGuard = configuration.replayGuard
        guard let easy = unsafe curl_easy_init() else { preconditionFailure("out of memory") }
        unsafe self.easy = easy
        setFixedOptions(configuration)
    }

    deinit {
        unsafe curl_slist_free_all(headerList)
        unsafe curl_slist_free_all(connectToList)
        unsafe curl_easy_cleanup(easy)
    }

    /// The transfer that an easy handle belongs to; nil for a handle of libcurl's own: since 8.9 it ends TLS connections
    /// with one, after the transfer that used them.
    static func of(_ easy: UnsafeMutableRawPointer) -> Transfer? {
        var context: UnsafeMutableRawPointer?
        unsafe check(tl_curl_get_private(easy, &context))
        return unsafe context.map { unsafe of(context: $0) }
    }

    private static func of(context: UnsafeMutableRawPointer?) -> Transfer {
        unsafe Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue()
    }

    /// Setting an option fails only for want of memory or for an option that this libcurl was built without; neither can
    /// be handled here, and going on without e.g. certificate checks must not happen.
    static func check(_ code: CURLcode) {
        precondition(code == CURLE_OK, "libcurl refused an option: code \(code.rawValue)")
    }

    private func set(_ option: CURLoption, _ value: Int) { unsafe Self.check(tl_curl_set_long(easy, option, value)) }
    private func set(_ option: CURLoption, _ value: String?) {
        unsafe Self.check(tl_curl_set_string(easy, option, value))
    }

    private func setFixedOptions(_ configuration: CurlDriver.Configuration) {
        // HTTP/2 multiplexes nothing for one request per line, and its stalls would couple lines to each other.
        set(CURLOPT_HTTP_VERSION, tl_curl_http_1_1)
        set(CURLOPT_PROTOCOLS_STR, "https,http")
        // A redirect would carry the token to another origin.
        set(CURLOPT_FOLLOWLOCATION, 0)
        // An empty proxy, and no proxy for any host: the environment's http_proxy does not apply.
        set(CURLOPT_PROXY, "")
        set(CURLOPT_NOPROXY, "*")
        if let connectTo = configuration.connectTo {
            unsafe connectToList = curl_slist_append(nil, connectTo)
            unsafe Self.check(tl_curl_set_connect_to(easy, connectToList))
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
        setTLSOptions(configuration)
        setCallbacks()
    }

    private func setTLSOptions(_ configuration: CurlDriver.Configuration) {
        set(CURLOPT_SSLVERSION, tl_curl_tls_1_2)
        set(CURLOPT_SSL_VERIFYPEER, 1)
        set(CURLOPT_SSL_VERIFYHOST, 2)
        if let authorities = configuration.certificateAuthorities {
            set(CURLOPT_CAINFO, authorities)
            // Else the system's folder of authorities would still be trusted besides the given file.
            set(CURLOPT_CAPATH, nil as String?)
        }
    }

    private func setCallbacks() {
        let me = unsafe Unmanaged.passUnretained(self).toOpaque()
        let owner = unsafe Unmanaged.passUnretained(driver).toOpaque()
        unsafe Self.check(tl_curl_set_pointer(easy, CURLOPT_PRIVATE, me))
        unsafe Self.check(
            tl_curl_set_write(
                easy,
                { data, size, count, context in
                    unsafe Transfer.of(context: context).receive(
                        UnsafeRawBufferPointer(start: data, count: size * count)
                    )
                },
                unsafe me
            )
        )
        unsafe Self.check(
            tl_curl_set_header_line(
                easy,
                { data, size, count, context in
                    unsafe Transfer.of(context: context).receive(
                        line: UnsafeRawBufferPointer(start: data, count: size * count)
                    )
                    return size * count
                },
                unsafe me
            )
        )
        // Bodies are always given whole; the default would read the process' standard input.
        unsafe Self.check(tl_curl_set_read(easy, { _, _, _, _ in 0 }))
        unsafe Self.check(
            tl_curl_set_prereq(
                easy,
                { context, peer, _, _, _ in unsafe Transfer.of(context: context).prerequisite(peer: peer) },
                unsafe me
            )
        )
        unsafe Self.check(
            tl_curl_set_open(
                easy,
                { context, _, address in
                    let transfer = unsafe Transfer.of(context: context)
                    guard let address = unsafe address, unsafe transfer.mayConnect(to: &address.pointee.addr) else {
                        return CURL_SOCKET_BAD
                    }
                    let descriptor = unsafe transfer.driver.openSocket(for: address.pointee)
                    if descriptor == CURL_SOCKET_BAD, Transfer.isShortage(errno) { transfer.lackedDescriptor = true }
                    return descriptor
                },
                unsafe me
            )
        )
        // The driver and not the transfer: a connection outlives the transfer that opened it.
        unsafe Self.check(
            tl_curl_set_close(
                easy,
                { context, descriptor in
                    unsafe Unmanaged<CurlDriver>.fromOpaque(context!).takeUnretainedValue().closeSocket(descriptor)
                },
                unsafe owner
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
        metForeignAddress = false
        triedAddress = false
        onlyPublicHosts = request.onlyPublicHosts
        wantedHeaders = request.wantedHeaders
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
            unsafe Self.check(bytes.withUnsafeBytes { unsafe tl_curl_set_body(easy, $0.baseAddress, $0.count) })
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
        unsafe Self.check(tl_curl_set_headers(easy, headerList))
    }

    private func append(header line: String) {
        guard let list = unsafe curl_slist_append(headerList, line) else { preconditionFailure("out of memory") }
        unsafe headerList = list
    }

    /// Gives the slot back. The easy handle must have been removed from the multi handle.
    func end() {
        isBusy = false
        mayLeave = nil
        done = nil
        body = []
        socket = nil
        unsafe Self.check(tl_curl_set_headers(easy, nil))
        unsafe curl_slist_free_all(headerList)
        unsafe headerList = nil
        if hasLargeBody {
            hasLargeBody = false
            unsafe Self.check(tl_curl_set_pointer(easy, CURLOPT_COPYPOSTFIELDS, nil))
        }
    }

    // MARK: Called by libcurl

    /// Before a connection is attempted: a name that resolves to another machine gets no clear-text connection, and one that
    /// resolves into a private network none of a call that may only reach the public internet. Other addresses of the same
    /// name may be good.
    private func mayConnect(to address: UnsafePointer<sockaddr>) -> Bool {
        let isForeign =
            unsafe route == .plainLoopback && !RequestCheck.isLoopback(address)
            || onlyPublicHosts && !driver.isPublic(PublicNetwork.bytes(of: address))
        if isForeign { metForeignAddress = true } else { triedAddress = true }
        return !isForeign
    }

    /// Whether no connection came about because none of the addresses may be connected to.
    var hasOnlyForeignAddresses: Bool { metForeignAddress && !triedAddress && !mayHaveLeft }

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
        if route == .plainLoopback || onlyPublicHosts {
            // A kept connection never went through `mayConnect` for this request.
            guard let peer = unsafe peer, unsafe mayUse(connectionTo: String(cString: peer)) else {
                veto = .foreignAddress
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

    private func mayUse(connectionTo peer: String) -> Bool {
        (route != .plainLoopback || RequestCheck.isLoopback(address: peer))
            && (!onlyPublicHosts || driver.isPublic(PublicNetwork.bytes(ofAddress: peer)))
    }

    /// libcurl reports a connection that ends between two header lines as a whole answer (met with 7.88).
    private func receive(line: UnsafeRawBufferPointer) {
        switch unsafe line.first {
        case UInt8(ascii: "\r"), UInt8(ascii: "\n"):
            sawEndOfHeaders = true
        case UInt8(ascii: "H") where unsafe line.starts(with: "HTTP/".utf8):
            // The answer after an interim one.
            sawEndOfHeaders = false
        default:
            break
        }
    }

    private func receive(_ bytes: UnsafeRawBufferPointer) -> Int {
        let room = maximumBody - body.count
        unsafe body.append(contentsOf: bytes.prefix(room))
        if bytes.count > room {
            isTruncated = true
            discarded += bytes.count - room
            // Reading on keeps the connection; an endless body is not worth one.
            if discarded > Self.discardLimit { return 0 }
        }
        return bytes.count
    }
}

// libcurl points back at it from the loop's thread.
@available(*, unavailable)
extension Transfer: Sendable {}
