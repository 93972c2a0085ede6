import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// A worker whose process may have few descriptors open: it raises the limit, or takes fewer calls and says so. It never calls
/// the provider sick for it.
@Suite struct DescriptorTests {
    private static let lines = (1...6).map { "line-0\($0)" }
    private static let wanted = 400

    /// 400 jobs for 400 persons, on lines that may all be called at once. The breaker would open at six lines in trouble.
    private static func prepare(_ install: TestInstall) async throws {
        for line in lines {
            try await install.trunkline(["line", "set", line, "--concurrency", "70", "--recipient-gap", "0"])
                .requireSuccess()
        }
        try install.simulator.control("POST", "/__sim/answers/hold")
        try await install.publish(try TestInstall.jobs(wanted, lines: lines, persons: wanted))
    }

    private static func inAir(_ install: TestInstall) async throws -> Int64 {
        try await install.number("select count(*) from trunkline.jobs where state = 'sending'")
    }

    private static func requireCalm(_ install: TestInstall) async throws {
        try await install.waitUntilSent(wanted)
        #expect(try await install.number("select count(*) from trunkline.breakers where opened_at is not null") == 0)
        #expect(try await install.number("select count(*) from trunkline.finished where tries > 1") == 0)
        try await install.requireProof(sent: wanted)
        #expect(install.simulator.report().askedAgainAfterAnswer == 0)
    }

    @Test func theSoftLimitIsRaised() async throws {
        try await TestInstall.with(lines: Self.lines.count) { install in
            try await Self.prepare(install)
            let worker = try install.startWorker(arguments: ["--maximum-calls", "400"], limit: "-Sn 256")
            try await install.wait(for: "all calls in the air") { try await Self.inAir(install) == Self.wanted }
            try install.simulator.control("POST", "/__sim/answers/release")
            try await Self.requireCalm(install)
            #expect(!worker.logText.contains("fewer calls") && !worker.logText.contains("no descriptor"))
        }
    }

    @Test func underALowHardLimitItTakesFewerCallsAndSaysSo() async throws {
        try await TestInstall.with(lines: Self.lines.count) { install in
            try await Self.prepare(install)
            let worker = try install.startWorker(arguments: ["--maximum-calls", "400"], limit: "-n 256")
            try await install.wait(for: "as many calls as there is room for") {
                try await Self.inAir(install) == 96
            }
            #expect(worker.logText.contains("fewer calls at once than wanted"))
            #expect(worker.logText.contains("taken=96"))
            try install.simulator.control("POST", "/__sim/answers/release")
            try await Self.requireCalm(install)
            #expect(!worker.logText.contains("no descriptor"))
        }
    }

    /// What the number of calls did not foresee: the call has not begun, nobody else is blamed, no try is used.
    @Test func aLackOfDescriptorsIsNeverTheProvidersFailure() async throws {
        try await TestInstall.with(lines: Self.lines.count) { install in
            try await Self.prepare(install)
            let worker = try install.startWorker(
                ["TRUNKLINE_TURN_OFF": "descriptor_budget"],
                arguments: ["--maximum-calls", "400"],
                limit: "-n 128"
            )
            try await install.wait(for: "the lack") { worker.logText.contains("no descriptor or port for a call") }
            try install.simulator.control("POST", "/__sim/answers/release")
            try await Self.requireCalm(install)
        }
    }

    @Test func withoutRoomForACallItEndsWithTheReason() async throws {
        try await TestInstall.with(lines: 1) { install in
            let worker = try install.startWorker(limit: "-n 64")
            try await install.wait(for: "the end") { !worker.isRunning }
            #expect(worker.exitStatus == 1 && worker.logText.contains("raise the hard limit of open files"))
        }
    }
}
