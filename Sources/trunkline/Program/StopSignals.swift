internal import ArgumentParser
internal import CPlatform
internal import Foundation
internal import Glibc

/// A command that ends by itself, in order, when SIGTERM or SIGINT comes.
protocol HandlesStopSignals: AsyncParsableCommand {}

/// SIGTERM and SIGINT from the first instruction of `main` on: none is lost, and none ends a process that has something to
/// finish or to say.
enum StopSignals {
    // Set once, by `catchAll()`, before there is a second thread.
    nonisolated(unsafe) private static var pipe: Int32 = -1

    /// The first thing that the program does. What comes from now on waits for ``handle(_:)`` or ``release()``.
    static func catchAll() { pipe = tl_stop_signals_catch() }

    /// Nobody will handle them: they end the process, one that came already does it now.
    static func release() {
        tl_stop_signals_release()
        var waiting = pollfd(fd: pipe, events: Int16(POLLIN), revents: 0)
        var signal: UInt8 = 0
        if poll(&waiting, 1, 0) == 1, read(pipe, &signal, 1) == 1 { raise(Int32(signal)) }
    }

    /// Calls back for each of them, on a thread of its own: with the signal, and whether it is the first.
    static func handle(_ body: @escaping @Sendable (_ signal: Int32, _ isFirst: Bool) -> Void) {
        let pipe = pipe
        Thread.detachNewThread {
            var isFirst = true
            var signal: UInt8 = 0
            while true {
                let count = read(pipe, &signal, 1)
                if count < 0, errno == EINTR { continue }
                guard count == 1 else { return }
                body(Int32(signal), isFirst)
                isFirst = false
            }
        }
    }
}
