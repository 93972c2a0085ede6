internal import Foundation
internal import TestKit

/// `./dev sanitize`: the tests of what works with threads and C memory, built so that they watch themselves.
package struct SanitizeRun: Sendable {
    /// Loop, drivers, engine. No fleets: under a sanitizer a process is several times slower, and theirs have limits to keep.
    package static let targets = [
        "EventLoopTests", "CurlDriverTests", "PostgresDriverTests", "RabbitDriverTests", "TrunklineEngineTests",
    ]

    private let rooms: Rooms
    private let sanitizers: [Sanitizer]

    package init(_ rooms: Rooms, _ sanitizers: [Sanitizer]) {
        self.rooms = rooms
        self.sanitizers = sanitizers
    }

    private var root: String { rooms.checkout.root }

    /// Returns the exit code: 1 when a test failed or was skipped, and for any report.
    package func run() async throws -> Int32 {
        var verdicts: [SanitizeVerdict] = []
        for sanitizer in sanitizers {
            try await build(sanitizer)
            verdicts += try await test(sanitizer)
        }
        for verdict in verdicts { Terminal.write("\(verdict.line)\n".utf8, to: 1) }
        return verdicts.allSatisfy(\.isClean) ? 0 : 1
    }

    /// A folder of its own: every module is another one.
    private func scratch(_ sanitizer: Sanitizer) -> String { "\(root)/.build-\(sanitizer.rawValue)" }

    private func arguments(_ sanitizer: Sanitizer) -> [String] {
        ["--sanitize", sanitizer.rawValue, "--scratch-path", scratch(sanitizer)]
    }

    private func build(_ sanitizer: Sanitizer) async throws {
        let log = rooms.checkout.state + "/sanitize-build.log"
        let began = ContinuousClock.now
        Terminal.log("Building the tests for the \(sanitizer.rawValue) sanitizer (the first time 5 to 20 minutes)")
        removeFiles(log)
        let child = try ChildProcess(
            "/usr/bin/env",
            ["swift", "build", "--build-tests", "--traits", "Faults"] + arguments(sanitizer),
            folder: root,
            output: log,
            errors: log
        )
        guard try await child.end(whileRunning: {}) == 0 else {
            throw KitError(
                "the build failed; the whole output is in \(rooms.checkout.relative(log)).\n\(tail(of: log))"
            )
        }
        Terminal.note("built in \((ContinuousClock.now - began).components.seconds) s")
    }

    private func test(_ sanitizer: Sanitizer) async throws -> [SanitizeVerdict] {
        let log = "\(rooms.checkout.state)/sanitize-\(sanitizer.rawValue).log"
        let folder = "\(rooms.checkout.state)/sanitize-\(sanitizer.rawValue)"
        removeFiles(folder)
        try makeFolder(folder)
        let tests = try await SwiftTests(rooms, log: log, program: scratch(sanitizer) + "/debug/trunkline")
        var verdicts: [SanitizeVerdict] = []
        for target in Self.targets {
            Terminal.log("Running \(target) (\(sanitizer.rawValue))")
            let before = text(of: log).utf8.count
            // Each sequence of the ledger's conformance takes several times as long here: fewer of them.
            let variables = sanitizer.variables(
                reportsAt: "\(folder)/\(target)",
                suppressionsIn: root + "/Tests/Suppressions"
            )
            .merging(["TRUNKLINE_LEDGER_SEEDS": "100"]) { $1 }
            let status = try await tests.run(
                arguments(sanitizer) + ["--filter", "^\(target)\\."],
                variables: variables
            )
            let said = String(decoding: text(of: log).utf8.dropFirst(before), as: UTF8.self)
            let reports = names(in: folder).filter { $0.hasPrefix(target + ".") }
                .flatMap { Sanitizer.reports(in: text(of: "\(folder)/\($0)")) }
            verdicts.append(
                SanitizeVerdict(
                    sanitizer: sanitizer,
                    target: target,
                    status: status,
                    said: TestLog(said),
                    reports: reports.map(String.init)
                )
            )
        }
        if verdicts.contains(where: { !$0.reports.isEmpty }) {
            Terminal.note("the reports are in \(rooms.checkout.relative(folder))")
        }
        return verdicts
    }
}

/// What a target's run under a sanitizer came to.
package struct SanitizeVerdict: Sendable {
    let sanitizer: Sanitizer
    let target: String
    let status: Int32
    let said: TestLog
    /// The first line of each.
    let reports: [String]

    package init(sanitizer: Sanitizer, target: String, status: Int32, said: TestLog, reports: [String]) {
        self.sanitizer = sanitizer
        self.target = target
        self.status = status
        self.said = said
        self.reports = reports
    }

    /// Every test ran and passed, and nothing was reported.
    package var isClean: Bool { status == 0 && said.hasPassedRun && said.skipped.isEmpty && reports.isEmpty }

    package var line: String {
        var parts = ["\(said.passed) passed", "\(said.failed) failed", "\(reports.count) reports"]
        if !said.skipped.isEmpty { parts.append("\(said.skipped.count) skipped") }
        if !isClean, said.failed == 0, reports.isEmpty { parts.append("ended with \(status)") }
        return "\(sanitizer.rawValue) \(target): " + parts.joined(separator: ", ")
    }
}
