import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// A line's health is asked, a send is refused because of the line, and only then the OPEN answer to the older question comes.
@Suite struct StaleHealthTests {
    @Test(arguments: [423, 401])
    func anOlderOpenAnswerDoesNotEndAYoungerHold(status: Int) async throws {
        #expect(try await messagesBeforeTheNextQuestion(status: status, turnedOff: nil) == 1)
    }

    /// When it does, the next send goes into the line: the test above can fail.
    @Test func withoutTheRuleASendFollowsTheHold() async throws {
        #expect(try await messagesBeforeTheNextQuestion(status: 423, turnedOff: "young_answer") == 2)
    }

    /// How many messages the line has got when its health is asked for the first time after the hold, or two.
    private func messagesBeforeTheNextQuestion(status: Int, turnedOff: String?) async throws -> Int {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            _ = try install.startWorker(turnedOff.map { ["TRUNKLINE_TURN_OFF": $0] } ?? [:])
            try await install.publish([try TestInstall.job("first")])
            try await install.waitUntilSent(1)
            let report = { install.simulator.report() }
            let asked = report().healthAnswers
            // From 15 s on the OPEN answer is renewed as soon as there is work.
            try await Task.sleep(for: .seconds(16))
            try install.simulator.control(
                "POST",
                "/__sim/faults",
                #"{"kind":"latency","on":"health","ms":4000,"count":2}"#
            )
            try install.simulator.control(
                "POST",
                "/__sim/faults",
                #"{"kind":"status","status":\#(status),"count":1}"#
            )
            // As a row: what is claimed on the fast path asks nothing.
            let row = String(decoding: try TestInstall.job("second").encode(), as: UTF8.self)
            try await install.trunkline(["enqueue", "-"], input: row).requireSuccess()
            try await install.wait(for: "the hold") {
                try await install.number(
                    "select count(*) from trunkline.lane_state where gate in ('held_transient', 'held_human', 'probing')"
                ) == 1
            }
            try #require(report().healthAnswers == asked, "the older question was answered too early")
            let isSent = { report().total.messages > 1 }
            func wait(for what: String, gate: String) async throws {
                try await install.wait(for: what) {
                    if isSent() { return true }
                    return try await install.number("select count(*) from trunkline.lane_state where gate in (\(gate))")
                        == 1
                }
            }
            try await install.wait(for: "the older answer") { report().healthAnswers > asked }
            try await wait(for: "the hold again, or a send", gate: "'held_transient', 'held_human'")
            // Its answer takes its time, too: nothing is sent for it yet.
            try await wait(for: "the next question, or a send", gate: "'probing'")
            let messages = report().total.messages
            try await install.waitUntilSent(2)
            try await install.requireProof(sent: 2)
            return messages
        }
    }
}
