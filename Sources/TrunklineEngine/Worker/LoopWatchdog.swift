internal import EventLoop
internal import Glibc
internal import Synchronization

/// Ends a process whose loop does not turn any more: it holds shards, answers nobody, and nothing inside it can help.
///
/// Counted in ticks of its own thread, not in time: a process that was stopped as a whole, or a machine that slept, has
/// not hung.
final class LoopWatchdog: Sendable {
    /// Whether a loop hangs. No I/O, no clock.
    struct Count {
        let limit: Int
        private var turns: UInt64?
        private var still = 0

        init(limit: Int) { self.limit = limit }

        /// One tick; `turns` is the loop's count of turns.
        ///
        /// - Returns: whether the loop has stood still for the limit.
        mutating func tick(turns: UInt64) -> Bool {
            still = turns == self.turns ? still + 1 : 0
            self.turns = turns
            return still >= limit
        }
    }

    /// Ticks of one second. Many times the longest turn: nothing on the loop blocks.
    static let limit = 60
    /// Part of the program's interface (README): no other end has it.
    private static let exitCode: Int32 = 5

    private let loop: EventLoop
    private let isOver = Atomic(false)

    init(_ loop: EventLoop) { self.loop = loop }

    /// Starts the thread, which holds this object until ``stop()``.
    func start() {
        var thread = pthread_t()
        let box = Unmanaged.passRetained(self)  // released by the thread
        let code = pthread_create(
            &thread,
            nil,
            { pointer in
                if let pointer { Unmanaged<LoopWatchdog>.fromOpaque(pointer).takeRetainedValue().watch() }
                return nil
            },
            box.toOpaque()
        )
        precondition(code == 0, "no thread for a watchdog: errno \(code)")
        pthread_detach(thread)
    }

    /// The thread ends within a second.
    func stop() { isOver.store(true, ordering: .relaxed) }

    private func watch() {
        var count = Count(limit: Self.limit)
        while true {
            sleep(1)
            guard !isOver.load(ordering: .relaxed) else { return }
            guard count.tick(turns: loop.turns) else {
                // Makes a turn happen on a loop that has nothing to do.
                loop.run {}
                continue
            }
            Self.end()
        }
    }

    /// Not through the logger, whose lock the hanging thread may hold; and not on a standard error that is full.
    private static func end() -> Never {
        let words =
            "trunkline: the worker's loop has not turned for \(limit) s: the process ends, so that its supervisor starts it "
            + "again; its shards go to others and nothing is lost\n"
        var descriptor = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
        if poll(&descriptor, 1, 1_000) == 1 {
            let bytes = Array(words.utf8)
            _ = write(STDERR_FILENO, bytes, bytes.count)
        }
        // Whoever asked for cores sees where it hung.
        if CoreDumps.areAllowed { abort() }
        _exit(exitCode)
    }
}
