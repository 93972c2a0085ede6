internal import DequeModule

/// What is under way on one connection, and what is to be done next: events in, actions out. No I/O, no clock, no libpq.
///
/// | state | means | leaves it |
/// | --- | --- | --- |
/// | alive, piping | statements go out one behind the other, each with a Sync of its own | a script is given → scripting |
/// | alive, scripting | one script runs alone, outside pipeline mode | it has no more results → piping |
/// | dying | the connection must end; whole answers that came before its end are still taken | ``end(_:)`` → over |
/// | over | every completion was handed out | never |
struct PipelineMachine<Rows> {
    typealias Answer = Result<Rows, PostgresError>
    typealias Completion = (Answer) -> Void

    enum Work {
        case statement(PostgresStatement, [PostgresParameter])
        case prepare(PostgresStatement)
        /// Several statements in one string, by the simple protocol: not possible in pipeline mode, so it runs alone.
        case script(String)

        var isScript: Bool {
            if case .script = self { true } else { false }
        }
    }

    /// What follows from something that the server said.
    enum Step {
        case nothing
        /// This is the end of a statement.
        case complete(Completion, Answer)
        /// A script has ended: pipeline mode is entered again before its completion is called.
        case completeScript(Completion, Answer)
        /// The connection must end, and nothing more of it is read.
        case end
    }

    private struct Queued {
        let work: Work
        let done: Completion
    }

    private struct Sent {
        let done: Completion
        /// Known before the end is: a statement has succeeded only when its Sync is answered.
        var answer: Answer?
    }

    private enum Mode { case piping, scripting }

    private enum Output {
        /// Everything is with the kernel.
        case clear
        /// libpq holds bytes that the socket did not take.
        case blocked
        /// The peer has closed; what it said before is still being read. libpq throws its output away when a write fails, and
        /// says so only when the end is read: what still waits must not follow, or it would be reported as perhaps sent.
        case hungUp
    }

    private enum State {
        case alive(Mode, Output)
        case dying(Mode, PostgresError?)
        case over
    }

    private var state = State.alive(.piping, .clear)
    /// Not yet given to libpq: waits for the output to drain or for a script. So what is in here was surely never sent.
    private var queued = Deque<Queued>()
    /// Given to libpq.
    private var sent = Deque<Sent>()
    /// In pipeline mode "no result" separates a statement from its Sync.
    private var separators = 0
    private var lastNews: ContinuousClock.Instant

    init(at now: ContinuousClock.Instant) { lastNews = now }

    // MARK: State

    var isOver: Bool {
        if case .over = state { true } else { false }
    }

    var isDying: Bool {
        if case .dying = state { true } else { false }
    }

    /// Whether the loop must say when the socket takes more.
    var wantsWrite: Bool {
        if case .alive(_, .blocked) = state { true } else { false }
    }

    /// Whether anything that was given to libpq has not ended.
    var awaitsAnswers: Bool { !isOver && !sent.isEmpty }

    var inFlight: Int { sent.count + queued.count }

    /// Since when an answer is waited for without one: from the last answer, or from the first statement after a rest.
    var silentSince: ContinuousClock.Instant? { sent.isEmpty ? nil : lastNews }

    /// What the server has answered to the statement whose Sync comes next.
    var firstAnswer: Answer? { sent.first?.answer ?? nil }

    // MARK: Sending

    /// Must not be over.
    mutating func submit(_ work: Work, _ done: @escaping Completion) {
        precondition(!isOver, "a connection that has ended")
        queued.append(Queued(work: work, done: done))
    }

    /// What may go out now; it stays queued until ``give(at:)`` or ``withdraw()``.
    var next: Work? {
        guard case .alive(.piping, .clear) = state, let first = queued.first else { return nil }
        // A script leaves pipeline mode, for which nothing may be under way.
        return first.work.isScript && !sent.isEmpty ? nil : first.work
    }

    /// What ``next`` named is never sent: its completion is the caller's to call.
    mutating func withdraw() -> Completion { queued.removeFirst().done }

