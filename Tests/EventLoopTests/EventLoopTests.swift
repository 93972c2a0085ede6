import Glibc
import Synchronization
import Testing

@testable import EventLoop

private func withLoop<Value>(_ body: (EventLoop) async throws -> Value) async rethrows -> Value {
    let loop = EventLoop(name: "test")
    loop.start()
    defer {
        loop.stop()
        loop.join()
    }
    return try await body(loop)
}

private final class Record: Sendable {
    private let values = Mutex<[String]>([])
    func add(_ value: String) { values.withLock { $0.append(value) } }
    var all: [String] { values.withLock { $0 } }
}

@Suite struct EventLoopTests {
    @Test func bodiesRunOnTheLoopInOrder() async {
        await withLoop { loop in
            let record = Record()
            await withCheckedContinuation { continuation in
                for number in 0..<1_000 { loop.run { record.add("\(number) \(loop.isOnLoop)") } }
                loop.run { continuation.resume() }
            }
            #expect(record.all == (0..<1_000).map { "\($0) true" })
        }
    }

    @Test func anActorOnTheLoopIsIsolatedThere() async {
        actor OnLoop {
            nonisolated let loop: EventLoop
            nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
            init(loop: EventLoop) { self.loop = loop }
            func check() -> Bool {
                assertIsolated()
                return loop.isOnLoop
            }
        }
        await withLoop { loop in
            #expect(await OnLoop(loop: loop).check())
            #expect(!loop.isOnLoop)
        }
    }

    @Test func timersFireByDeadlineAndNotAfterCancel() async {
        await withLoop { loop in
            let record = Record()
            await withCheckedContinuation { continuation in
                loop.run {
                    loop.schedule(after: .milliseconds(30)) {
                        record.add("c")
                        continuation.resume()
                    }
                    loop.schedule(after: .milliseconds(10)) { record.add("a") }
                    let cancelled = loop.schedule(after: .milliseconds(15)) { record.add("cancelled") }
                    loop.schedule(after: .milliseconds(12)) { loop.cancel(cancelled) }
                    loop.schedule(after: .milliseconds(20)) { record.add("b") }
                }
            }
            #expect(record.all == ["a", "b", "c"])
        }
    }

    @Test func manyCancelledTimersAreForgotten() async {
        await withLoop { loop in
            let fired = Record()
            let held: Int = await withCheckedContinuation { continuation in
                loop.run {
                    // One that stays, among those that do not.
                    loop.schedule(after: .milliseconds(1)) {
                        fired.add("kept")
                        continuation.resume(returning: loop.timersHeld)
                    }
                    for _ in 0..<10_000 {
                        let timer = loop.schedule(after: .seconds(3_600)) { fired.add("cancelled") }
                        loop.cancel(timer)
                    }
                }
            }
            #expect(fired.all == ["kept"])
            // Swept whenever more than a thousand are there, most of them cancelled.
            #expect(held <= 1_024, "\(held) of 10,000 cancelled timers are still held")
        }
    }

    @Test func readinessComesBeforeADueTimer() async {
        await withLoop { loop in
            let record = Record()
            var pair: [Int32] = [0, 0]
            #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
            let (left, right) = (pair[0], pair[1])
            await withCheckedContinuation { continuation in
                loop.run {
                    loop.watch(left, for: .read) { _ in
                        var byte: UInt8 = 0
                        _ = read(left, &byte, 1)
                        record.add("readable")
                        loop.forget(left)
                    }
                    var byte: UInt8 = 1
                    _ = write(right, &byte, 1)
                    // Both are due when the loop looks next.
                    loop.schedule(at: ContinuousClock.now.advanced(by: .milliseconds(-1))) {
                        record.add("timer")
                        continuation.resume()
                    }
                }
            }
            #expect(record.all == ["readable", "timer"])
            close(left)
            close(right)
        }
    }

    @Test func aReusedDescriptorNumberIsRegisteredAgain() async {
        await withLoop { loop in
            for round in 0..<50 {
                var pair: [Int32] = [0, 0]
                #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
                let (left, right) = (pair[0], pair[1])
                let byteRead: UInt8 = await withCheckedContinuation { continuation in
                    loop.run {
                        loop.watch(left, for: .read) { _ in
                            var byte: UInt8 = 0
                            _ = read(left, &byte, 1)
                            loop.forget(left)
                            close(left)
                            continuation.resume(returning: byte)
                        }
                    }
                    var byte = UInt8(round)
                    _ = write(right, &byte, 1)
                }
                #expect(byteRead == UInt8(round))
                close(right)
            }
        }
    }

    @Test func noInterestStillReportsAHangUp() async {
        await withLoop { loop in
            var pair: [Int32] = [0, 0]
            #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
            let (left, right) = (pair[0], pair[1])
            let readiness: EventLoop.Readiness = await withCheckedContinuation { continuation in
                loop.run {
                    loop.watch(left, for: .read) { readiness in
                        loop.forget(left)
                        continuation.resume(returning: readiness)
                    }
                    loop.update(left, to: [])
                    close(right)
                }
            }
            #expect(readiness.contains(.error))
            close(left)
        }
    }

    @Test func beforeWaitSeesWhatOneTurnBrought() async {
        await withLoop { loop in
            let record = Record()
            let arrived = Mutex(0)
            await withCheckedContinuation { continuation in
                loop.run {
                    loop.beforeWait {
                        let count = arrived.withLock { value in
                            defer { value = 0 }
                            return value
                        }
                        if count > 0 { record.add("batch of \(count)") }
                    }
                    for _ in 0..<10 { loop.run { arrived.withLock { $0 += 1 } } }
                    loop.schedule(after: .milliseconds(5)) { continuation.resume() }
                }
            }
            #expect(record.all == ["batch of 10"])
        }
    }

    @Test func calledFromElsewhereItTraps() async {
        await #expect(processExitsWith: .failure) {
            let loop = EventLoop(name: "trap")
            loop.start()
            loop.schedule(after: .seconds(1)) {}
        }
    }
}
