internal import CPlatform
internal import Foundation
internal import Glibc
internal import Synchronization

/// A program that was started here, ended by its id and by nothing else.
///
/// Not Foundation's `Process`: children inherit each other's pipe ends there, so that a worker keeps the pipe of a command
/// open that another test waits for; and they inherit the signal mask of the test runner's threads, which blocks SIGTERM.
package final class ChildProcess: Sendable {
    package let pid: Int32
    private struct State {
        var status: Int32?
        var waiting: [CheckedContinuation<Int32, Never>] = []
    }
    private let state = Mutex(State())

    /// - Parameters:
    ///   - path: the program.
    ///   - environment: the whole of it; nil: this process's.
    ///   - folder: its working directory; nil: this process's.
    ///   - input: a file to read as standard input; nil: nothing.
    ///   - blocked: signals that it finds blocked.
    ///   - output: files for standard output and standard error; the same path for both appends to one.
    /// - Throws: ``KitError`` when it cannot be started.
    package init(
        _ path: String,
        _ arguments: [String],
        environment: [String: String]? = nil,
        folder: String? = nil,
        input: String? = nil,
        output: String = "/dev/null",
        errors: String = "/dev/null",
        blocked: [Int32] = []
    ) throws {
        var files = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&files)
        defer { posix_spawn_file_actions_destroy(&files) }
        posix_spawn_file_actions_addopen(&files, 0, input ?? "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&files, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_addopen(&files, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        tl_spawn_close_from(&files, 3)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var mask = sigset_t()
        sigemptyset(&mask)
        for signal in blocked { sigaddset(&mask, signal) }
        posix_spawnattr_setsigmask(&attributes, &mask)
        var usual = sigset_t()
        sigemptyset(&usual)
        for signal in [SIGTERM, SIGINT, SIGPIPE, SIGHUP] { sigaddset(&usual, signal) }
        posix_spawnattr_setsigdefault(&attributes, &usual)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        // The system's call for it hides behind _GNU_SOURCE; `env` becomes the program.
        let command = (folder.map { ["/usr/bin/env", "-C", $0] } ?? []) + [path] + arguments
        let words = command.map { strdup($0) } + [nil]
        let variables = (environment ?? ProcessInfo.processInfo.environment).map { strdup("\($0)=\($1)") } + [nil]
        defer { (words + variables).forEach { free($0) } }
        var child = pid_t()
        let code = posix_spawn(&child, command[0], &files, &attributes, words, variables)
        guard code == 0 else { throw KitError("\(path) cannot be started: errno \(code)") }
        pid = child
        Thread.detachNewThread { self.reap() }
    }

    private func reap() {
        // It keeps its number until it is known to have ended.
        var info = siginfo_t()
        while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) < 0, errno == EINTR {}
        let (status, waiting) = state.withLock { state in
            var raw: Int32 = 0
            while waitpid(pid, &raw, 0) < 0, errno == EINTR {}
            let signal = raw & 0x7F
            let status = signal == 0 ? (raw >> 8) & 0xFF : -signal
            state.status = status
            defer { state.waiting = [] }
            return (status, state.waiting)
        }
        for continuation in waiting { continuation.resume(returning: status) }
    }

    /// Its exit status, or minus the signal that ended it, which no program can return; nil while it runs.
    package var exitStatus: Int32? { state.withLock { $0.status } }

    package var isRunning: Bool { exitStatus == nil }

    /// An exit status in words: `1`, or the name of the signal that ended the process.
    package static func words(for status: Int32) -> String {
        let names: [Int32: String] = [
            SIGABRT: "SIGABRT", SIGBUS: "SIGBUS", SIGFPE: "SIGFPE", SIGILL: "SIGILL", SIGKILL: "SIGKILL",
            SIGSEGV: "SIGSEGV", SIGTERM: "SIGTERM", SIGTRAP: "SIGTRAP",
        ]
        return names[-status] ?? "\(status)"
    }

    /// Does nothing once it has ended: its number may be another's by then.
    package func send(_ signal: Int32) {
        state.withLock { if $0.status == nil { kill(pid, signal) } }
    }

    /// Waits for the end and gives the exit status, whether the task is cancelled or not.
    @discardableResult
    package func end() async -> Int32 {
        await withCheckedContinuation { continuation in
            let status = state.withLock { state in
                if state.status == nil { state.waiting.append(continuation) }
                return state.status
            }
            if let status { continuation.resume(returning: status) }
        }
    }
}