    /// What ``next`` named is given to libpq now: bytes may leave, whatever libpq answers.
    mutating func give(at now: ContinuousClock.Instant) {
        let entry = queued.removeFirst()
        if sent.isEmpty { lastNews = now }
        sent.append(Sent(done: entry.done))
        if entry.work.isScript, case .alive(.piping, let output) = state { state = .alive(.scripting, output) }
    }

    /// libpq has flushed, and still holds bytes or not. `hangsUp` is asked when it held some before.
    ///
    /// - Returns: whether the loop must wait for something else than before.
    mutating func flushed(isBlocked: Bool, hangsUp: @autoclosure () -> Bool) -> Bool {
        guard case .alive(let mode, let output) = state else { return false }
        switch (output, isBlocked) {
        case (.clear, true), (.hungUp, true): state = .alive(mode, .blocked)
        case (.blocked, false): state = .alive(mode, hangsUp() ? .hungUp : .clear)
        case (.clear, false), (.hungUp, false), (.blocked, true): return false
        }
        return true
    }

    // MARK: Receiving

    /// The server said how the first statement went. A script has many results, of which the last one is its own; an error is
    /// never covered up.
    mutating func answered(_ answer: Answer) {
        separators = 0
        guard !sent.isEmpty else { return }
        if case .failure = sent[0].answer { return }
        sent[0].answer = answer
    }

    /// A Sync was answered: sent statements and Syncs match one to one, so the first one has ended.
    mutating func synced(at now: ContinuousClock.Instant) -> Step {
        separators = 0
        guard let finished = sent.popFirst() else {
            die()
            return .nothing
        }
        lastNews = now
        if let answer = finished.answer { return .complete(finished.done, answer) }
        let error = PostgresError(code: .protocolViolation, message: "a statement without a result")
        die(error)
        return .complete(finished.done, .failure(error))
    }

    /// libpq has no more results of what is under way. `isHealthy`: the connection is there and in no transaction.
    mutating func exhausted(isHealthy: @autoclosure () -> Bool) -> Step {
        let rest: State? =
            switch state {
            case .alive(.scripting, let output): .alive(.piping, output)
            case .dying(.scripting, let cause): .dying(.piping, cause)
            case .alive(.piping, _), .dying(.piping, _), .over: nil
            }
        if let rest {
            // A connection that broke in the middle also has no more results, and then nothing was confirmed.
            guard isHealthy(), let finished = sent.popFirst() else {
                die()
                return .end
            }
            state = rest
            let missing = PostgresError(code: .protocolViolation, message: "a script without a result")
            return .completeScript(finished.done, finished.answer ?? .failure(missing))
        }
        // Twice in a row: libpq knows of nothing more, because the connection is gone (or, which must not spin, it has lost
        // count).
        separators += 1
        guard separators > 1 else { return .nothing }
        die()
        return .end
    }

    // MARK: Ending

    /// The connection must end; with `cause` it is we who end it. Does nothing when it must already, or has.
    ///
    /// - Returns: whether it is new.
    @discardableResult
    mutating func die(_ cause: PostgresError? = nil) -> Bool {
        switch state {
        case .alive(let mode, _):
            state = .dying(mode, cause)
            return true
        case .dying(let mode, nil):
            state = .dying(mode, cause)
            return false
        case .dying, .over: return false
        }
    }

    /// Why we end it; nil when it was lost.
    var cause: PostgresError? {
        if case .dying(_, let cause) = state { cause } else { nil }
    }

    /// It has ended. Nil the second time; else every completion with its error, in order: first what may have been sent.
    mutating func end(_ cause: PostgresError) -> [(Completion, PostgresError)]? {
        guard !isOver else { return nil }
        state = .over
        var (maybeSent, neverSent) = (cause, cause)
        maybeSent.code = .connectionLost
        maybeSent.outcomeUnknown = true
        neverSent.code = .connectionLost
        neverSent.outcomeUnknown = false
        defer {
            sent = []
            queued = []
        }
        return sent.map { ($0.done, maybeSent) } + queued.map { ($0.done, neverSent) }
    }
}
