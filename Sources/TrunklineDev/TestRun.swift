internal import EventLoop
internal import Foundation
internal import TestKit

/// `./dev test`, when everything is built: the tests against servers of their own, target after target.
package struct TestRun: Sendable {
    private let rooms: Rooms
    private let arguments: [String]
    private let program: String

    /// - Parameters:
    ///   - arguments: for `swift test`; without any every target runs, one after the other.
    ///   - program: the built trunkline.
    package init(_ rooms: Rooms, arguments: [String], program: String) {
        self.rooms = rooms
        self.arguments = arguments
        self.program = program
    }

    private var root: String { rooms.checkout.root }
    private var log: String { rooms.checkout.state + "/test.log" }

    /// Returns the exit code.
    package func run() async throws -> Int32 {
        // What an interrupted run left.
        try await rooms.clearTest()
        let servers = ProductServers(folder: rooms.test, checkout: rooms.checkout(noting: rooms.test))
        try await servers.startSayingSo(rooms.checkout)
        let environment = ProcessInfo.processInfo.environment
            .merging(EnvironmentFile.variables(of: servers.environmentFile)) { $1 }
            .merging([
                "TRUNKLINE_DEV_INSTANCES": rooms.test + "/instances", "TRUNKLINE_BINARY": program, RunMark.name: root,
            ]) { $1 }
        DescriptorLimit.raise()
        try Data().write(to: URL(fileURLWithPath: log))
        var status: Int32 = 0
        for filter in filters() {
            if let target = filter.target { Terminal.log("Running \(target)") }
            let ended = try await swiftTest(filter.arguments, environment)
            if ended != 0 { status = ended }
        }
        return try judge(status)
    }

    /// One target after the other: the drivers' tests watch sockets closely, and the workers' tests start many processes.
    private func filters() -> [(target: String?, arguments: [String])] {
        guard arguments.isEmpty else { return [(nil, arguments)] }
        return names(in: root + "/Tests").filter { $0.hasSuffix("Tests") }.map { ($0, ["--filter", "^\($0)\\."]) }
    }

    private func judge(_ status: Int32) throws -> Int32 {
        let said = TestLog(text(of: log))
        guard said.skipped.isEmpty else {
            for line in said.skipped.prefix(20) { Terminal.say(line) }
            throw KitError("tests were skipped; here that counts as a failure.")
        }
        guard status != 0 || said.hasPassedRun else { throw KitError("no test ran; see .dev/test.log.") }
        Terminal.write("\(said.passed) passed, \(said.failed) failed\n".utf8, to: 1)
        if status != 0 { Terminal.note("the whole output is in .dev/test.log") }
        return status
    }

    /// One run of the built tests, shown while it grows. Not through a pipe: a process that a test left behind would keep it
    /// open for ever.
    private func swiftTest(_ arguments: [String], _ environment: [String: String]) async throws -> Int32 {
        let shown = try FileHandle(forReadingFrom: URL(fileURLWithPath: log))
        defer { try? shown.close() }
        try shown.seekToEnd()
        let child = try ChildProcess(
            "/usr/bin/env",
            ["swift", "test", "--skip-build", "--traits", "Faults", "--parallel"] + arguments,
            environment: environment,
            folder: root,
            output: log,
            errors: log
        )
        func show() {
            while let data = try? shown.read(upToCount: 65_536), !data.isEmpty { Terminal.write(data, to: 1) }
        }
        do {
            while child.isRunning {
                show()
                try await Task.sleep(for: .milliseconds(50))
            }
        } catch {
            child.send(SIGTERM)
            throw error
        }
        show()
        let status = await child.end()
        return status < 0 ? 128 - status : status
    }
}
