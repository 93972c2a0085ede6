internal import Dispatch
internal import Foundation
internal import Glibc
internal import Synchronization

/// What a person sees, and what a person's signals do.
package enum Terminal {
    /// Standard error, where progress goes.
    package static func say(_ text: String) { write((text + "\n").utf8, to: 2) }
    /// The next step.
    package static func log(_ text: String) { say("==> " + text) }
    /// About a step.
    package static func note(_ text: String) { say("    " + text) }

    package static var isInteractive: Bool { isatty(2) == 1 }

    /// Whoever read it may have gone; that is not ours to mind.
    package static func write(_ bytes: some Sequence<UInt8>, to descriptor: Int32) {
        var bytes = Array(bytes)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 || errno == EINTR else { return }
            bytes = bytes.dropFirst(max(count, 0))
        }
    }

    /// Why a program ends with this code; a person has been told.
    package struct Ended: Error {
        package let code: Int32
    }

    /// Runs `body`, and then `cleanUp`, whatever happened. A signal (SIGINT, SIGTERM, SIGHUP) cancels `body`; `cleanUp` is
    /// not disturbed by another one.
    ///
    /// - Parameters:
    ///   - failing: stands before what is said of an error.
    ///   - cleanUp: gets whether a signal has come.
    /// - Throws: 128 and its number after a signal; 1 when one of the two has failed.
    package static func run<Value: Sendable>(
        failing: String = "dev: ",
        cleanUp: @escaping @Sendable (_ isInterrupted: Bool) async throws -> Void = { _ in },
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws(Ended) -> Value {
        let task = Task { try await body() }
        let interruption = Mutex<Int32?>(nil)
        signal(SIGPIPE, SIG_IGN)
        let sources = [SIGINT, SIGTERM, SIGHUP].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                interruption.withLock { $0 = $0 ?? number }
                task.cancel()
            }
            source.resume()
            return source
        }
        defer { for source in sources { source.cancel() } }
        let result = await task.result
        let isInterrupted = interruption.withLock { $0 != nil }
        if case .failure(let error) = result, !isInterrupted { say(failing + "\(error)") }
        let cleaned = await Task { try await cleanUp(isInterrupted) }.result
        if case .failure(let error) = cleaned { say(failing + "\(error)") }
        if let number = interruption.withLock({ $0 }) { throw Ended(code: 128 + number) }
        guard case .success(let value) = result, case .success = cleaned else { throw Ended(code: 1) }
        return value
    }
}
