internal import Foundation
private import Synchronization

/// Time of a machine that has time: a span counts for the part of a core that each runnable thread could have in it. On a
/// machine that is busy with other things it passes more slowly than the clock, and a promise in seconds is given in it.
package final class QuietClock: Sendable {
    package static let shared = QuietClock()
    private let passed = Mutex<Duration>(.zero)

    private init() {
        let cores = Double(ProcessInfo.processInfo.activeProcessorCount)
        Thread.detachNewThread { [self] in
            var last = ContinuousClock.now
            while true {
                Thread.sleep(forTimeInterval: 0.05)
                let now = ContinuousClock.now
                let part = min(1, cores / Double(max(1, Self.runnable)))
                passed.withLock { $0 += (now - last) * part }
                last = now
            }
        }
    }

    /// Threads of the machine that run or could run at this moment.
    private static var runnable: Int {
        // 0.20 0.18 0.12 1/80 11206
        let fields = text(of: "/proc/loadavg").split(separator: " ")
        return fields.count > 3 ? fields[3].split(separator: "/").first.flatMap { Int($0) } ?? 1 : 1
    }

    package var now: Duration { passed.withLock { $0 } }
}
