internal import CPlatform
package import EventLoop

/// The server process behind a connection: enough to end exactly this one and no later one with the same number.
package struct PostgresBackend: Sendable, Hashable {
    /// Process id on the server.
    package let pid: Int32
    /// `backend_start` in microseconds since 1970-01-01 UTC.
    package let start: Int64

    package init(pid: Int32, start: Int64) {
        self.pid = pid
        self.start = start
    }
}

/// A connection to PostgreSQL that lives on an event loop: non-blocking, pipelined, and made again by itself whenever it is
/// lost, until ``close()``.
///
/// Loop-bound: every method and callback belongs to the loop's thread, and methods trap elsewhere. Callbacks may call any
/// method of the connection.
package final class PostgresConnection {
    package struct Configuration: Sendable {
        /// A URI (`postgresql://…`) or `keyword=value` list, as libpq reads it; `sslmode` and the like pass through. Secret.
        package var url: String
        /// `application_name` at the server, whatever the URL says.
        package var applicationName: String
        /// Between two signs of life of one try: name look-up, each step of the handshake, preparing. A server that is slow
        /// gets through, one that says nothing is left. Default 5 s.
        package var connectTimeout: Duration
        /// Prepared at every connect, before ``PostgresConnection/onConnect``. Names must be unique and not empty.
        package var statements: [PostgresStatement]
        /// Server settings, set for the session at every connect (`lock_timeout`, `500ms`).
        package var settings: [(String, String)]
        /// Whether to connect again after a loss or a failed try. Without it, either is the end: `isClosed` becomes true.
        package var reconnects: Bool

        package init(
            url: String,
            applicationName: String,
            connectTimeout: Duration = .seconds(5),
            statements: [PostgresStatement] = [],
            settings: [(String, String)] = [],
            reconnects: Bool = true
        ) {
            self.url = url
            self.applicationName = applicationName
            self.connectTimeout = connectTimeout
            self.statements = statements
            self.settings = settings
            self.reconnects = reconnects
        }
    }

    private enum Phase {
        /// Exit: `connect()`.
        case idle
        /// Exits: handshake done, failure (waiting or closed), `close()`.
        case connecting(PostgresConnector)
        /// Settings and statements. Exits: ready, failure (waiting or closed), `close()`.
        case preparing(PostgresPipeline)
        /// Exits: loss (waiting or closed), `close()`.
        case ready(PostgresPipeline, since: ContinuousClock.Instant)
        /// Exits: the timer (connecting), `close()`.
        case waiting(EventLoop.TimerID)
        /// No exit.
        case closed
    }

    /// A connection that lived this long was a good one: the next loss begins with a short wait again.
    private static let goodLife = Duration.seconds(5)

    private let loop: EventLoop
    private let configuration: Configuration
    private let statementNames: Set<String>
    private var generator: any RandomNumberGenerator
    private var backoff = Backoff()
    /// Since the last connection: each begins with another of several servers.
    private var triesInVain = 0
    private var phase = Phase.idle
    private var timeout: EventLoop.TimerID?
    /// Rises with every try, so that a callback of an earlier one is known.
    private var generation = 0

    /// Every statement is prepared; statements may be executed from within the callback.
    package var onConnect: ((PostgresBackend) -> Void)?
    /// A connection that had reported `onConnect` was lost. Called once for it, after every statement in flight has failed;
    /// not called for ``close()``.
    package var onDisconnect: ((PostgresError) -> Void)?
    /// A try to connect failed. With `reconnects` the next one comes by itself.
    package var onConnectFailure: ((PostgresError) -> Void)?

    /// Does nothing before ``connect()``. `generator` spreads the waits between tries.
    package init(
        loop: EventLoop,
        configuration: Configuration,
        generator: any RandomNumberGenerator = SystemRandomNumberGenerator()
    ) {
        self.loop = loop
        self.configuration = configuration
        self.generator = generator
        statementNames = Set(configuration.statements.map(\.name))
        precondition(
            statementNames.count == configuration.statements.count && !statementNames.contains(""),
            "prepared statements need names of their own"
        )
    }

    // MARK: State

    /// Whether statements can be executed now.
    package var isConnected: Bool { readyPipeline != nil }

    /// Closed by ``close()``, or lost without `reconnects`.
    package var isClosed: Bool {
        if case .closed = phase { true } else { false }
    }

    /// Statements that were given to ``execute(_:_:_:)`` while connected and have not ended.
    package var inFlight: Int { readyPipeline?.inFlight ?? 0 }

    /// Since when statements are in flight and none is answered; nil when nothing is waited for. libpq itself waits for ever.
    package var silentSince: ContinuousClock.Instant? { readyPipeline?.silentSince }

    private var readyPipeline: PostgresPipeline? {
        if case .ready(let pipeline, _) = phase, !pipeline.ended { pipeline } else { nil }
    }

    // MARK: Calls

    /// Begins to connect. Does nothing when it has begun already or is closed. Never calls back before it returns.
    package func connect() {
        loop.preconditionOnLoop()
        guard case .idle = phase else { return }
        tryToConnect()
    }

    /// Ends the connection for good. Statements in flight fail with `connectionLost` before it returns; other callbacks are
    /// not called any more. Does nothing the second time.
    package func close() {
        loop.preconditionOnLoop()
        let ending = phase
        phase = .closed
        cancelTimeout()
        switch ending {
        case .idle, .closed: break
        case .connecting(let connector): connector.cancel()
        case .waiting(let timer): loop.cancel(timer)
        case .preparing(let pipeline), .ready(let pipeline, _):
            pipeline.end(PostgresError(code: .connectionLost, message: "the connection was closed"))
        }
    }

    /// Drops the present connection as lost, for a caller who knows better than TCP that the server does not answer (libpq
    /// itself waits for a frozen server for ever). Statements in flight fail before it returns.
    package func drop(_ reason: String) {
        loop.preconditionOnLoop()
        readyPipeline?.end(PostgresError(code: .connectionLost, message: reason))
    }

    /// Executes a statement that the configuration names, or an unnamed one.
    ///
    /// Each is a transaction of its own: what goes wrong with it does not touch its neighbours, and success means that it is
    /// committed. Statements run and complete in the order of the calls. `done` is called exactly once, on the loop, never
    /// before this returns. Statements that are never sent (`notConnected`, `invalidParameter`) complete in the next turn, so
    /// before those that are under way.
    package func execute(
        _ statement: PostgresStatement,
        _ parameters: [PostgresParameter],
        _ done: @escaping (Result<PostgresRows, PostgresError>) -> Void
    ) {
        loop.preconditionOnLoop()
        precondition(
            statement.name.isEmpty || statementNames.contains(statement.name),
            "statement \"\(statement.name)\" is not in the configuration, so it was never prepared"
        )
        submit(.statement(statement, parameters), done)
    }

    /// Runs several statements in one string, as one transaction unless it holds transaction commands. Waits for the
    /// statements before it, and those after it wait for it. No COPY.
    func executeScript(_ sql: String, _ done: @escaping (Result<PostgresRows, PostgresError>) -> Void) {
        loop.preconditionOnLoop()
        if sql.utf8.contains(0) {
            let error = PostgresError(code: .invalidParameter, message: "the script holds a NUL character")
            loop.schedule(after: .zero) { done(.failure(error)) }
            return
        }
        submit(.script(sql), done)
    }

    private func submit(_ work: PostgresPipeline.Work, _ done: @escaping PostgresPipeline.Completion) {
        guard let pipeline = readyPipeline else {
            loop.schedule(after: .zero) {
                done(.failure(PostgresError(code: .notConnected, message: "there is no connection to the database")))
            }
            return
        }
        pipeline.submit(work, done)
    }

    // MARK: Connecting

    private func tryToConnect() {
        generation += 1
        let attempt = generation
        // Parsed at every try: the environment's part of it may have been mended meanwhile.
        let parameters: ConnectionParameters
        do {
            parameters = try ConnectionParameters(url: configuration.url)
        } catch {
            let timer = loop.schedule(after: .zero) { [weak self] in self?.failed(attempt, error) }
            phase = .waiting(timer)
            return
        }
        let connector = unsafe PostgresConnector(
            loop: loop,
            parameters: parameters,
            applicationName: configuration.applicationName,
            skip: triesInVain,
            onProgress: { [weak self] in self?.armTimeout(attempt) }
        ) { [weak self] result in
            switch unsafe result {
            case .success(let handle): unsafe self?.established(attempt, takingOwnershipOf: handle)
            case .failure(let error): self?.failed(attempt, error)
            }
        }
        phase = .connecting(connector)
        armTimeout(attempt)
        connector.start()
    }

    private func armTimeout(_ attempt: Int) {
        guard attempt == generation else { return }
        cancelTimeout()
        timeout = loop.schedule(after: configuration.connectTimeout) { [weak self] in self?.timedOut(attempt) }
    }

    private func established(_ attempt: Int, takingOwnershipOf handle: OpaquePointer) {
        guard attempt == generation, case .connecting = phase else {
            unsafe PQfinish(handle)
            return
        }
        let pipeline = unsafe PostgresPipeline(loop: loop, takingOwnershipOf: handle) { [weak self] cause in
            self?.ended(attempt, cause)
        }
        phase = .preparing(pipeline)
        armTimeout(attempt)
        prepare(pipeline, attempt)
    }

    /// All of it goes out at once, in one round trip.
    private func prepare(_ pipeline: PostgresPipeline, _ attempt: Int) {
        let setting = PostgresStatement(
            name: "",
            sql: "SELECT set_config($1, $2, false)",
            parameterTypes: [.text, .text]
        )
        for (name, value) in configuration.settings {
            pipeline.submit(.statement(setting, [.text(name), .text(value)])) { [weak self] result in
                if case .failure(let error) = result { self?.refused(attempt, "setting \(name)", error) }
            }
        }
        for statement in configuration.statements {
            pipeline.submit(.prepare(statement)) { [weak self] result in
                if case .failure(let error) = result { self?.refused(attempt, "statement \(statement.name)", error) }
            }
        }
        let backend = PostgresStatement(
            name: "",
            sql: "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
        pipeline.submit(.statement(backend, [])) { [weak self] result in
            switch result {
            case .success(let rows):
                guard rows.count == 1, let pid = rows.int4(0, 0), let start = rows.timestamp(0, 1) else {
                    let error = PostgresError(
                        code: .protocolViolation,
                        message: "the server does not list this session"
                    )
                    self?.refused(attempt, "session", error)
                    return
                }
                self?.prepared(attempt, PostgresBackend(pid: pid, start: start))
            case .failure(let error):
                self?.refused(attempt, "session", error)
            }
        }
    }

    private func prepared(_ attempt: Int, _ backend: PostgresBackend) {
        guard attempt == generation, case .preparing(let pipeline) = phase else { return }
        cancelTimeout()
        triesInVain = 0
        phase = .ready(pipeline, since: .now)
        onConnect?(backend)
    }

    /// The server is there but will not do what the configuration asks. (A lost connection is told by `ended`.)
    private func refused(_ attempt: Int, _ what: String, _ error: PostgresError) {
        guard error.code != .connectionLost, attempt == generation, case .preparing(let pipeline) = phase else {
            return
        }
        var explained = error
        explained.code = .cannotConnect
        explained.message = "\(what): \(error.message)"
        pipeline.end(explained)
    }

    private func timedOut(_ attempt: Int) {
        guard attempt == generation else { return }
        timeout = nil
        switch phase {
        case .connecting(let connector):
            connector.cancel()
            failed(attempt, timeoutError("no connection"))
        case .preparing(let pipeline):
            pipeline.end(timeoutError("connected, but the statements were not prepared"))
        case .idle, .ready, .waiting, .closed: break
        }
    }

    private func timeoutError(_ what: String) -> PostgresError {
        PostgresError(code: .cannotConnect, message: "\(what) within \(configuration.connectTimeout)")
    }

    private func failed(_ attempt: Int, _ error: PostgresError) {
        guard attempt == generation, !isClosed else { return }
        cancelTimeout()
        triesInVain += 1
        tryAgainLater()
        onConnectFailure?(error)
    }

    /// The pipeline has ended and every completion was called.
    private func ended(_ attempt: Int, _ cause: PostgresError) {
        guard attempt == generation else { return }
        switch phase {
        case .preparing:
            var error = cause
            error.code = .cannotConnect
            failed(attempt, error)
        case .ready(_, let since):
            if .now - since >= Self.goodLife { backoff.reset() }
            tryAgainLater()
            onDisconnect?(cause)
        case .idle, .connecting, .waiting, .closed: break
        }
    }

    private func tryAgainLater() {
        guard configuration.reconnects else {
            phase = .closed
            return
        }
        let delay = backoff.next(using: &generator)
        let timer = loop.schedule(after: delay) { [weak self] in
            guard let self, case .waiting = self.phase else { return }
            self.tryToConnect()
        }
        phase = .waiting(timer)
    }

    private func cancelTimeout() {
        if let timeout { loop.cancel(timeout) }
        timeout = nil
    }
}

@available(*, unavailable)
extension PostgresConnection: Sendable {}
