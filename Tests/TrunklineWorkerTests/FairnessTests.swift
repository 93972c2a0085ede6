import Foundation
import PostgresDriver
import Synchronization
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// 300 lines that all have work, 60 call slots, and answers after a second.
@Suite struct FairnessTests {
    /// What else wants the slots.
    enum Rival: CaseIterable {
        /// Nobody.
        case none
        /// Five lines that may have 256 calls in the air, with work for all of them.
        case wideLines
        /// Jobs that arrive all the time for five lines, and could begin in the commit that takes them.
        case newcomers
    }

    private static let lines = (1...300).map { String(format: "line-%03d", $0) }
    private static let rivals = Array(lines.prefix(5))

    /// How often each line was served after 20 s, and after a minute. A second of 60 slots is 60 calls, questions about health
    /// among them: counted so, it is the same on a machine that has other things to do.
    private func serve(_ rival: Rival, turnedOff: String?) async throws -> (early: [Int], late: [Int]) {
        try await TestInstall.with(shards: 8, lines: 0) { install in
            try install.simulator.control("POST", "/__sim/lines", #"{"count":300}"#)
            try await install.addLines(Self.lines) { line in
                rival == .wideLines && Self.rivals.contains(line) ? 256 : 16
            }
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"latency","on":"any","ms":1000}"#)
            // Held until all work is known: who comes first has no start over the others.
            try await install.database.script("update trunkline.lanes set hold_reason = 'test', held_at = now()")
            _ = try install.startWorker(
                turnedOff.map { ["TRUNKLINE_TURN_OFF": $0] } ?? [:],
                arguments: ["--maximum-calls", "60"]
            )
            var jobs = try TestInstall.jobs(3_600, lines: Self.lines, persons: 3_600)
            if rival == .wideLines {
                jobs += try TestInstall.jobs(1_000, prefix: "wide", lines: Self.rivals, persons: 1_000)
            }
            try await install.publish(jobs)
            try await install.wait(for: "all work to be known", within: .seconds(240)) {
                try await install.number("select count(*) from trunkline.jobs where state = 'waiting' and place > 0")
                    == jobs.count
            }
            try await install.database.script("update trunkline.lanes set hold_reason = null, held_at = null")
            let arrivals = Task {
                guard rival == .newcomers else { return }
                for number in 1... where !Task.isCancelled {
                    try await install.publish(
                        try TestInstall.jobs(10, prefix: "new.\(number)", lines: Self.rivals, persons: 9_000)
                    )
                    try await Task.sleep(for: .milliseconds(50))
                }
            }
            defer { arrivals.cancel() }
            func served(afterSeconds seconds: Int) async throws -> [Int] {
                try await install.wait(for: "\(seconds) s of calls", within: .seconds(240)) {
                    let report = install.simulator.report()
                    return report.total.messages + report.healthAnswers >= seconds * 60
                }
                let report = install.simulator.report()
                return Self.lines.map { report.lines[$0]?.messages ?? 0 }
            }
            return (try await served(afterSeconds: 20), try await served(afterSeconds: 60))
        }
    }

    @Test(arguments: Rival.allCases)
    func everyLineIsServedWithinTwentySecondsAndNoneGetsLessThanHalf(_ rival: Rival) async throws {
        let (early, late) = try await serve(rival, turnedOff: nil)
        let mean = Double(late.reduce(0, +)) / Double(late.count)
        print("fairness, \(rival): least \(early.min()!) after 20 s; least \(late.min()!), mean \(mean) after 60 s")
        #expect(early.allSatisfy { $0 > 0 }, "\(early.count { $0 == 0 }) of 300 lines were not served in 20 s")
        #expect(Double(late.min()!) >= mean / 2, "least \(late.min()!), mean \(mean)")
    }

    /// Without turns the lowest lines keep all slots: the test above can fail.
    @Test func withoutTurnsLinesStarve() async throws {
        let (early, _) = try await serve(.none, turnedOff: "rotation")
        #expect(early.count { $0 == 0 } > 50)
    }
}
