internal import EventLoop
package import Logging
internal import Synchronization

/// A worker with its own loop thread, for the program that runs it.
package final class WorkerProcess: Sendable {
    private let configuration: WorkerConfiguration
    private let logger: Logger
    private let loop = EventLoop(name: "worker")
    private let state = Mutex(State())

    private struct State {
        var worker: LoopBound?
        /// A signal that came before there was a worker.
        var wantsDrain = false
    }

    /// The worker crosses threads only inside this box, and is touched only on its loop.
    private final class LoopBound: @unchecked Sendable {
        // Unchecked: every access is inside `loop.run`.
        let worker: Worker
        init(_ worker: Worker) { self.worker = worker }
    }

    package init(configuration: WorkerConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    /// Works until ``drain()`` or ``stopNow()``, or until it finds that it cannot work.
    ///
    /// - Throws: ``WorkerError`` when the configuration or the database is not usable.
    package func run() async throws {
        guard configuration.timing.isSound else { throw WorkerError("the time-outs contradict each other") }
        loop.start()
        let watchdog = LoopWatchdog(loop)
        watchdog.start()
        defer {
            watchdog.stop()
            loop.stop()
            loop.join()
        }
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            loop.run { [self] in
                do throws(WorkerError) {
                    let ports = try WorkerPorts.real(configuration, on: loop, logger: logger)
                    let worker = Worker(configuration: configuration, ports: ports, logger: logger) { result in
                        continuation.resume(with: result.mapError { $0 as any Error })
                    }
                    let wantsDrain = state.withLock { state in
                        state.worker = LoopBound(worker)
                        return state.wantsDrain
                    }
                    worker.start()
                    if wantsDrain { worker.drain() }
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
        state.withLock { $0.worker = nil }
    }

    /// Stop taking, finish what is in the air within the deadline, hand back the rest. Any thread.
    package func drain() {
        let box = state.withLock { state in
            state.wantsDrain = true
            return state.worker
        }
        if let box { loop.run { box.worker.drain() } }
    }

    /// Ends at once; the fleet finishes the rest. Any thread.
    package func stopNow() {
        guard let box = state.withLock({ $0.worker }) else { return }
        loop.run { box.worker.stop(.success(())) }
    }
}
