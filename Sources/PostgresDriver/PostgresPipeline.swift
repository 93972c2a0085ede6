internal import CPlatform
internal import EventLoop

/// An established libpq connection: statements go out in pipeline mode, each with a Sync of its own, and come back in order.
///
/// One life: it begins connected and ends once, by ``end(_:)``. Loop-bound.
///
/// Non-blocking pipeline mode has one rule that everything here follows: input is drained whenever output is flushed, else
/// client and server fill both directions' buffers and wait for each other for ever.
/// https://www.postgresql.org/docs/15/libpq-pipeline-mode.html
@safe final class PostgresPipeline {
    typealias Machine = PipelineMachine<PostgresRows>
    typealias Completion = Machine.Completion
    typealias Work = Machine.Work

    // Safe: libpq's connection and its last words live until this object ends, and neither leaves it.
    private let loop: EventLoop
    private let handle: OpaquePointer
    private let descriptor: Int32
    private let encoder = ParameterEncoder()
    private let onEnd: (PostgresError) -> Void
    /// What the server said out of turn before it hung up; libpq writes it, until `PQfinish`.
    private let lastWords = UnsafeMutablePointer<tl_pg_last_words>.allocate(capacity: 1)

    private var machine = Machine(at: .now)
    private var looksLater = false
    private var isDraining = false

    /// See ``PipelineMachine``.
    var ended: Bool { machine.isOver }
    var inFlight: Int { machine.inFlight }
    var silentSince: ContinuousClock.Instant? { machine.silentSince }

    /// Owns `handle`, which must be connected, from now on. `onEnd` is called once, after every completion has failed.
    init(loop: EventLoop, takingOwnershipOf handle: OpaquePointer, onEnd: @escaping (PostgresError) -> Void) {
        self.loop = loop
        unsafe self.handle = handle
        self.onEnd = onEnd
        descriptor = unsafe PQsocket(handle)
        unsafe lastWords.initialize(to: tl_pg_last_words())
        unsafe tl_pg_keep_last_words(handle, lastWords)
        if unsafe PQsetnonblocking(handle, 1) != 0 || PQenterPipelineMode(handle) != 1 {
            breakLater()
        }
        loop.watch(descriptor, for: .read) { [weak self] readiness in self?.ready(readiness) }
    }

    deinit {
        // Its owner was let go without `close()`: nobody is left to be told.
        if !ended {
            if loop.isOnLoop { loop.forget(descriptor) }
            unsafe PQfinish(handle)
        }
        unsafe lastWords.deallocate()
    }

    /// Never calls back before it returns.
    func submit(_ work: Work, _ done: @escaping Completion) {
        machine.submit(work, done)
        sendQueued()
        lookLater()
    }

    /// Closes the socket and fails what is in flight, in order, then calls `onEnd`.
    func end(_ cause: PostgresError) {
        guard let unfinished = machine.end(cause) else { return }
        // Before libpq closes it: the loop must not know a number that may be another's soon. (libpq may have closed it
        // already, in this very turn and on this thread, so the number is nobody else's on this loop yet.)
        loop.forget(descriptor)
        unsafe PQfinish(handle)
        for (done, error) in unfinished { done(.failure(error)) }
        onEnd(cause)
    }

    // MARK: Sending

    /// Gives libpq what may go out. Calls nobody back.
    private func sendQueued() {
        while let work = machine.next {
            if case .statement(let statement, let parameters) = work {
                do {
                    try encoder.encode(parameters, for: statement)
                } catch {
                    let done = machine.withdraw()
                    loop.schedule(after: .zero) { done(.failure(error)) }
                    continue
                }
            }
            guard unsafe PQstatus(handle) == CONNECTION_OK else {
                // Still in the queue, so it will be told that it was never sent.
                breakLater()
                return
            }
            machine.give(at: .now)
            guard send(work) else {
                breakLater()
                return
            }
            flush()
        }
    }

