internal import CPlatform
internal import Glibc
internal import Synchronization

/// Starts a detached thread.
///
/// - Returns: false when the system has no thread to give.
func startThread(named name: String, _ body: @escaping @Sendable () -> Void) -> Bool {
    final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    let box = unsafe Unmanaged.passRetained(
        Body {
            unsafe tl_thread_set_name(name)
            body()
        }
    )  // released by the thread
    var thread = pthread_t()
    let code = unsafe pthread_create(
        &thread,
        nil,
        { pointer in
            guard let pointer = unsafe pointer else { return nil }
            unsafe Unmanaged<Body>.fromOpaque(pointer).takeRetainedValue().run()
            return nil
        },
        unsafe box.toOpaque()
    )
    guard code == 0 else {
        unsafe box.release()
        return false
    }
    pthread_detach(thread)
    return true
}

/// The socket of one live connection, as its loop and the watchdog share it.
///
/// It owns a duplicate of librabbitmq's descriptor. The library closes its own whenever it likes; shutting down or
/// watching a number that meanwhile belongs to somebody else's socket would be a disaster. Of the duplicate we know.
final class GuardedSocket: Sendable {
    let descriptor: Int32
    /// Odd while a call into librabbitmq lasts. A counter and not a time, so that the hot path reads no clock: the
    /// watchdog notices that an odd number does not change.
    private let calls = Atomic<UInt64>(0)
    private let lastHeard = Atomic<Int64>(Watchdog.milliseconds())
    private let cutReason = Mutex<String?>(nil)
    let silenceLimitMilliseconds: Int64
    let callLimitMilliseconds: Int64

    init(takingOwnershipOf descriptor: Int32, silenceLimit: Duration, callLimit: Duration) {
        self.descriptor = descriptor
        self.silenceLimitMilliseconds = silenceLimit.wholeMilliseconds
        self.callLimitMilliseconds = callLimit.wholeMilliseconds
        Watchdog.shared.watch(self)
    }

    deinit {
        // The watchdog holds a strong reference while it looks, so nobody shuts down a closed number.
        close(descriptor)
    }

    /// Every call into librabbitmq that can touch the socket goes through here.
    @inline(__always)
    func call(_ body: () -> Int32) -> Int32 {
        calls.add(1, ordering: .relaxed)
        defer { calls.add(1, ordering: .relaxed) }
        return body()
    }

    var callNumber: UInt64 { calls.load(ordering: .relaxed) }

    /// The kernel said that bytes have come.
    func heard() { lastHeard.store(Watchdog.milliseconds(), ordering: .relaxed) }

    var silentMilliseconds: Int64 { Watchdog.milliseconds() - lastHeard.load(ordering: .relaxed) }

    /// Breaks whatever hangs on this socket, from any thread.
    func cut(because reason: String) {
        let first = cutReason.withLock { stored in
            defer { if stored == nil { stored = reason } }
            return stored == nil
        }
        if first { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }

    var wasCutBecause: String? { cutReason.withLock { $0 } }
}

/// One thread per process that breaks hung connections by shutting their sockets down.
///
/// librabbitmq 0.11 waits without a limit when the socket's buffer is full (its issue 780); nothing on the calling
/// thread can end that.
final class Watchdog: Sendable {
    static let shared = Watchdog()

    private struct Watched {
        weak var socket: GuardedSocket?
        var call: UInt64 = 0
        var since: Int64 = 0
    }
    private let watched = Mutex<[Watched]?>(nil)

    /// Milliseconds of CLOCK_BOOTTIME: time that we slept through is time in which nothing was heard.
    static func milliseconds() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_BOOTTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    func watch(_ socket: GuardedSocket) {
        let mustStart = watched.withLock { list in
            let starts = list == nil
            list = (list ?? []) + [Watched(socket: socket)]
            return starts
        }
        if mustStart, !startThread(named: "rabbit-watchdog", { Self.shared.run() }) {
            // Without a thread there is no watchdog; the next connection tries again.
            watched.withLock { $0 = nil }
        }
    }

    private func run() -> Never {
        while true {
            usleep(200_000)
            let now = Self.milliseconds()
            var overdue: [(GuardedSocket, String)] = []
            watched.withLock { list in
                guard var entries = list else { return }
                entries.removeAll { $0.socket == nil }
                for index in entries.indices {
                    guard let socket = entries[index].socket else { continue }
                    let call = socket.callNumber
                    if call.isMultiple(of: 2) || call != entries[index].call {
                        entries[index].call = call
                        entries[index].since = now
                    } else if now - entries[index].since > socket.callLimitMilliseconds {
                        overdue.append((socket, "a call into librabbitmq did not return"))
                        continue
                    }
                    if socket.silentMilliseconds > socket.silenceLimitMilliseconds {
                        overdue.append((socket, "nothing was heard from the broker for two heartbeats"))
                    }
                }
                list = entries
            }
            for (socket, reason) in overdue { socket.cut(because: reason) }
        }
    }
}

extension Duration {
    /// Rounded up, so that a limit is never shorter than asked.
    var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    }
}
