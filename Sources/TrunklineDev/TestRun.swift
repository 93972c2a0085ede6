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

    private var log: String { rooms.checkout.state + "/test.log" }

    /// Returns the exit code.
    package func run() async throws -> Int32 {
        let tests = try await SwiftTests(rooms, log: log, program: program)
        var status: Int32 = 0
        for filter in filters() {
            if let target = filter.target { Terminal.log("Running \(target)") }
            let ended = try await tests.run(filter.arguments)
            if ended != 0 { status = ended }
        }
        return try judge(status)
    }

    /// One target after the other: the drivers' tests watch sockets closely, and the workers' tests start many processes.
    private func filters() -> [(target: String?, arguments: [String])] {
        guard arguments.isEmpty else { return [(nil, arguments)] }
        return names(in: rooms.checkout.root + "/Tests").filter { $0.hasSuffix("Tests") }
            .map { ($0, ["--filter", "^\($0)\\."]) }
    }

    private func judge(_ status: Int32) throws -> Int32 {
        let said = TestLog(text(of: log))
        guard said.skipped.isEmpty else {
            for line in said.skipped.prefix(20) { Terminal.say(line) }
            throw KitError("tests were skipped; here that counts as a failure.")
        }
        guard status != 0 || said.hasPassedRun else { throw KitError("no test ran; see .dev/test.log.") }
        Terminal.write("\(said.passed) passed, \(said.failed) failed\n".utf8, to: 1)
        if status != 0 {
            for line in said.issues.prefix(60) { Terminal.say(line) }
            Terminal.note("the whole output is in .dev/test.log")
        }
        return status
    }
}
