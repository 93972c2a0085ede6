internal import DequeModule
internal import EventLoop
internal import Synchronization

/// A connection with an async interface and a loop thread of its own: for commands, migrations and tests, not for hot paths
/// (a round trip between threads costs about 20 µs).
///
/// Any thread may call. Statements run one at a time, in the order of the calls. The connection is never made again: once
/// lost, everything fails with `notConnected`. Waiting does not end early when the task is cancelled, so that a rollback
/// always runs; to bound a statement, set `statement_timeout`.
package final class PostgresSession: Sendable {
    private struct State {
        var isClosed = false
        var isBusy = false
        var waiting = Deque<CheckedContinuation<Void, Never>>()
    }

    /// A running transaction: statements from within its body must not wait for it to end.
    private final class Scope: Sendable {
        let session: ObjectIdentifier
        let isOpen = Atomic(true)
        init(session: ObjectIdentifier) { self.session = session }
    }

    @TaskLocal private static var scope: Scope?

    /// The server process.
    package let backend: PostgresBackend

    private let loop: EventLoop
    private let connection: LoopBound<PostgresConnection>
    private let state = Mutex(State())

    private init(loop: EventLoop, connection: LoopBound<PostgresConnection>, backend: PostgresBackend) {
        self.loop = loop
        self.connection = connection
        self.backend = backend
    }

    deinit {
        // `close()` is the way; without it the thread ends by itself.
        guard !state.withLock({ $0.isClosed }) else { return }
        let (loop, connection) = (self.loop, self.connection)
        loop.run { connection.value.close() }
        loop.stop()
        // Here may be the loop's own thread, which cannot wait for itself.
        Detached.run { loop.join() }
    }

    /// Connects, once. Throws `cannotConnect`.
    ///
    /// - Parameters:
    ///   - settings: server settings, set for the session.
    ///   - silenceLimit: when a statement has got no answer for longer, the connection is given up as lost, and what is under
    ///     way fails with that. Nil: a server that falls silent is waited for without end, as libpq does; a statement may take
    ///     as long as the server lets it.
    package static func open(
        url: String,
        applicationName: String,
        connectTimeout: Duration = .seconds(5),
        settings: [(String, String)] = [],
        silenceLimit: Duration? = nil
    ) async throws(PostgresError) -> PostgresSession {
        let loop = EventLoop(name: "pg-session")
        loop.start()
        let configuration = PostgresConnection.Configuration(
            url: url,
            applicationName: applicationName,
            connectTimeout: connectTimeout,
            settings: settings,
            reconnects: false
        )
        typealias Opened = Result<(LoopBound<PostgresConnection>, PostgresBackend), PostgresError>
        let opened: Opened = await withCheckedContinuation { continuation in
            loop.run {
                let connection = PostgresConnection(loop: loop, configuration: configuration)
                // The closures keep the connection alive until one of them is called, and are let go then.
                connection.onConnect = { backend in
                    connection.onConnect = nil
                    connection.onConnectFailure = nil
                    if let silenceLimit { giveUpWhenSilent(connection, for: silenceLimit, on: loop) }
                    continuation.resume(returning: .success((LoopBound(connection), backend)))
                }
                connection.onConnectFailure = { error in
                    connection.onConnect = nil
                    connection.onConnectFailure = nil
                    continuation.resume(returning: .failure(error))
                }
                connection.connect()
            }
        }
        switch opened {
        case .success((let connection, let backend)):
            return PostgresSession(loop: loop, connection: connection, backend: backend)
        case .failure(let error):
            loop.stop()
            loop.join()
            throw error
        }
    }

    /// Looks now and then until the connection has ended. On the loop.
    private static func giveUpWhenSilent(_ connection: PostgresConnection, for limit: Duration, on loop: EventLoop) {
        loop.schedule(after: limit / 8) { [weak connection] in
            guard let connection, connection.isConnected else { return }
            if let since = connection.silentSince, loop.now - since > limit {
                connection.drop("the server has not answered for \(limit)")
            } else {
                giveUpWhenSilent(connection, for: limit, on: loop)
            }
        }
    }

    /// Connects, runs `body` and closes, whatever happens.
    @discardableResult
    package static func withSession<R>(
        url: String,
        applicationName: String,
        settings: [(String, String)] = [],
        silenceLimit: Duration? = nil,
        _ body: (PostgresSession) async throws -> R
    ) async throws -> R {
        let session = try await open(
            url: url,
            applicationName: applicationName,
            settings: settings,
            silenceLimit: silenceLimit
        )
        do {
            let value = try await body(session)
            await session.close()
            return value
        } catch {
            await session.close()
            throw error
        }
    }

    // MARK: Statements

    /// Runs one statement, parsed anew each time. Outside a transaction it is one of its own.
    ///
    /// `.text` and `.null` take the type that the statement asks for (`.text("42")` serves for an integer); every other
    /// parameter has the type of its kind.
    @discardableResult
    package func query(
        _ sql: String,
        _ parameters: [PostgresParameter] = []
    ) async throws(PostgresError) -> PostgresRows {
        await enter()
        let result = await perform(sql, parameters)
        leave()
        return try result.get()
    }

    /// Runs several statements in one string, as one transaction unless the string has its own transaction commands. No
    /// COPY from or to the client.
    package func script(_ sql: String) async throws(PostgresError) {
        await enter()
        let result = await onConnection { connection, done in connection.executeScript(sql, done) }
        leave()
        _ = try result.get()
    }

    /// Runs `body` in a transaction, which no other task's statements enter: commits when it returns, rolls back when it
    /// throws. Inside, use the session as usual. Not to be nested.
    ///
    /// Throws what `body` threw; or the commit's error (with `outcomeUnknown` when its reply was lost); or `server` when the
    /// server rolled back because a statement inside had failed and its error was swallowed.
    @discardableResult
    package func transaction<R>(_ body: (PostgresSession) async throws -> R) async throws -> R {
        precondition(!isInside, "transactions do not nest")
        await acquire()
        defer { release() }
        _ = try await perform("BEGIN").get()
        let scope = Scope(session: ObjectIdentifier(self))
        let value: R
        do {
            value = try await Self.$scope.withValue(scope) { try await body(self) }
        } catch {
            scope.isOpen.store(false, ordering: .sequentiallyConsistent)
            if case .failure(let failure) = await perform("ROLLBACK"), !failure.isConnectionLost {
                // Nobody may go on inside a transaction that we could not end.
                let connection = connection
                loop.run { connection.value.drop("a transaction could not be rolled back") }
            }
            throw error
        }
        scope.isOpen.store(false, ordering: .sequentiallyConsistent)
        let rows = try await perform("COMMIT").get()
        guard rows.commandTag == "COMMIT" else {
            throw PostgresError(
                code: .server,
                sqlState: "40000",
                message: "the transaction was rolled back, because a statement in it had failed"
            )
        }
        return value
    }

    /// Fails what is under way and ends the thread. Whole also in a cancelled task. Does nothing the second time.
    package func close() async {
        let isFirst = state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        guard isFirst else { return }
        let (loop, connection) = (self.loop, self.connection)
        await withCheckedContinuation { continuation in
            loop.run {
                connection.value.close()
                // One turn later: statements that were refused have their answer waiting there.
                loop.schedule(after: .zero) { continuation.resume() }
            }
        }
        loop.stop()
        loop.join()
    }

    // MARK: Inside

    private var isInside: Bool {
        guard let scope = Self.scope, scope.session == ObjectIdentifier(self) else { return false }
        return scope.isOpen.load(ordering: .sequentiallyConsistent)
    }

    private func enter() async {
        if !isInside { await acquire() }
    }

    private func leave() {
        if !isInside { release() }
    }

    private func acquire() async {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                if state.isBusy {
                    state.waiting.append(continuation)
                    return false
                }
                state.isBusy = true
                return true
            }
            if isFree { continuation.resume() }
        }
    }

    private func release() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            if state.waiting.isEmpty {
                state.isBusy = false
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.resume()
    }

    private func perform(
        _ sql: String,
        _ parameters: [PostgresParameter] = []
    ) async -> Result<PostgresRows, PostgresError> {
        let statement = PostgresStatement(name: "", sql: sql, parameterTypes: parameters.map(\.inferredType))
        return await onConnection { connection, done in connection.execute(statement, parameters, done) }
    }

    private func onConnection(
        _ start:
            @escaping @Sendable (
                PostgresConnection, @escaping (Result<PostgresRows, PostgresError>) -> Void
            ) -> Void
    ) async -> Result<PostgresRows, PostgresError> {
        let (loop, connection) = (self.loop, self.connection)
        return await withCheckedContinuation { continuation in
            // Under the lock, so that nothing is handed to a loop that `close()` has told to stop: it would never answer.
            let isTaken = state.withLock { state in
                guard !state.isClosed else { return false }
                loop.run { start(connection.value) { continuation.resume(returning: $0) } }
                return true
            }
            if !isTaken {
                let error = PostgresError(code: .notConnected, message: "the session is closed")
                continuation.resume(returning: .failure(error))
            }
        }
    }
}

extension PostgresParameter {
    /// The type for a statement that declares none.
    var inferredType: PostgresType {
        switch self {
        case .null, .text: .inferred
        case .int4: .int4
        case .int8: .int8
        case .float8: .float8
        case .bool: .bool
        case .bytes: .bytea
        case .timestamp: .timestamptz
        case .uuid: .uuid
        case .textArray: .textArray
        case .int4Array: .int4Array
        case .int8Array: .int8Array
        case .boolArray: .boolArray
        case .byteaArray: .byteaArray
        case .timestampArray: .timestamptzArray
        case .uuidArray: .uuidArray
        }
    }
}
