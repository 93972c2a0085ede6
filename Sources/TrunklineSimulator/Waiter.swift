import Synchronization

/// Lets one request wait until something happens: a timer, a release, the end of its connection, the end of all.
final class Waiter: Sendable {
    enum Reason: Sendable {
        case elapsed
        case released
        case closed
        case stopping
    }

    private enum State {
        case idle
        case waiting(CheckedContinuation<Reason, Never>)
        case fired(Reason)
    }

    private let state = Mutex(State.idle)

    /// Ends the wait; only the first call counts. Any thread, also before `wait`.
    func fire(_ reason: Reason) {
        let continuation: CheckedContinuation<Reason, Never>? = state.withLock { state in
            switch state {
            case .idle:
                state = .fired(reason)
                return nil
            case .waiting(let continuation):
                state = .fired(reason)
                return continuation
            case .fired:
                return nil
            }
        }
        continuation?.resume(returning: reason)
    }

    /// Waits for `fire`; call it once.
    func wait() async -> Reason {
        await withCheckedContinuation { continuation in
            let fired: Reason? = state.withLock { state in
                switch state {
                case .idle:
                    state = .waiting(continuation)
                    return nil
                case .fired(let reason):
                    return reason
                case .waiting:
                    preconditionFailure("two tasks wait for one call")
                }
            }
            if let fired { continuation.resume(returning: fired) }
        }
    }
}
