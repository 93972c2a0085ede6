internal import Synchronization

/// How much all bodies together may hold in memory, from before they are read until they are answered.
final class BodyRoom: Sendable {
    private let taken = Mutex(0)
    private let bytes: Int

    init(bytes: Int) { self.bytes = bytes }

    /// Runs `body` with room for `count` bytes. Throws a ``Problem`` at once when there is none.
    func with<R>(_ count: Int, _ body: () async throws -> R) async throws -> R {
        let isFree = taken.withLock { taken in
            guard taken + count <= bytes else { return false }
            taken += count
            return true
        }
        guard isFree else {
            throw Problem(.overloaded, "too much is being read at this moment; nothing of this was", retryAfter: 1)
        }
        defer { taken.withLock { $0 -= count } }
        return try await body()
    }
}