    /// False when libpq could not take it: out of memory, or the connection is gone.
    private func send(_ work: Work) -> Bool {
        switch work {
        case .statement(let statement, _):
            let taken = unsafe encoder.withEncoded { count, values, lengths, formats in
                if statement.name.isEmpty {
                    let types = statement.parameterTypes.map(\.oid)
                    return unsafe PQsendQueryParams(handle, statement.sql, count, types, values, lengths, formats, 1)
                } else {
                    return unsafe PQsendQueryPrepared(handle, statement.name, count, values, lengths, formats, 1)
                }
            }
            return unsafe taken == 1 && PQpipelineSync(handle) == 1
        case .prepare(let statement):
            let types = statement.parameterTypes.map(\.oid)
            return unsafe PQsendPrepare(handle, statement.name, statement.sql, Int32(types.count), types) == 1
                && PQpipelineSync(handle) == 1
        case .script(let sql):
            return unsafe PQexitPipelineMode(handle) == 1 && PQsendQuery(handle, sql) == 1
        }
    }

    private func flush() {
        // PQflush: 0 everything is with the kernel, 1 some is left, -1 the connection is gone (which reading tells too).
        let code = unsafe PQflush(handle)
        if code < 0 { breakLater() }
        if machine.flushed(isBlocked: code == 1, hangsUp: tl_pg_is_hung_up(descriptor) != 0) {
            loop.update(descriptor, to: machine.wantsWrite ? [.read, .write] : .read)
        }
    }

    /// Ends the connection soon, from the loop: completions are never called from within a caller's `execute`. What the
    /// server answered before still counts.
    private func breakLater() {
        guard machine.die() else { return }
        loop.schedule(after: .zero) { [weak self] in self?.advance() }
    }

    // MARK: Receiving

    /// libpq also reads while it writes to a full socket, and then the socket never becomes readable again for what is in
    /// libpq's buffer already: after every flush somebody has to look.
    private func lookLater() {
        guard !looksLater, machine.awaitsAnswers else { return }
        guard unsafe PQstatus(handle) == CONNECTION_OK else {
            // Noticed by a write: libpq has closed the socket, and the loop will never hear of it.
            breakLater()
            return
        }
        guard unsafe PQisBusy(handle) == 0 else { return }
        looksLater = true
        loop.schedule(after: .zero) { [weak self] in
            self?.looksLater = false
            self?.advance()
        }
    }

    private func ready(_ readiness: EventLoop.Readiness) {
        guard !ended else { return }
        var alive = true
        if !readiness.isDisjoint(with: [.read, .error]) {
            alive = unsafe PQconsumeInput(handle) == 1
        }
        if !alive { machine.die() }
        advance()
    }

    /// Takes what has arrived, also when the connection is gone, because whole answers may have come before its end; then
    /// sends what can be sent.
    private func advance() {
        guard !ended else { return }
        drain()
        guard !ended else { return }
        if unsafe machine.isDying || PQstatus(handle) == CONNECTION_BAD {
            end(machine.cause ?? lost())
            return
        }
        if machine.wantsWrite { flush() }
        sendQueued()
        lookLater()
    }

    /// Takes every result that has arrived and calls the completions of the statements that have ended.
    ///
    /// A completion may call anything, also ``submit(_:_:)`` and ``end(_:)``.
    private func drain() {
        guard !isDraining else { return }
        isDraining = true
        defer { isDraining = false }
        // Asked in this order: libpq also reads what the server says while nothing is under way.
        while !ended, unsafe PQisBusy(handle) == 0, machine.awaitsAnswers {
            switch nextStep() {
            case .nothing: break
            case .complete(let done, let answer):
                done(answer)
                // Here, not when the result came: a result arrives before its Sync, and who waits for room would wait for ever.
                if !ended { sendQueued() }
            case .completeScript(let done, let answer):
                if unsafe PQenterPipelineMode(handle) != 1 { breakLater() }
                done(answer)
                if !ended { sendQueued() }
            case .end: return
            }
        }
    }

