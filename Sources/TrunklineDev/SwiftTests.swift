internal import EventLoop
internal import Foundation
internal import TestKit

/// Runs of `swift test` over what is built, against servers of their own. ``Rooms/clearTest()`` ends those.
struct SwiftTests: Sendable {
    private let root: String
    private let log: String
    private let environment: [String: String]

    /// Starts the servers, when what an interrupted run has left is cleared away.
    ///
    /// - Parameters:
    ///   - log: a file that gets what every run says; emptied.
    ///   - program: the built trunkline that the tests start.
    init(_ rooms: Rooms, log: String, program: String) async throws {
        try await rooms.clearTest()
        root = rooms.checkout.root
        self.log = log
        let servers = ProductServers(folder: rooms.test, checkout: rooms.checkout(noting: rooms.test))
        try await servers.startSayingSo(rooms.checkout)
        environment = ProcessInfo.processInfo.environment
            .merging(EnvironmentFile.variables(of: servers.environmentFile)) { $1 }
            .merging([
                "TRUNKLINE_DEV_INSTANCES": rooms.test + "/instances", "TRUNKLINE_BINARY": program, RunMark.name: root,
            ]) { $1 }
        DescriptorLimit.raise()
        try Data().write(to: URL(fileURLWithPath: log))
    }

    /// One run of the built tests, shown while it grows. Not through a pipe: a process that a test left behind would keep it
    /// open for ever.
    ///
    /// - Parameters:
    ///   - arguments: for `swift test`.
    ///   - variables: for this run only.
    /// - Returns: its exit code.
    func run(_ arguments: [String], variables: [String: String] = [:]) async throws -> Int32 {
        let shown = try FileHandle(forReadingFrom: URL(fileURLWithPath: log))
        defer { try? shown.close() }
        try shown.seekToEnd()
        let child = try ChildProcess(
            "/usr/bin/env",
            ["swift", "test", "--skip-build", "--traits", "Faults", "--parallel"] + arguments,
            environment: environment.merging(variables) { $1 },
            folder: root,
            output: log,
            errors: log
        )
        func show() {
            while let data = try? shown.read(upToCount: 65_536), !data.isEmpty { Terminal.write(data, to: 1) }
        }
        return try await child.end(whileRunning: show)
    }
}

extension ChildProcess {
    /// Waits for its end, looking after `body` meanwhile. When the task is cancelled it gets SIGTERM.
    ///
    /// - Returns: its exit code; 128 and the number of the signal that ended it.
    func end(whileRunning body: () -> Void) async throws -> Int32 {
        do {
            while isRunning {
                body()
                try await Task.sleep(for: .milliseconds(50))
            }
        } catch {
            send(SIGTERM)
            throw error
        }
        body()
        let status = await end()
        return status < 0 ? 128 - status : status
    }
}
