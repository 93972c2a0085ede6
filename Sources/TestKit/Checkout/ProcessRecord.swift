internal import Foundation
internal import Glibc

/// A process that outlives whoever started it, known by a file.
///
/// A process id alone may name another process tomorrow: id, start time (in ticks since boot) and boot together do not.
package struct ProcessRecord: Sendable {
    package let file: String

    package init(_ file: String) { self.file = file }

    private static let boot = text(of: "/proc/sys/kernel/random/boot_id").trimmingCharacters(in: .newlines)

    /// What is written down of a process; nil when there is none, or only what its parent has not looked at yet.
    private static func stamp(of pid: Int32) -> String? {
        let stat = text(of: "/proc/\(pid)/stat")
        // The name of the program, in brackets, may have anything in it. After it: the state, and 19 fields on the start.
        guard let end = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[end...].dropFirst().split(separator: " ")
        // The first thread is a zombie before the others have ended, and those keep sockets open and locks held.
        let hasEnded = fields.count > 19 && (fields[0] == "X" || fields[0] == "Z" && (Int(fields[17]) ?? 0) < 2)
        guard fields.count > 19, !hasEnded else { return nil }
        return "\(pid) \(fields[19]) \(boot)\n"
    }

    /// The id of the recorded process, if it is still that process.
    package var pid: Int32? {
        let recorded = text(of: file)
        let pid = recorded.split(separator: " ").first.flatMap { Int32($0) }
        guard let pid, Self.stamp(of: pid) == recorded else { return nil }
        return pid
    }

    package var isAlive: Bool { pid != nil }

    /// Records a process that runs already.
    ///
    /// - Throws: ``KitError`` when it does not.
    func record(_ pid: Int32) throws(KitError) {
        guard let stamp = Self.stamp(of: pid) else {
            throw KitError("process \(pid) ended at once; see the log beside \(file)")
        }
        try writePrivately(stamp, to: file)
    }

    /// Writes the record of the shell that it is run by, which then becomes the program: whatever happens to us meanwhile,
    /// the record is there.
    private static let recorder = #"""
        begin() { shift 19 && printf '%s' "$1"; }
        read -r stat </proc/$$/stat && read -r boot </proc/sys/kernel/random/boot_id &&
            printf '%s %s %s\n' "$$" "$(begin ${stat##*) })" "$boot" >"$0.new" && mv "$0.new" "$0" && exec "$@"
        """#

    /// Starts a program in a session of its own, without our terminal and descriptors.
    ///
    /// - Parameters:
    ///   - environment: the whole of it.
    ///   - log: appended to; the program works in its folder.
    /// - Throws: ``KitError`` when it cannot be started.
    package func start(
        _ program: String,
        _ arguments: [String],
        environment: [String: String],
        log: String
    ) async throws {
        removeFiles(file)
        let child = try ChildProcess(
            "/usr/bin/setsid",
            ["/bin/sh", "-c", Self.recorder, file, program] + arguments,
            environment: environment,
            folder: URL(fileURLWithPath: log).deletingLastPathComponent().path,
            output: log,
            errors: log
        )
        // Not given up when this task is cancelled: a moment later there is something to end.
        try await shielded {
            try await eventually("\(program) to start; see \(log)", within: .seconds(20)) {
                !text(of: file).isEmpty || !child.isRunning
            }
        }
        guard text(of: file).hasPrefix("\(child.pid) ") else {
            throw KitError("could not start \(program); see \(log)")
        }
    }

    /// Asks it to end, waits, and kills it when it does not; then there is no record any more.
    ///
    /// - Throws: ``KitError`` when it does not even end when killed.
    package func end(_ signal: Int32, within limit: Duration) async throws {
        if let pid {
            Glibc.kill(pid, signal)
            // A frozen process does not end.
            Glibc.kill(pid, SIGCONT)
            if await !ends(within: limit) {
                Glibc.kill(pid, SIGKILL)
                guard await ends(within: .seconds(10)) else { throw KitError("process \(pid) does not end") }
            }
        }
        removeFiles(file)
    }

    /// Kills it and waits for its end; the record stays.
    package func kill() async throws {
        guard let pid else { throw KitError("nothing runs of which \(file) is the record") }
        Glibc.kill(pid, SIGKILL)
        guard await ends(within: .seconds(10)) else { throw KitError("process \(pid) does not end") }
    }

    /// Waits whether the task is cancelled or not.
    private func ends(within limit: Duration) async -> Bool {
        (try? await shielded { try await eventually("the end", within: limit) { !isAlive } }) != nil
    }
}
