internal import CPlatform
package import EventLoop
internal import Synchronization

/// The wait before the n-th new try: full jitter over a range that doubles.
///
/// | failures | range |
/// | --- | --- |
/// | 1 | 0.1…0.2 s |
/// | 2 | 0.1…0.4 s |
/// | 5 and more | 0.1…3 s |
///
/// No longer: a broker that is there again must be found within seconds.
struct Backoff: Sendable {
    private(set) var failures = 0

    mutating func reset() { failures = 0 }

    mutating func next(using generator: inout some RandomNumberGenerator) -> Duration {
        failures += 1
        let ceiling = min(3_000, 100 << min(failures, 8))
        return .milliseconds(Int.random(in: 100...ceiling, using: &generator))
    }
}

/// A value that belongs to one loop, on its way through a `@Sendable` closure back to it.
struct LoopBound<Value>: @unchecked Sendable {
    // Unchecked: `value` traps everywhere but on the loop.
    private let stored: Value
    private let loop: EventLoop

    init(_ value: Value, to loop: EventLoop) {
        stored = value
        self.loop = loop
    }

    var value: Value {
        loop.preconditionOnLoop()
        return stored
    }
}

/// A connection to the broker that comes back by itself. Loop-bound: every method and callback belongs to the loop.
///
/// The blocking part (name resolution, TCP, TLS, login) runs on a helper thread with time-outs; then the socket moves to
/// the loop. Channels do not survive a lost connection: open them, and subscribe again, in `onConnect`.
///
/// Use one connection for consuming and another for publishing: under an alarm the broker stops reading from a
/// connection that published, acknowledgements included.
package final class RabbitConnection {
    /// Logged in; called after every reconnect too.
    package var onConnect: (() -> Void)?
    /// A live connection ended, after every command and channel on it has failed.
    package var onDisconnect: ((RabbitError) -> Void)?
    /// A try to connect failed. With `reconnects` another one follows.
    package var onConnectFailed: ((RabbitError) -> Void)?
    /// The broker's reason when it takes no messages for now; nil when it does again.
    package var onBlocked: ((String?) -> Void)?
    /// The socket takes bytes again after a publish threw `busy`.
    package var onWritable: (() -> Void)?

    private enum State {
        /// Exits: connecting.
        case idle
        /// A helper thread is at work. Exits: connected, waiting, closed.
        case connecting(attempt: UInt64)
        /// Exits: waiting, closed.
        case connected(Link)
        /// A timer runs. Exits: connecting, closed.
        case waiting(EventLoop.TimerID)
        case closed
    }

    private let loop: EventLoop
    private let configuration: RabbitConfiguration
    private var state = State.idle
    private var attempts: UInt64 = 0
    private var backoff = Backoff()
    private var connectedSince: ContinuousClock.Instant?
    /// Why there is no connection, if one was tried.
    package private(set) var lastError: RabbitError?

    /// Must be called on the loop or before it runs anything of this connection.
    package init(loop: EventLoop, configuration: RabbitConfiguration) {
        self.loop = loop
        self.configuration = configuration
    }

    /// Whether channels can be opened now.
    package var isConnected: Bool {
        if case .connected(let link) = state { return link.failure == nil }
        return false
    }

    /// Whether the broker has said that it takes no messages.
    package var isBlocked: Bool {
        if case .connected(let link) = state { return link.isBlocked }
        return false
    }

    /// The broker of the live connection.
    package var server: RabbitServer? {
        if case .connected(let link) = state { return link.server }
        return nil
    }

    /// How many channels the live connection may have open, as agreed with the broker.
    package var channelLimit: Int? {
        if case .connected(let link) = state { return link.channelLimit }
        return nil
    }

    /// Begins to connect. Does nothing when it is under way; a closed connection opens again.
    package func open() {
        loop.preconditionOnLoop()
        switch state {
        case .idle, .closed: connect()
        case .connecting, .connected, .waiting: break
        }
    }

    /// Says goodbye to the broker and stays closed. `onDisconnect` is not called.
    ///
    /// - Parameter done: called when the socket is closed, at the latest after two seconds.
    package func close(done: @escaping () -> Void = {}) {
        loop.preconditionOnLoop()
        let last = state
        state = .closed
        lastError = RabbitError(.closed, "closed")
        switch last {
        case .idle, .connecting, .closed:
            // A login that is still under way is discarded when it comes back.
            loop.schedule(after: .zero, done)
        case .waiting(let timer):
            loop.cancel(timer)
            loop.schedule(after: .zero, done)
        case .connected(let link):
            link.onEnd = nil
            link.onBlocked = nil
            link.onWritable = nil
            link.close(done)
        }
    }

    /// Gives up the live connection, for example because confirms do not come, and connects anew.
    package func reset(because reason: String) {
        loop.preconditionOnLoop()
        if case .connected(let link) = state {
            link.fail(RabbitError(.connectionLost, "connection given up: \(reason)"))
        }
    }

    /// Opens a channel. `done` is never called from inside this call.
    package func openChannel(_ done: @escaping (Result<RabbitChannel, RabbitError>) -> Void) {
        loop.preconditionOnLoop()
        guard case .connected(let link) = state, link.failure == nil else {
            let error = lastError ?? RabbitError(.notConnected, "not connected to the broker")
            loop.schedule(after: .zero) { done(.failure(error)) }
            return
        }
        guard let channel = link.makeChannel() else {
            loop.schedule(after: .zero) {
                done(.failure(RabbitError(.invalidArgument, "all channels of the connection are in use")))
            }
            return
        }
        channel.open { result in done(result.map { channel }) }
    }

    /// Asks the broker for something that costs nothing. The answer proves that the way is whole in both directions, which
    /// heartbeats do not: each of them goes one way. `answered` is not called when no answer comes.
    package func ask(_ answered: @escaping () -> Void) {
        openChannel { result in
            guard case .success(let channel) = result else { return }
            channel.close { _ in }
            answered()
        }
    }

    // MARK: Connecting

    private func connect() {
        attempts += 1
        let attempt = attempts
        state = .connecting(attempt: attempt)
        let configuration = configuration
        let loop = loop
        let handover = LoopBound(WeakConnection(connection: self), to: loop)
        let started = startThread(named: "rabbit-login") {
            let result = Login.perform(configuration)
            let answer = LoginAnswer(result)
            loop.run {
                guard let result = answer.take() else { return }
                if let connection = handover.value.connection {
                    connection.loginEnded(attempt, result)
                } else if case .success(let loggedIn) = result {
                    loggedIn.discard()
                }
            }
        }
        guard started else {
            loop.schedule(after: .zero) { [weak self] in
                self?.loginEnded(attempt, .failure(RabbitError(.cannotConnect, "no thread for a login")))
            }
            return
        }
        // The name server is asked by a call that has no time-out: its thread is left behind.
        let limit = configuration.connectTimeout * 2 + configuration.loginTimeout * 2 + .seconds(5)
        loop.schedule(after: limit) { [weak self] in
            self?.loginEnded(attempt, .failure(RabbitError(.cannotConnect, "connecting took too long")))
        }
    }

    private func loginEnded(_ attempt: UInt64, _ result: Result<LoggedIn, RabbitError>) {
        guard case .connecting(attempt) = state else {
            if case .success(let loggedIn) = result { loggedIn.discard() }
            return
        }
        switch result {
        case .failure(let error):
            lastError = error
            retryOrClose()
            onConnectFailed?(error)
        case .success(let loggedIn):
            let link = Link(loop: loop, configuration: configuration, takingOwnershipOf: loggedIn)
            link.onEnd = { [weak self] in self?.ended($0) }
            link.onBlocked = { [weak self] in self?.onBlocked?($0) }
            link.onWritable = { [weak self] in self?.onWritable?() }
            state = .connected(link)
            connectedSince = loop.now
            lastError = nil
            onConnect?()
        }
    }

    private func ended(_ error: RabbitError) {
        lastError = error
        // A broker that takes logins and drops them at once must not be hammered.
        if let connectedSince, loop.now - connectedSince > .seconds(5) { backoff.reset() }
        retryOrClose()
        onDisconnect?(error)
    }

    private func retryOrClose() {
        guard configuration.reconnects else {
            state = .closed
            return
        }
        var generator = SystemRandomNumberGenerator()
        state = .waiting(
            loop.schedule(after: backoff.next(using: &generator)) { [weak self] in self?.connect() }
        )
    }
}

private struct WeakConnection {
    weak var connection: RabbitConnection?
}

/// A login on its way to the loop. When the loop is gone and nobody takes it, it is closed.
private final class LoginAnswer: Sendable {
    private let result: Mutex<Result<LoggedIn, RabbitError>?>

    init(_ result: Result<LoggedIn, RabbitError>) { self.result = Mutex(result) }

    func take() -> Result<LoggedIn, RabbitError>? {
        result.withLock { result in
            defer { result = nil }
            return result
        }
    }

    deinit {
        if case .success(let loggedIn) = take() { loggedIn.discard() }
    }
}
