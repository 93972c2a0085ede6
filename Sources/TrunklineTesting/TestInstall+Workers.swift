package import Foundation
private import Glibc
private import Synchronization
package import TestKit

extension TestInstall {
    /// A worker process of the built program.
    package final class WorkerHandle: Sendable {
        private let process: ChildProcess
        package let log: URL
        private let wasStruck: Mutex<Bool>

        fileprivate init(_ process: ChildProcess, log: URL, isSabotaged: Bool) {
            self.process = process
            self.log = log
            wasStruck = Mutex(isSabotaged)
        }

        /// It was killed or stood still, or ended otherwise than well: what it knew may be lost.
        var wasHarmed: Bool { wasStruck.withLock { $0 } || exitStatus.map { $0 != 0 } ?? false }

        package var pid: Int32 { process.pid }
        package var isRunning: Bool { process.isRunning }
        /// See ``ChildProcess/exitStatus``.
        package var exitStatus: Int32? { process.exitStatus }
        package func send(_ signal: Int32) {
            if [SIGKILL, SIGSTOP, SIGABRT].contains(signal) { wasStruck.withLock { $0 = true } }
            process.send(signal)
        }
        package func kill() { send(SIGKILL) }
        package func freeze() { send(SIGSTOP) }
        package func thaw() { send(SIGCONT) }
        /// Whether the kernel says that it is stopped.
        package var isFrozen: Bool {
            let stat = TestKit.text(of: "/proc/\(pid)/stat")
            guard let end = stat.lastIndex(of: ")") else { return false }
            return stat[stat.index(end, offsetBy: 2)...].first == "T"
        }
        /// What it logged so far.
        package var logText: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }
    }

    /// Starts a worker, of the program or of another one that lies beside it; `environment` may name a crash point, a freeze
    /// point or a mechanism to turn off, `limit` is what `ulimit` is told in the shell that becomes the worker.
    package func startWorker(
        _ environment: [String: String] = [:],
        arguments: [String] = [],
        limit: String? = nil,
        program: String? = nil
    ) throws -> WorkerHandle {
        let log = folder.appendingPathComponent("worker-\(workers.withLock { $0.count }).log")
        let words =
            if let program { [try TestEnvironment.built(program)] } else {
                [try TestEnvironment.program(), "worker"] + arguments
            }
        let process = try ChildProcess(
            limit == nil ? words[0] : "/bin/bash",
            limit.map { ["-c", "ulimit \($0) && exec \"$0\" \"$@\""] + words } ?? Array(words.dropFirst()),
            environment: self.environment(environment),
            output: log.path,
            errors: log.path
        )
        let sabotage = ["TRUNKLINE_CRASH_AT", "TRUNKLINE_FREEZE_AT", "TRUNKLINE_TURN_OFF"]
        let worker = WorkerHandle(process, log: log, isSabotaged: sabotage.contains { environment[$0] != nil })
        workers.withLock { $0.append(worker) }
        return worker
    }

    /// Starts the program with the files that it reads and writes, and with signals that it finds blocked. The caller ends it.
    package func start(
        _ arguments: [String],
        input: String,
        output: String,
        blocked: [Int32]
    ) throws -> ChildProcess {
        try ChildProcess(
            try TestEnvironment.program(),
            arguments,
            environment: environment([:]),
            input: input,
            output: output,
            errors: output,
            blocked: blocked
        )
    }
}
