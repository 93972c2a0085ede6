internal import Synchronization
internal import TrunklineEngine

/// A few connections for questions about jobs, each for one caller at a time.
final class OperatorPool: Sendable {
    // Unchecked: whoever took it from the pool is the only one who has it.
    private final class Box: @unchecked Sendable {
        let install: Operator
        init(_ install: Operator) { self.install = install }
    }

    private struct State {
        var free: [Box]
        var waiting: [CheckedContinuation<Box?, Never>] = []
    }

    private static let longestQueue = 256
    private let state: Mutex<State>

    /// - Parameter make: called `count` times.
    init(_ count: Int, _ make: () -> Operator) {
        state = Mutex(State(free: (0..<count).map { _ in Box(make()) }))
    }

    /// Runs `body` with whoever operates the install, when one is free. Throws a ``Problem`` when too many wait for that.
    func with<R>(_ body: (Operator) async throws -> R) async throws -> R {
        guard let box = await take() else {
            throw Problem(.overloaded, "too many questions at this moment", retryAfter: 1)
        }
        defer { give(box) }
        return try await body(box.install)
    }

    /// Ends the connections that nobody has.
    func close() async {
        let free = state.withLock { state in
            defer { state.free = [] }
            return state.free
        }
        for box in free { await box.install.close() }
    }

    private func take() async -> Box? {
        await withCheckedContinuation { continuation in
            let (box, isQueued) = state.withLock { state -> (Box?, Bool) in
                if let box = state.free.popLast() { return (box, false) }
                guard state.waiting.count < Self.longestQueue else { return (nil, false) }
                state.waiting.append(continuation)
                return (nil, true)
            }
            if !isQueued { continuation.resume(returning: box) }
        }
    }

    private func give(_ box: Box) {
        let next = state.withLock { state -> CheckedContinuation<Box?, Never>? in
            if state.waiting.isEmpty {
                state.free.append(box)
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.resume(returning: box)
    }
}
