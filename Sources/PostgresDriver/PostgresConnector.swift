internal import CPlatform
internal import EventLoop
internal import Glibc

/// One try to connect: looks up names on a thread of its own, then drives libpq's handshake on the loop.
///
/// What can still block the loop for a moment inside `PQconnectPoll`: reading certificate, key and `~/.pgpass` files, the
/// arithmetic of TLS and SCRAM (milliseconds), and a `service` that names a host (libpq then looks it up itself).
@safe final class PostgresConnector {
    // Safe: the handle has one owner at a time, this object until `done` or the end.
    @safe private enum Phase {
        case idle, resolving
        case polling(OpaquePointer, watched: Int32?)
        case ended
    }

    private let loop: EventLoop
    private let parameters: ConnectionParameters
    private let applicationName: String
    /// How many of the servers were tried in vain before; the try begins with the next one.
    private let skip: Int
    /// Called when the server has taken a step; not after `done`.
    private let onProgress: () -> Void
    private let done: (Result<OpaquePointer, PostgresError>) -> Void
    private var phase = Phase.idle

    /// `done` is called at most once, never before ``start()`` returns, and owns the connection that it is given.
    init(
        loop: EventLoop,
        parameters: ConnectionParameters,
        applicationName: String,
        skip: Int = 0,
        onProgress: @escaping () -> Void = {},
        done: @escaping (Result<OpaquePointer, PostgresError>) -> Void
    ) {
        self.loop = loop
        self.parameters = parameters
        self.applicationName = applicationName
        self.skip = skip
        self.onProgress = onProgress
        unsafe self.done = done
    }

    deinit {
        if case .polling(let handle, let watched) = phase {
            if let watched, loop.isOnLoop { loop.forget(watched) }
            unsafe PQfinish(handle)
        }
    }

    func start() {
        guard parameters.needsResolution else {
            phase = unsafe .polling(begin(with: parameters), watched: nil)
            loop.schedule(after: .zero) { [weak self] in self?.begun() }
            return
        }
        phase = .resolving
        let owner = LoopBound(self)
        let (loop, parameters) = (self.loop, self.parameters)
        // getaddrinfo cannot be interrupted: a cancelled look-up ends by itself, after the resolver's own time-outs.
        Detached.run {
            let result = parameters.resolved()
            loop.run { owner.value.resolved(result) }
        }
    }

    /// Ends the try without calling `done`.
    func cancel() {
        if case .polling(let handle, let watched) = phase {
            if let watched { loop.forget(watched) }
            unsafe PQfinish(handle)
        }
        phase = .ended
    }

    private func resolved(_ result: Result<ConnectionParameters, PostgresError>) {
        guard case .resolving = phase else { return }
        switch result {
        case .success(let parameters):
            phase = unsafe .polling(begin(with: parameters), watched: nil)
            begun()
        case .failure(let error):
            phase = .ended
            unsafe done(.failure(error))
        }
    }

    private func begin(with parameters: ConnectionParameters) -> OpaquePointer {
        let list = parameters.rotated(by: skip).keywords(applicationName: applicationName)
        let strings = unsafe list.map { unsafe (strdup($0.keyword), strdup($0.value)) }
        defer {
            unsafe strings.forEach { keyword, value in
                unsafe free(keyword)
                unsafe free(value)
            }
        }
        let keywords = unsafe strings.map { unsafe UnsafePointer($0.0) } + [nil]
        let values = unsafe strings.map { unsafe UnsafePointer($0.1) } + [nil]
        guard let handle = unsafe PQconnectStartParams(keywords, values, 0) else {
            preconditionFailure("out of memory")
        }
        unsafe tl_pg_silence(handle)
        // The only way to see the SQLSTATE of a refused connection is libpq's verbose text.
        unsafe PQsetErrorVerbosity(handle, PQERRORS_VERBOSE)
        return unsafe handle
    }

