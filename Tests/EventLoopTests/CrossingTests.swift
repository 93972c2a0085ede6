import Synchronization
import Testing

@testable import EventLoop

/// Values on their way between threads. Under ThreadSanitizer this also shows that it sees Swift's own locks and continuations
/// (`Sources/CPlatform/threadsanitizer.c`): without that, each of these is reported.
@Suite struct CrossingTests {
    private final class Parcel: @unchecked Sendable {
        // Unchecked: written by the loop before it is handed over, and read after that.
        let number: Int
        init(_ number: Int) { self.number = number }
    }

    private final class Counter: Sendable {
        let count = Mutex(0)
    }

    private final class Flag: Sendable {
        private let value = Atomic(false)
        var isUp: Bool { value.load(ordering: .relaxed) }
        func raise() { value.store(true, ordering: .relaxed) }
    }

    private func withLoops<Value>(_ count: Int, _ body: ([EventLoop]) async -> Value) async -> Value {
        let loops = (0..<count).map { EventLoop(name: "crossing-\($0)") }
        for loop in loops { loop.start() }
        defer {
            for loop in loops { loop.stop() }
            for loop in loops { loop.join() }
        }
        return await body(loops)
    }

    @Test func whatManyThreadsCountUnderALockIsCountedOnce() async {
        let counter = Counter()
        await withLoops(4) { loops in
            await withTaskGroup(of: Void.self) { group in
                for loop in loops {
                    group.addTask {
                        await withCheckedContinuation { continuation in
                            loop.run {
                                for _ in 0..<20_000 { counter.count.withLock { $0 += 1 } }
                                continuation.resume()
                            }
                        }
                    }
                }
            }
        }
        #expect(counter.count.withLock { $0 } == 80_000)
    }

    @Test func whatALoopHandsOverIsWhole() async {
        let sum = await withLoops(1) { loops in
            var sum = 0
            for number in 1...500 {
                let isResumed = Flag()
                let parcel = await withCheckedContinuation { continuation in
                    loops[0].run {
                        continuation.resume(returning: Parcel(number))
                        isResumed.raise()
                    }
                    // Every other time the answer is there before anybody waits for it.
                    while number.isMultiple(of: 2), !isResumed.isUp {}
                }
                sum += parcel.number
            }
            return sum
        }
        #expect(sum == 125_250)
    }

    @Test(.timeLimit(.minutes(5)))
    func aLoopThatNobodyWaitsForEndsByItself() async throws {
        final class Alive: Sendable {}
        weak var alive: Alive?
        do {
            let kept = Alive()
            alive = kept
            let loop = EventLoop(name: "alone")
            loop.start()
            await withCheckedContinuation { continuation in
                loop.run {
                    // Held by what is registered, and so by the loop.
                    loop.schedule(after: .seconds(3_600)) { _ = kept }
                    continuation.resume()
                }
            }
            loop.stop()
        }
        while alive != nil { await Task.yield() }
        #expect(alive == nil)
    }
}
