import Foundation
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// Processes that are alive and do nothing: consumers that get nothing, and a loop that does not turn.
@Suite struct SilenceTests {
    /// A worker with silent consumers and a job in its queue.
    private func withSilence(
        _ silence: String,
        off: Bool = false,
        _ body: (TestInstall, TestInstall.WorkerHandle) async throws -> Void
    ) async throws {
        try await TestInstall.with(shards: 2, lines: 1) { install in
            var environment = ["TRUNKLINE_SILENT_CONSUMERS": silence]
            if off { environment["TRUNKLINE_TURN_OFF"] = "consumer_watch" }
            let worker = try install.startWorker(environment)
            try await install.wait(for: "the shards") {
                try await install.number("select count(*) from trunkline.shards where owner is null") == 0
            }
            try await install.publish([try TestInstall.job("silent")])
            try await body(install, worker)
        }
    }

    @Test func aSilentSubscriptionIsRenewed() async throws {
        try await withSilence("subscription") { install, worker in
            try await install.waitUntilSent(1)
            #expect(worker.logText.contains("delivers none: subscribing again"))
            #expect(!worker.logText.contains("broker connection lost"))
            try await install.requireProof(sent: 1)
        }
    }

    @Test func aSilentConnectionIsMadeAnew() async throws {
        try await withSilence("connection") { install, worker in
            try await install.waitUntilSent(1, within: .seconds(120))
            #expect(worker.logText.contains("delivers none: connecting to the broker again"))
            #expect(worker.isRunning)
            try await install.requireProof(sent: 1)
        }
    }

    @Test func aProcessThatStaysSilentEndsSoThatItsSupervisorStartsItAgain() async throws {
        try await withSilence("process") { install, worker in
            try await install.wait(for: "the end of the silent worker", within: .seconds(150)) { !worker.isRunning }
            #expect(worker.exitStatus == 1)
            #expect(worker.logText.contains("so that its supervisor starts it again"))
            #expect(try await install.number("select count(*) from trunkline.shards where owner is not null") == 0)
            _ = try install.startWorker()
            try await install.waitUntilSent(1)
            try await install.requireProof(sent: 1)
        }
    }

    /// The mechanism: queues that have messages and deliver none are noticed.
    @Test func withoutTheWatchASilentConsumerStaysSilent() async throws {
        try await withSilence("subscription", off: true) { install, worker in
            // Three looks of ten seconds: in half of that the watch would have helped.
            try await Task.sleep(for: .seconds(45))
            #expect(try await install.number("select count(*) from trunkline.ledger") == 0)
            #expect(worker.isRunning)
        }
    }

    @Test func aLoopThatHangsEndsItsProcess() async throws {
        try await TestInstall.with(shards: 2, lines: 1) { install in
            let victim = try install.startWorker(["TRUNKLINE_HANG_AT": "claimed", "TRUNKLINE_CORE_DUMPS": ""])
            try await install.publish([try TestInstall.job("hung")])
            try await install.wait(for: "a claim") {
                try await install.number("select count(*) from trunkline.jobs where state = 'sending'") == 1
            }
            _ = try install.startWorker()
            try await install.wait(for: "the end of the hanging process", within: .seconds(120)) { !victim.isRunning }
            // Its own code, and no signal that would write a core with keys in it.
            #expect(victim.exitStatus == 5)
            #expect(victim.logText.contains("the worker's loop has not turned for 60 s"))
            try await install.waitUntilSent(1)
            try await install.requireProof(sent: 1)
        }
    }

    /// A process that was stopped as a whole has not hung.
    @Test func aFrozenProcessIsNotTakenForAHangingOne() async throws {
        try await TestInstall.with(shards: 2, lines: 1) { install in
            let worker = try install.startWorker()
            try await install.publish([try TestInstall.job("before")])
            try await install.waitUntilSent(1)
            worker.freeze()
            // The length of the freeze is what is tested, not a wait for something.
            try await Task.sleep(for: .seconds(70))
            worker.thaw()
            try await install.publish([try TestInstall.job("after")])
            try await install.waitUntilSent(2)
            #expect(worker.isRunning)
            try await install.requireProof(sent: 2)
        }
    }
}
