internal import CPlatform
package import EventLoop
internal import Glibc

/// HTTP/1.1 calls through libcurl's multi interface, driven by an ``EventLoop``.
///
/// Every method must be called on the loop's thread. Requests are not queued: ``send(_:mayLeave:done:)`` needs a free slot,
/// so that waiting never eats a request's own time. Call ``close()`` before the loop is stopped.
///
/// Requests that may only reach the public internet (``HTTPRequest/onlyPublicHosts``) share no connection and no looked-up name
/// with the others.
///
/// Never in this driver: redirects, proxies of the environment, netrc, cookies, HTTP/2, clear text to a peer that is not
/// loopback, and libcurl's hidden second send on a kept connection that died.
package final class CurlDriver {
    struct Configuration {
        var certificateAuthorities: String?
        var userAgent: String
        var maximumBody: Int
        var replayGuard: Bool
        var connectTo: String?
    }

    private struct Socket {
        /// Opened through `openSocket`: libcurl closes it through `closeSocket`. The resolver's socket pairs are not.
        var isOurs = false
        var isWatched = false
        var interest: EventLoop.Interest = []
    }

    private struct Completion {
        let done: (Result<HTTPResponse, HTTPFailure>) -> Void
        let result: Result<HTTPResponse, HTTPFailure>
    }

    /// How many calls can be in the air at once.
    package let maximumCalls: Int

    private let loop: EventLoop
    private let configuration: Configuration
    /// Of calls to hosts that an operator answers for, and of those to hosts that anybody may have named.
    private var trusted: ConnectionCache!
    private var publicOnly: ConnectionCache!
    private var transfers: [Transfer] = []
    private var routes: [String: RequestCheck.Route] = [:]
    /// By descriptor.
    private var sockets: [Socket] = []
    private var completions: [Completion] = []
    private var isDelivering = false
    private var isInsideCurl = false
    private var isClosed = false
    /// Addresses that count as public although they are not.
    var alsoPublic: Set<[UInt8]>

    /// libcurl wants to be called at once; done before the wait, and by `kickTimer` when that has passed for this turn.
    private var kickTimer: EventLoop.TimerID?
    private var deadlineTimer: (id: EventLoop.TimerID, at: ContinuousClock.Instant)?

    /// libcurl's process-wide set-up, once. Also ignores SIGPIPE for the process: OpenSSL writes without MSG_NOSIGNAL.
    private static let globalSetUp: Void = {
        tl_ignore_sigpipe()
        let code = curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        precondition(code == CURLE_OK, "curl_global_init: code \(code.rawValue)")
    }()

    /// Creates the driver. Loop only.
    ///
    /// - Parameters:
    ///   - loop: Runs all of it.
    ///   - maximumCalls: How many calls can be in the air at once, and how many connections are kept; more than zero.
    ///   - certificateAuthorities: A PEM file of authorities to trust *instead of* the system's.
    ///   - userAgent: Sent as `User-Agent`.
    ///   - maximumBody: How many bytes of an answer's body are kept.
    ///   - replayGuard: Stops libcurl from sending a request a second time by itself. Off only in tests that show why.
    ///   - connectTo: `HOST:PORT:OTHER_HOST:OTHER_PORT`: calls to the first connect to the second. For tests only.
    ///   - alsoPublic: Numeric addresses that count as public although they are not. For tests only.
    package init(
        loop: EventLoop,
        maximumCalls: Int,
        certificateAuthorities: String? = nil,
        userAgent: String = "trunkline",
        maximumBody: Int = 65_536,
        replayGuard: Bool = true,
        connectTo: String? = nil,
        alsoPublic: [String] = []
    ) {
        loop.preconditionOnLoop()
        precondition(maximumCalls > 0 && maximumBody >= 0)
        _ = Self.globalSetUp
        self.loop = loop
        self.maximumCalls = maximumCalls
        configuration = Configuration(
            certificateAuthorities: certificateAuthorities,
            userAgent: userAgent,
            maximumBody: maximumBody,
            replayGuard: replayGuard,
            connectTo: connectTo
        )
        self.alsoPublic = Set(alsoPublic.compactMap { PublicNetwork.bytes(ofAddress: $0) })
        trusted = ConnectionCache(driver: self, loop: loop, keeping: maximumCalls)
        // Fewer: each goes to another host, and is seldom used again.
        publicOnly = ConnectionCache(driver: self, loop: loop, keeping: max(1, maximumCalls / 4))
        // Weak: the loop keeps the body for as long as it runs.
        loop.beforeWait { [weak self] in self?.kick() }
    }

    deinit {
        assert(isClosed, "close() was not called")
        // Without close() the loop may be gone, and libcurl would call back into it: better to leak than to crash.
        if !isClosed, loop.isOnLoop { tearDown() }
    }

    // MARK: Calls

    /// How many calls can begin now. Loop only.
    package var freeSlots: Int {
        loop.preconditionOnLoop()
        return maximumCalls - callsInFlight
    }

    /// How many calls have begun and not ended. Loop only.
    package private(set) var callsInFlight = 0

    /// Begins a call. Loop only; needs a free slot.
    ///
    /// - Parameters:
    ///   - request: Checked first; what is not acceptable fails as `.refused` without a connection.
    ///   - mayLeave: The last check, called at most once, on the loop, when the connection stands and right before the bytes
    ///     leave. It must not call this driver. If it says no, the call fails as `.held`.
    ///   - done: Called exactly once, on the loop, never before this method has returned, with the slot free again: it may
    ///     call this method.
    package func send(
        _ request: HTTPRequest,
        mayLeave: @escaping () -> Bool,
        done: @escaping (Result<HTTPResponse, HTTPFailure>) -> Void
    ) {
        preconditionUsable()
        precondition(freeSlots > 0, "send needs a free slot")
        let route: RequestCheck.Route
        do throws(HTTPFailure) {
            try RequestCheck.check(headers: request.headers)
            route = try self.route(of: request.url)
        } catch {
            completions.append(Completion(done: done, result: .failure(error)))
            armKick()
            return
        }
        let cache: ConnectionCache = request.onlyPublicHosts ? publicOnly : trusted
        let transfer = cache.idle.popLast() ?? makeTransfer(cache)
        callsInFlight += 1
        transfer.begin(request, route: route, mayLeave: mayLeave, done: done)
        insideCurl {
            // Arms a timer of 0 ms and does nothing else: the call begins in `kick`.
            unsafe ConnectionCache.check(curl_multi_add_handle(cache.multi, transfer.easy))
        }
        armDeadline(transfer.deadline)
    }

    /// Ends every call: those whose bytes may have left fail as `.maybe`, the others as `.surelyNot`. Their completions are
    /// called soon, not before this method has returned. Loop only.
    package func cancelAll() {
        preconditionUsable()
        for transfer in transfers where transfer.isBusy {
            finish(transfer, transfer.abandoned(.cancelled, reason: "the call was cancelled"))
        }
        if !completions.isEmpty { armKick() }
    }

    /// Ends every call as ``cancelAll()`` does, calls their completions, closes the connections and frees libcurl's
    /// memory. No call may begin afterwards, also not from those completions. Loop only; a second call does nothing.
    package func close() {
        loop.preconditionOnLoop()
        guard !isClosed else { return }
        cancelAll()
        isClosed = true
        tearDown()
        let last = completions
        completions = []
        for completion in last { completion.done(completion.result) }
    }

    private func preconditionUsable() {
        loop.preconditionOnLoop()
        precondition(!isClosed, "the driver is closed")
        precondition(!isInsideCurl, "mayLeave must not call the driver")
    }

    private func tearDown() {
        for timer in [kickTimer, deadlineTimer?.id] {
            if let timer { loop.cancel(timer) }
        }
        kickTimer = nil
        deadlineTimer = nil
        let caches = [trusted!, publicOnly!]
        isInsideCurl = true
        for transfer in transfers where transfer.isBusy {
            unsafe curl_multi_remove_handle(transfer.cache.multi, transfer.easy)
        }
        // The easy handles go first: libcurl wants them gone or removed before the multi handle.
        for cache in caches { cache.idle = [] }
        transfers = []
        for cache in caches { cache.close() }
        isInsideCurl = false
    }

    private func makeTransfer(_ cache: ConnectionCache) -> Transfer {
        let transfer = Transfer(configuration: configuration, driver: self, cache: cache)
        transfers.append(transfer)
        return transfer
    }

    private func route(of url: String) throws(HTTPFailure) -> RequestCheck.Route {
        // Calls of a line go to one or two URLs.
        if let known = routes[url] { return known }
        let route = try RequestCheck.route(of: url)
        if routes.count >= 256 { routes.removeAll(keepingCapacity: true) }
        routes[url] = route
        return route
    }

    // MARK: Driving libcurl

    private func insideCurl(_ body: () -> Void) {
        isInsideCurl = true
        body()
        isInsideCurl = false
    }

    private func drive(_ cache: ConnectionCache, _ descriptor: Int32, _ mask: Int32) {
        guard !isClosed else { return }
        insideCurl {
            var running: Int32 = 0
            unsafe ConnectionCache.check(curl_multi_socket_action(cache.multi, descriptor, mask, &running))
        }
        harvest(cache)
    }

    private func harvest(_ cache: ConnectionCache) {
        var left: Int32 = 0
        while let message = unsafe curl_multi_info_read(cache.multi, &left) {
            guard unsafe message.pointee.msg == CURLMSG_DONE, let easy = unsafe message.pointee.easy_handle,
                let transfer = unsafe Transfer.of(easy)
            else { continue }
            // The message dies with the removal of its handle.
            let code = unsafe tl_curl_message_result(message)
            finish(transfer, transfer.outcome(code))
        }
    }

    private func finish(_ transfer: Transfer, _ result: Result<HTTPResponse, HTTPFailure>) {
        let done = transfer.done!
        insideCurl { unsafe ConnectionCache.check(curl_multi_remove_handle(transfer.cache.multi, transfer.easy)) }
        transfer.end()
        transfer.cache.idle.append(transfer)
        callsInFlight -= 1
        completions.append(Completion(done: done, result: result))
    }

    private func deliver() {
        guard !isDelivering, !completions.isEmpty else { return }
        isDelivering = true
        var batch: [Completion] = []
        swap(&batch, &completions)
        for completion in batch { completion.done(completion.result) }
        isDelivering = false
        // What came meanwhile waits for a turn: a completion that sends a refused request again must not spin here.
        if !completions.isEmpty, !isClosed { armKick() }
    }

    /// The next turn begins with what libcurl and our own completions wait for.
    func armKick() {
        guard kickTimer == nil else { return }
        kickTimer = loop.schedule(at: loop.now) { [weak self] in self?.kick() }
    }

    private func kick() {
        guard let timer = kickTimer, !isClosed else { return }
        loop.cancel(timer)
        kickTimer = nil
        for cache in [trusted!, publicOnly!] where cache.takeWish() { drive(cache, CURL_SOCKET_TIMEOUT, 0) }
        deliver()
    }

    /// What libcurl wanted to wait for has come.
    func timePassed(for cache: ConnectionCache) {
        drive(cache, CURL_SOCKET_TIMEOUT, 0)
        deliver()
    }

    // MARK: Called by libcurl

    /// `easy` may be a handle of libcurl's own, see ``Transfer/of(_:)``.
    func want(_ descriptor: Int32, _ what: Int32, easy: UnsafeMutableRawPointer, of cache: ConnectionCache) {
        let index = reserve(descriptor)
        var interest: EventLoop.Interest = []
        if what == CURL_POLL_IN || what == CURL_POLL_INOUT { interest.insert(.read) }
        if what == CURL_POLL_OUT || what == CURL_POLL_INOUT { interest.insert(.write) }
        let socket = sockets[index]
        sockets[index].interest = interest
        if what == CURL_POLL_REMOVE {
            guard socket.isWatched else { return }
            if socket.isOurs {
                // Kept: the next request on this connection asks for it again, often in this very turn.
                loop.update(descriptor, to: [])
            } else {
                // The resolver closes its socket pair without `closeSocket`, so this is the last we hear of it.
                sockets[index].isWatched = false
                loop.forget(descriptor)
            }
            return
        }
        if socket.isOurs { unsafe Transfer.of(easy)?.socket = descriptor }
        if socket.isWatched {
            loop.update(descriptor, to: interest)
        } else {
            sockets[index].isWatched = true
            loop.watch(descriptor, for: interest) { [unowned self, unowned cache] in ready(descriptor, $0, of: cache) }
        }
    }

    private func ready(_ descriptor: Int32, _ readiness: EventLoop.Readiness, of cache: ConnectionCache) {
        if sockets[Int(descriptor)].interest.isEmpty {
            // An idle connection was reset. libcurl finds out when it next looks at it; epoll would say so for ever.
            sockets[Int(descriptor)].isWatched = false
            loop.forget(descriptor)
            return
        }
        var mask: Int32 = 0
        if readiness.contains(.read) { mask |= CURL_CSELECT_IN }
        if readiness.contains(.write) { mask |= CURL_CSELECT_OUT }
        if readiness.contains(.error) { mask |= CURL_CSELECT_ERR }
        drive(cache, descriptor, mask)
        deliver()
    }

    /// Whether an address is the public internet, or a test says that it is.
    func isPublic(_ address: [UInt8]?) -> Bool {
        guard let address else { return false }
        return PublicNetwork.isPublic(address) || alsoPublic.contains(address)
    }

    /// Opens the descriptor of a connection, so that ours can be told from the resolver's own.
    func openSocket(for address: curl_sockaddr) -> Int32 {
        let descriptor = socket(
            address.family,
            address.socktype | Int32(SOCK_CLOEXEC.rawValue),
            address.protocol
        )
        guard descriptor >= 0 else { return CURL_SOCKET_BAD }
        let index = reserve(descriptor)
        if sockets[index].isWatched { loop.forget(descriptor) }
        sockets[index] = Socket(isOurs: true)
        return descriptor
    }

    /// libcurl's only way to close a connection's descriptor: the loop must have forgotten it before the number is reused.
    func closeSocket(_ descriptor: Int32) -> Int32 {
        let index = reserve(descriptor)
        if sockets[index].isWatched { loop.forget(descriptor) }
        sockets[index] = Socket()
        return Glibc.close(descriptor)
    }

    private func reserve(_ descriptor: Int32) -> Int {
        let index = Int(descriptor)
        while sockets.count <= index { sockets.append(Socket()) }
        return index
    }

    // MARK: Total time

    private func armDeadline(_ deadline: ContinuousClock.Instant) {
        if let armed = deadlineTimer {
            if armed.at <= deadline { return }
            loop.cancel(armed.id)
        }
        deadlineTimer = (loop.schedule(at: deadline) { [weak self] in self?.deadlinePassed() }, deadline)
    }

    private func deadlinePassed() {
        deadlineTimer = nil
        let now = loop.now
        let overdue = transfers.filter { $0.isBusy && $0.deadline <= now }
        for transfer in overdue {
            // A last look: one wait reports a bounded number of descriptors, so this one may hold an unread answer.
            if transfer.mayHaveLeft, let descriptor = transfer.socket {
                drive(transfer.cache, descriptor, CURL_CSELECT_IN)
            }
            // Nothing was delivered in between, so a slot that is busy still carries the same request.
            if transfer.isBusy {
                let reason =
                    transfer.mayHaveLeft ? "no whole answer within the total time" : "not sent within the total time"
                finish(transfer, transfer.abandoned(.timeout, reason: reason))
            }
        }
        var next: ContinuousClock.Instant?
        for transfer in transfers where transfer.isBusy {
            next = min(next ?? transfer.deadline, transfer.deadline)
        }
        if let next { armDeadline(next) }
        deliver()
    }
}

// libcurl points back at it from the loop's thread.
@available(*, unavailable)
extension CurlDriver: Sendable {}