    private func begun() {
        guard case .polling(let handle, _) = phase else { return }
        if unsafe PQstatus(handle) == CONNECTION_BAD {
            unsafe fail(handle)
            return
        }
        // > If you have yet to call PQconnectPoll, i.e., just after the call to PQconnectStart, behave as if it last
        // > returned PGRES_POLLING_WRITING.
        unsafe wait(handle, for: .write)
    }

    private func wait(_ handle: OpaquePointer, for interest: EventLoop.Interest) {
        let descriptor = unsafe PQsocket(handle)
        guard descriptor >= 0 else {
            unsafe fail(handle)
            return
        }
        phase = unsafe .polling(handle, watched: descriptor)
        loop.watch(descriptor, for: interest) { [weak self] _ in self?.poll() }
    }

    private func poll() {
        guard case .polling(let handle, let watched) = phase else { return }
        // libpq may close this socket and open the next server's under the same number within the call, which the loop could
        // not tell apart: so it is forgotten before, and watched anew after.
        if let watched { loop.forget(watched) }
        phase = unsafe .polling(handle, watched: nil)
        switch unsafe PQconnectPoll(handle) {
        case PGRES_POLLING_READING:
            unsafe wait(handle, for: .read)
            onProgress()
        case PGRES_POLLING_WRITING:
            unsafe wait(handle, for: .write)
            onProgress()
        case PGRES_POLLING_OK:
            phase = .ended
            unsafe done(.success(handle))
        default:
            // PGRES_POLLING_FAILED, and ACTIVE, which no version returns.
            unsafe fail(handle)
        }
    }

    private func fail(_ handle: OpaquePointer) {
        var error = unsafe Self.error(from: parameters.redacted(String(cString: PQerrorMessage(handle))))
        // libpq itself noticed that the server asks for a password and there is none: no SQLSTATE comes with that.
        if error.sqlState == nil, unsafe PQconnectionNeedsPassword(handle) == 1 { error.sqlState = "28P01" }
        if let advice = parameters.transport.advice,
            error.message.contains("SSL") || error.message.contains("certificate")
        {
            error.message += " (\(advice))"
        }
        phase = .ended
        unsafe PQfinish(handle)
        unsafe done(.failure(error))
    }

    /// Takes SQLSTATE and primary message out of libpq's text, which has several lines per server that was tried:
    ///
    ///     connection to server at "127.0.0.1", port 5432 failed: FATAL:  28P01: password authentication failed for user "u"
    ///     LOCATION:  auth_failed, auth.c:338
    static func error(from text: String) -> PostgresError {
        var sqlState: String?
        var lines: [String] = []
        for line in text.split(separator: "\n") {
            if let match = line.firstMatch(of: #/:  ([0-9A-Z]{5}): /#) {
                sqlState = String(match.1)
                lines.append(String(line.replacing(match.0, with: ": ")))
            } else if line.hasPrefix("connection to server") || lines.isEmpty {
                lines.append(String(line))
            }
        }
        return PostgresError(
            code: .cannotConnect,
            sqlState: sqlState,
            message: lines.isEmpty ? "no reason was given" : lines.joined(separator: "; ")
        )
    }
}

/// Carries a loop-bound object through code that runs elsewhere and does not touch it.
struct LoopBound<Value>: @unchecked Sendable {
    // Unchecked because the compiler cannot see threads: only closures that run on the value's loop may read it.
    let value: Value
    init(_ value: Value) { self.value = value }
}

/// A thread for one blocking call. Not the cooperative pool, whose threads must never block.
enum Detached {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    static func run(_ body: @escaping @Sendable () -> Void) {
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        defer { unsafe pthread_attr_destroy(&attributes) }
        let box = unsafe Unmanaged.passRetained(Body(body))  // released by the thread
        var thread = pthread_t()
        let code = unsafe pthread_create(
            &thread,
            &attributes,
            { pointer in
                if let pointer = unsafe pointer { unsafe Unmanaged<Body>.fromOpaque(pointer).takeRetainedValue().run() }
                return nil
            },
            unsafe box.toOpaque()
        )
        precondition(code == 0, "no thread for a blocking call: errno \(code)")
    }
}
