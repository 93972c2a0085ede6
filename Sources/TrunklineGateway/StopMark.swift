internal import Synchronization

/// Set once, by any thread; one task waits for it.
final class StopMark: Sendable {
    private struct State {
        var isSet = false
        var waiting: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func set() {
        let waiting = state.withLock { state in
            state.isSet = true
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume()
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isSet = state.withLock { state in
                if !state.isSet { state.waiting = continuation }
                return state.isSet
            }
            if isSet { continuation.resume() }
        }
    }
}