    /// Takes one result from libpq.
    private func nextStep() -> Machine.Step {
        guard let result = unsafe PQgetResult(handle) else {
            return unsafe machine.exhausted(
                isHealthy: PQstatus(handle) == CONNECTION_OK && PQtransactionStatus(handle) != PQTRANS_ACTIVE
            )
        }
        let status = unsafe PQresultStatus(result)
        switch status {
        case PGRES_PIPELINE_SYNC:
            unsafe PQclear(result)
            return machine.synced(at: .now)
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
            unsafe machine.answered(.success(PostgresRows(takingOwnershipOf: result)))
            return .nothing
        case PGRES_FATAL_ERROR, PGRES_PIPELINE_ABORTED, PGRES_NONFATAL_ERROR:
            let error = unsafe Self.error(of: result)
            unsafe PQclear(result)
            machine.answered(.failure(error))
            return .nothing
        default:
            // COPY, single rows and "bad response": nothing that we ask for.
            unsafe PQclear(result)
            machine.die(
                PostgresError(
                    code: .protocolViolation,
                    message: "an answer of kind \(status.rawValue), which this driver cannot take (COPY in a script?)"
                )
            )
            return .end
        }
    }

    // MARK: Errors

    /// Why the connection is gone, in the server's words if it said some in answer to a statement ("terminating connection
    /// due to administrator command"), else in libpq's.
    private func lost() -> PostgresError {
        if case .failure(let error) = machine.firstAnswer, error.sqlState?.hasPrefix("57P") == true {
            return PostgresError(code: .connectionLost, sqlState: error.sqlState, message: error.message)
        }
        if let sqlState = unsafe lastWords.pointee.sqlStateText {
            return unsafe PostgresError(
                code: .connectionLost,
                sqlState: sqlState,
                message: lastWords.pointee.messageText
            )
        }
        return unsafe PostgresError(
            code: .connectionLost,
            message: firstLine(of: String(cString: PQerrorMessage(handle)), otherwise: "the connection was lost")
        )
    }

    private static func error(of result: OpaquePointer) -> PostgresError {
        func field(_ code: Int) -> String? {
            unsafe PQresultErrorField(result, Int32(code)).map { unsafe String(cString: $0) }
        }
        guard let sqlState = field(tl_pg_sqlstate), let message = field(tl_pg_message) else {
            // libpq's own words: it could not keep the answer (out of memory), so the server may have committed.
            let text = unsafe PQresultErrorMessage(result).map { unsafe String(cString: $0) } ?? ""
            return PostgresError(
                code: .protocolViolation,
                message: firstLine(of: text, otherwise: "no reason was given"),
                outcomeUnknown: true
            )
        }
        return PostgresError(
            code: .server,
            sqlState: sqlState,
            constraint: field(tl_pg_constraint),
            message: safeMessage(message, sqlState: sqlState),
            position: field(tl_pg_position).flatMap { Int($0) }
        )
    }
}

extension tl_pg_last_words {
    fileprivate var sqlStateText: String? {
        let text = unsafe withUnsafeBytes(of: sqlstate) {
            unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        return text.isEmpty ? nil : text
    }

    fileprivate var messageText: String {
        unsafe withUnsafeBytes(of: message) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

func firstLine(of text: String, otherwise: String) -> String {
    let line = text.split(separator: "\n").first { !$0.allSatisfy(\.isWhitespace) }
    return line.map { String($0) } ?? otherwise
}

/// The primary message without customers' values. Only data errors (class 22: `invalid input syntax for type integer: "…"`)
/// quote values there; other classes quote names of tables, columns and constraints, which are wanted.
func safeMessage(_ message: String, sqlState: String?) -> String {
    guard sqlState?.hasPrefix("22") == true,
        let first = message.firstIndex(of: "\""), let last = message.lastIndex(of: "\"")
    else { return message }
    return message[..<first] + "\"…\"" + message[message.index(after: last)...].prefix { _ in first != last }
}
