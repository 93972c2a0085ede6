internal import CPlatform
internal import Glibc
internal import HeapModule
internal import Synchronization

/// One thread, one epoll instance, timers, and the serial executor of whatever actor lives on it.
///
/// The drivers of librabbitmq, libpq and libcurl register their descriptors here and are called back on this thread, so
/// the hot path needs no lock, no task and no hop (`docs/architecture.md`).
///
/// Order of one turn: executor jobs and `run` bodies, `beforeWait` bodies, the wait, readiness handlers, due timers.
/// Readiness comes before timers so that an answer that already lies in a buffer is never booked as a time-out.
///
/// Methods below "Loop only" must be called on the loop's thread; they check it and trap otherwise. The registered
/// closures are deliberately not `Sendable`: they belong to the loop's thread.
package final class EventLoop: SerialExecutor, @unchecked Sendable {
    // Unchecked because the loop-only state is guarded by `preconditionOnLoop`, which the compiler cannot see.

    /// What a descriptor is watched for.
    package struct Interest: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        /// Bytes can be read, or the peer closed.
        package static let read = Interest(rawValue: 1)
        /// Bytes can be written.
        package static let write = Interest(rawValue: 2)
    }

    /// What the kernel said about a descriptor.
    package struct Readiness: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        /// Bytes can be read, or the peer closed.
        package static let read = Readiness(rawValue: 1)
        /// Bytes can be written.
        package static let write = Readiness(rawValue: 2)
        /// An error or a hang-up; reported whatever the interest.
        package static let error = Readiness(rawValue: 4)
    }

    /// Names a scheduled timer. Never used again after the timer fired or was cancelled.
    package struct TimerID: Hashable, Sendable {
        fileprivate let value: UInt64
    }

    private struct Watch {
        var handler: (Readiness) -> Void
        var wanted: UInt32
        var actual: UInt32?
        /// Tells a descriptor number that was closed and reused within one turn from the one an event was for.
        var generation: UInt64
    }

    private struct Timer: Comparable {
        let deadline: ContinuousClock.Instant
        let id: UInt64
        static func < (left: Timer, right: Timer) -> Bool {
            (left.deadline, left.id) < (right.deadline, right.id)
        }
        static func == (left: Timer, right: Timer) -> Bool { left.id == right.id }
    }

    private struct Inbox {
        var jobs: [UnownedJob] = []
        var bodies: [@Sendable () -> Void] = []
        var isEmpty: Bool { jobs.isEmpty && bodies.isEmpty }
    }

    private enum Phase: UInt8, AtomicRepresentable {
        case created, running, stopping, stopped
    }

    /// Names the thread (first 15 bytes) and nothing else.
    package let name: String

    private let epollDescriptor: Int32
    private let wakeDescriptor: Int32
    private let inbox = Mutex(Inbox())
    private let phase = Atomic<Phase>(.created)
    private let loopThread = Atomic<UInt>(0)
    private let joinState = Mutex<pthread_t?>(nil)
    private let turnCount = Atomic<UInt64>(0)

    // Loop-only state.
    private var watches: [Int32: Watch] = [:]
    private var dirty: [Int32] = []
    private var generation: UInt64 = 0
    private var timers = Heap<Timer>()
    private var timerBodies: [UInt64: () -> Void] = [:]
    private var nextTimer: UInt64 = 1
    private var beforeWaitBodies: [() -> Void] = []
    private var turnInstant = ContinuousClock.now

    /// Creates the loop; nothing runs before ``start()``.
    ///
    /// Traps when the kernel refuses an epoll or event descriptor: without one the process cannot do anything.
    package init(name: String) {
        self.name = name
        epollDescriptor = tl_epoll_create()
        wakeDescriptor = tl_eventfd_create()
        precondition(epollDescriptor >= 0 && wakeDescriptor >= 0, "no descriptor for an event loop: errno \(errno)")
    }

    deinit {
        // Nobody waits for it any more, and only then does its end free what the system keeps of a thread.
        if let thread = joinState.withLock({ $0 }) { pthread_detach(thread) }
        close(epollDescriptor)
        close(wakeDescriptor)
    }

    // MARK: Any thread

    /// Starts the thread. Call once.
    package func start() {
        let (exchanged, _) = phase.compareExchange(
            expected: .created,
            desired: .running,
            ordering: .sequentiallyConsistent
        )
        precondition(exchanged, "an event loop starts once")
        let box = unsafe Unmanaged.passRetained(self)  // released by the thread when its loop has ended
        var thread = pthread_t()
        let code = unsafe pthread_create(
            &thread,
            nil,
            { pointer in
                unsafe Unmanaged<EventLoop>.fromOpaque(pointer!).takeRetainedValue().loop()
                return nil
            },
            unsafe box.toOpaque()
        )
        precondition(code == 0, "no thread for an event loop: errno \(code)")
        joinState.withLock { $0 = thread }
    }

    /// Asks the loop to end after the turn it is in. Bodies handed over before this call still run.
    package func stop() {
        _ = phase.compareExchange(expected: .running, desired: .stopping, ordering: .sequentiallyConsistent)
        wake()
    }

    /// Waits until the thread has ended. Must not be called on the loop; call after ``stop()``.
    package func join() {
        precondition(!isOnLoop, "a loop cannot wait for itself")
        if let thread = joinState.withLock({ state -> pthread_t? in
            defer { state = nil }
            return state
        }) {
            pthread_join(thread, nil)
        }
    }

    /// Whether the caller runs on this loop's thread.
    package var isOnLoop: Bool {
        loopThread.load(ordering: .relaxed) == UInt(pthread_self())
    }

    /// Traps when the caller is not on this loop's thread.
    package func preconditionOnLoop(file: StaticString = #file, line: UInt = #line) {
        precondition(isOnLoop, "must be called on the loop", file: file, line: line)
    }

    /// Turns since the start: a watchdog sees by it that the loop still moves.
    package var turns: UInt64 { turnCount.load(ordering: .relaxed) }

    /// Runs `body` on the loop, in the order of the calls. After ``stop()`` has taken effect it is dropped.
    package func run(_ body: @escaping @Sendable () -> Void) {
        let first = inbox.withLock { inbox in
            let wasEmpty = inbox.isEmpty
            inbox.bodies.append(body)
            return wasEmpty
        }
        if first, !isOnLoop { wake() }
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let unowned = UnownedJob(job)
        let first = inbox.withLock { inbox in
            let wasEmpty = inbox.isEmpty
            inbox.jobs.append(unowned)
            return wasEmpty
        }
        if first, !isOnLoop { wake() }
    }

    package func asUnownedSerialExecutor() -> UnownedSerialExecutor { unsafe UnownedSerialExecutor(ordinary: self) }
    package func checkIsolated() { preconditionOnLoop() }
    package func isIsolatingCurrentContext() -> Bool? { isOnLoop }

    // MARK: Loop only: descriptors

    /// Registers `descriptor`, or replaces its interest and handler. Loop only.
    ///
    /// The kernel is told once per turn, before the wait, however often the interest changes.
    package func watch(_ descriptor: Int32, for interest: Interest, _ handler: @escaping (Readiness) -> Void) {
        preconditionOnLoop()
        let wanted = Self.mask(of: interest)
        if var watch = watches[descriptor] {
            watch.handler = handler
            watch.wanted = wanted
            watches[descriptor] = watch
        } else {
            generation += 1
            watches[descriptor] = Watch(handler: handler, wanted: wanted, actual: nil, generation: generation)
        }
        dirty.append(descriptor)
    }

    /// Changes what a watched descriptor is watched for; `[]` keeps it for errors only. Loop only.
    package func update(_ descriptor: Int32, to interest: Interest) {
        preconditionOnLoop()
        let wanted = Self.mask(of: interest)
        guard let watch = watches[descriptor], watch.wanted != wanted else { return }
        watches[descriptor]!.wanted = wanted
        dirty.append(descriptor)
    }

    /// Forgets a descriptor. Must be called before it is closed: the kernel forgets a closed descriptor by itself, our
    /// table does not, and a reused number would never be registered again. Loop only.
    package func forget(_ descriptor: Int32) {
        preconditionOnLoop()
        guard let watch = watches.removeValue(forKey: descriptor) else { return }
        if watch.actual != nil {
            _ = epoll_ctl(epollDescriptor, EPOLL_CTL_DEL, descriptor, nil)
        }
    }

    // MARK: Loop only: time

    /// The time at which this turn's wait ended. Loop only.
    package var now: ContinuousClock.Instant {
        preconditionOnLoop()
        return turnInstant
    }

    /// Runs `body` once, no earlier than `deadline`. Loop only.
    @discardableResult
    package func schedule(at deadline: ContinuousClock.Instant, _ body: @escaping () -> Void) -> TimerID {
        preconditionOnLoop()
        let id = nextTimer
        nextTimer += 1
        timers.insert(Timer(deadline: deadline, id: id))
        timerBodies[id] = body
        return TimerID(value: id)
    }

    /// Runs `body` once, no earlier than `delay` from the real present (not from ``now``). Loop only.
    @discardableResult
    package func schedule(after delay: Duration, _ body: @escaping () -> Void) -> TimerID {
        schedule(at: ContinuousClock.now.advanced(by: delay), body)
    }

    /// Cancels a timer; nothing happens when it has fired already. Loop only.
    package func cancel(_ timer: TimerID) {
        preconditionOnLoop()
        timerBodies[timer.value] = nil
        // A cancelled timer stays in the heap until its time; many cancelled ones (one per call in the air) are swept.
        if timers.count > 1_024, timers.count > timerBodies.count * 4 {
            timers = Heap(timers.unordered.filter { timerBodies[$0.id] != nil })
        }
    }

    /// How many timers take up room, cancelled ones among them. Loop only.
    var timersHeld: Int {
        preconditionOnLoop()
        return timers.count
    }

    /// Runs `body` once in every turn, before the wait: what arrived in this turn is one batch. Loop only.
    package func beforeWait(_ body: @escaping () -> Void) {
        preconditionOnLoop()
        beforeWaitBodies.append(body)
    }

    // MARK: The loop

    private static func mask(of interest: Interest) -> UInt32 {
        var mask: UInt32 = 0
        if interest.contains(.read) { mask |= UInt32(tl_epoll_in) }
        if interest.contains(.write) { mask |= UInt32(tl_epoll_out) }
        return mask
    }

    private func wake() {
        // A full counter (EAGAIN) means that a wake-up is pending already.
        tl_eventfd_raise(wakeDescriptor)
    }

    private func runInbox() {
        // Bounded: work that enqueues itself again must not keep the sockets waiting.
        for _ in 0..<16 {
            var taken = Inbox()
            inbox.withLock { swap(&$0, &taken) }
            if taken.isEmpty { return }
            for body in taken.bodies { body() }
            for job in taken.jobs { unsafe job.runSynchronously(on: asUnownedSerialExecutor()) }
        }
    }

    private func reconcile() {
        guard !dirty.isEmpty else { return }
        for descriptor in dirty {
            guard let watch = watches[descriptor], watch.actual != watch.wanted else { continue }
            let tag = UInt64(UInt32(bitPattern: descriptor)) | (watch.generation << 32)
            let operation = watch.actual == nil ? EPOLL_CTL_ADD : EPOLL_CTL_MOD
            if tl_epoll_set(epollDescriptor, operation, descriptor, watch.wanted, tag) != 0 {
                let code = errno
                // EEXIST: a library re-registered a descriptor that we had not been told to forget. ENOENT: it closed
                // one and the number came back. EBADF: closed, its owner will hear of it by its own means.
                if code == EEXIST {
                    tl_epoll_set(epollDescriptor, EPOLL_CTL_MOD, descriptor, watch.wanted, tag)
                } else if code == ENOENT {
                    tl_epoll_set(epollDescriptor, EPOLL_CTL_ADD, descriptor, watch.wanted, tag)
                } else if code != EBADF {
                    preconditionFailure("epoll_ctl: errno \(code)")
                }
            }
            watches[descriptor]!.actual = watch.wanted
        }
        dirty.removeAll(keepingCapacity: true)
    }

    private func waitMilliseconds() -> Int32 {
        if inbox.withLock({ !$0.isEmpty }) { return 0 }
        while let next = timers.min {
            if timerBodies[next.id] == nil {
                timers.removeMin()
                continue
            }
            let left = next.deadline - ContinuousClock.now
            if left <= .zero { return 0 }
            let (seconds, attoseconds) = left.components
            // Rounded up: waking early would spin until the deadline.
            let milliseconds = seconds * 1_000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
            return Int32(min(milliseconds, 60_000))
        }
        return -1
    }

    private func fireTimers() {
        guard let first = timers.min, first.deadline <= turnInstant else { return }
        // Collected first: a timer that schedules another one due now must not keep the sockets waiting.
        var due: [UInt64] = []
        while let next = timers.min, next.deadline <= turnInstant {
            timers.removeMin()
            due.append(next.id)
        }
        for id in due {
            if let body = timerBodies.removeValue(forKey: id) { body() }
        }
    }

    private func loop() {
        loopThread.store(UInt(pthread_self()), ordering: .relaxed)
        unsafe tl_thread_set_name(name)
        let tag = UInt64(UInt32(bitPattern: wakeDescriptor))
        precondition(
            tl_epoll_set(epollDescriptor, EPOLL_CTL_ADD, wakeDescriptor, UInt32(tl_epoll_in), tag) == 0,
            "epoll_ctl: errno \(errno)"
        )
        unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 512) { events in
            while true {
                runInbox()
                for body in beforeWaitBodies { body() }
                if phase.load(ordering: .sequentiallyConsistent) == .stopping {
                    runInbox()
                    break
                }
                reconcile()
                let limit = waitMilliseconds()
                let count = unsafe epoll_wait(epollDescriptor, events.baseAddress!, Int32(events.count), limit)
                turnInstant = ContinuousClock.now
                turnCount.add(1, ordering: .relaxed)
                precondition(count >= 0 || errno == EINTR, "epoll_wait: errno \(errno)")
                for index in 0..<max(0, Int(count)) {
                    unsafe dispatch(events[index].events, tag: events[index].data.u64)
                }
                fireTimers()
            }
        }
        phase.store(.stopped, ordering: .sequentiallyConsistent)
        // What is registered may own the loop's users: break the cycles on the loop's own thread.
        watches.removeAll()
        timerBodies.removeAll()
        beforeWaitBodies.removeAll()
    }

    private func dispatch(_ events: UInt32, tag: UInt64) {
        let descriptor = Int32(bitPattern: UInt32(truncatingIfNeeded: tag))
        if descriptor == wakeDescriptor {
            tl_eventfd_lower(wakeDescriptor)
            return
        }
        guard let watch = watches[descriptor], watch.generation & 0xFFFF_FFFF == tag >> 32 else { return }
        var readiness: Readiness = []
        if events & UInt32(tl_epoll_in) != 0 { readiness.insert(.read) }
        if events & UInt32(tl_epoll_out) != 0 { readiness.insert(.write) }
        if events & UInt32(tl_epoll_err | tl_epoll_hup) != 0 { readiness.insert(.error) }
        watch.handler(readiness)
    }
}
