import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// Credentials that expire, of a lane that several workers carry to: asked for once for the fleet, never lost once committed.
@Suite struct CredentialTests {
    @Test func theyAreAskedForOnceForTheFleetAndItsNextOwner() async throws {
        try await StepsTests.Stage.with { stage in
            let first = try stage.startWorker()
            try await stage.publish(6)
            try await stage.requireProof(6)
            first.kill()
            _ = try stage.startWorker()
            try await stage.publish(12)
            try await stage.requireProof(12)
            #expect(stage.notebook.count(.token) == 1)
            // Neither tokens nor what they are asked for with stand anywhere in the clear.
            let clear = try await stage.install.number(
                "select count(*) from trunkline.lane_credentials where position('0123456789abcdef'::bytea in sealed) > 0"
            )
            #expect(clear == 0)
        }
    }

    @Test func expiredOnesAreFollowedByTheNext() async throws {
        try await StepsTests.Stage.with { stage in
            let worker = try stage.startWorker()
            try await stage.publish(3)
            try await stage.requireProof(3)
            stage.notebook.expire()
            try await stage.publish(6)
            try await stage.requireProof(6)
            #expect(stage.notebook.count(.token) == 2 && stage.notebook.refusedTokens == 0)
            #expect(try await stage.install.number("select generation from trunkline.lane_credentials") == 2)
            #expect(!worker.logText.contains("0123456789abcdef"))
        }
    }

    /// What they were asked for with is worth nothing any more: only the committed ones go on.
    @Test func aWorkerThatDiesRightAfterTheCommitLeavesThemToTheNext() async throws {
        try await StepsTests.Stage.with { stage in
            let victim = try stage.startWorker(["TRUNKLINE_CRASH_AT": "refreshed:1"])
            try await stage.publish(3)
            try await stage.install.wait(for: "the crash") { !victim.isRunning }
            _ = try stage.startWorker()
            try await stage.requireProof(3)
            #expect(stage.notebook.count(.token) == 1 && stage.notebook.refusedTokens == 0)
        }
    }

    /// An answer that never arrived has used up what it was asked for with: a person must give another secret.
    @Test func aRefusalHoldsTheLaneForAPerson() async throws {
        try await StepsTests.Stage.with { stage in
            stage.notebook.answerNext(.token, [500])
            _ = try stage.startWorker()
            try await stage.publish(2)
            try await stage.install.wait(for: "the lane is held for a person") {
                try await stage.install.number(
                    "select count(*) from trunkline.lane_state where gate = 'held_human' and gate_reason = 'credential_refused'"
                ) == 1
            }
            #expect(stage.notebook.refusedTokens > 0 && stage.notebook.count(.lookUp) == 0)
            #expect(try await stage.install.number("select count(*) from trunkline.jobs where state = 'waiting'") == 2)
            let other = "note_fedcba9876543210"
            stage.notebook.take(secret: other)
            try await stage.install.changeDestination("book", of: NotebookCarrier(), secret: other)
            try await stage.requireProof(2)
            #expect(try await stage.stamped() == 0)
        }
    }
}
