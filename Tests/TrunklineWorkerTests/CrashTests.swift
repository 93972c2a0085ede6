import PostgresDriver
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// SIGKILL between every two steps of a job's way, early and in mid-flight; another worker finishes.
@Suite struct CrashTests {
    static let steps = ["accepted", "taken", "claimed", "carried", "answered", "settled", "acked"]
    static let points = steps.flatMap { step in ["\(step):1", "\(step):40"] }

    @Test(arguments: points)
    func aKilledWorkersJobsAreFinishedByAnother(point: String) async throws {
        try await TestInstall.with { install in
            let victim = try install.startWorker(["TRUNKLINE_CRASH_AT": point])
            try await install.publish(try TestInstall.jobs(120))
            try await install.wait(for: "the crash at \(point)", within: .seconds(120)) { !victim.isRunning }
            _ = try install.startWorker()
            try await install.waitUntilSent(120, within: .seconds(180))
            try await install.requireProof(sent: 120)
        }
    }

    /// The mechanism: a delivery is acknowledged after the commit that took it.
    @Test func acknowledgedAtArrivalAJobIsLostWithItsWorker() async throws {
        try await TestInstall.with(lines: 1) { install in
            let victim = try install.startWorker([
                "TRUNKLINE_CRASH_AT": "accepted:1", "TRUNKLINE_TURN_OFF": "ack_after_commit",
            ])
            try await install.wait(for: "the shards") {
                try await install.number("select count(*) from trunkline.shards where owner is null") == 0
            }
            try await install.publish([try TestInstall.job("lost")])
            // Turned off, the acknowledgement leaves before the take; the crash comes after it.
            try await install.wait(for: "the crash") { !victim.isRunning }
            _ = try install.startWorker()
            try await install.publish([try TestInstall.job("marker")])
            try await install.waitUntilSent(1)
            // Its message is gone from the broker, and no row knows it.
            try await install.wait(for: "empty queues") {
                try await install.hasEmptyQueues()
            }
            #expect(try await install.number("select count(*) from trunkline.ledger") == 1)
        }
    }

    @Test func sigtermFinishesWhatIsInTheAirAndHandsBackTheRest() async throws {
        try await TestInstall.with(pace: "10/s") { install in
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"latency","minMs":400,"maxMs":600}"#)
            let first = try install.startWorker()
            try await install.publish(try TestInstall.jobs(60))
            try await install.wait(for: "calls in the air") {
                try await install.number("select count(*) from trunkline.jobs where state = 'sending'") > 0
            }
            first.send(15)
            try await install.wait(for: "the end of the first worker") { !first.isRunning }
            #expect(first.exitStatus == 0)
            #expect(try await install.number("select count(*) from trunkline.jobs where state = 'sending'") == 0)
            #expect(try await install.number("select count(*) from trunkline.workers") == 0)
            #expect(try await install.number("select count(*) from trunkline.shards where owner is not null") == 0)
            #expect(install.simulator.report().askedAgainAfterAnswer == 0)
            _ = try install.startWorker()
            try await install.waitUntilSent(60)
            try await install.requireProof(sent: 60)
            #expect(install.simulator.report().askedAgainAfterAnswer == 0)
        }
    }

    @Test func aSecondSignalEndsAtOnceAndLosesNothing() async throws {
        try await TestInstall.with(lines: 1) { install in
            try install.simulator.control("POST", "/__sim/answers/hold")
            let first = try install.startWorker()
            try await install.publish(try TestInstall.jobs(10, lines: ["line-01"]))
            try await install.wait(for: "calls in the air") {
                try await install.number("select count(*) from trunkline.jobs where state = 'sending'") > 0
            }
            first.send(15)
            first.send(15)
            try await install.wait(for: "the end", within: .seconds(10)) {
                if first.isRunning { first.send(15) }
                return !first.isRunning
            }
            try install.simulator.control("POST", "/__sim/answers/release")
            _ = try install.startWorker()
            try await install.waitUntilSent(10, within: .seconds(120))
            try await install.requireProof(sent: 10)
        }
    }
}

/// Frozen workers: SIGSTOP at each step for 5, 20 and 60 s while another worker takes over; then they wake up.
@Suite struct FreezeTests {
    static let cases = CrashTests.steps.flatMap { step in [5, 20, 60].map { (step, $0) } }

    @Test(arguments: cases)
    func aFrozenWorkerThatWakesUpDoesNoHarm(step: String, seconds: Int) async throws {
        try await TestInstall.with { install in
            let victim = try install.startWorker(["TRUNKLINE_FREEZE_AT": "\(step):20"])
            try await install.publish(try TestInstall.jobs(120))
            try await install.wait(for: "the freeze at \(step)") { victim.isFrozen }
            _ = try install.startWorker()
            // The length of the freeze is what is tested, not a wait for something.
            try await Task.sleep(for: .seconds(seconds))
            victim.thaw()
            try await install.waitUntilSent(120, within: .seconds(180))
            try await install.requireProof(sent: 120)
        }
    }

    /// The mechanism: lease, renewal and gate are compared once more right before the bytes leave. Without that a woken worker sends what another
    /// has sent meanwhile; the simulator's key memory is off, so that nothing hides it.
    @Test(arguments: [true, false])
    func theLastLookStopsALateCall(isOn: Bool) async throws {
        try await TestInstall.with(lines: 1) { install in
            try install.simulator.control("PUT", "/__sim/settings", #"{"keyMemory":"off"}"#)
            var environment = ["TRUNKLINE_FREEZE_AT": "claimed:1"]
            if !isOn { environment["TRUNKLINE_TURN_OFF"] = "last_look" }
            let victim = try install.startWorker(environment)
            try await install.publish([try TestInstall.job("late")])
            try await install.wait(for: "the freeze") { victim.isFrozen }
            _ = try install.startWorker()
            try await install.waitUntilSent(1, within: .seconds(120))
            victim.thaw()
            if isOn {
                try await install.wait(for: "the woken worker's word") {
                    let others = try await install.number(
                        "select count(*) from trunkline.attempts where number = 1 and outcome <> 'sent'"
                    )
                    return others == 1 && victim.logText.contains("outcome came late")
                }
                try await install.requireProof(sent: 1)
            } else {
                try await install.wait(for: "the message that went out twice") {
                    install.simulator.report().sentTwice == 1
                }
            }
        }
    }

    /// The mechanism: another worker's attempt is left alone until its lease has run out and 10 s more.
    @Test(arguments: [true, false])
    func aLivingWorkersCallIsNotRepeatedByTheNextOwner(isOn: Bool) async throws {
        try await TestInstall.with(shards: 2, lines: 4) { install in
            try install.simulator.control("PUT", "/__sim/settings", #"{"keyMemory":"off"}"#)
            try install.simulator.control("POST", "/__sim/answers/hold")
            let first = try install.startWorker()
            let lines = (1...4).map { "line-0\($0)" }
            try await install.publish(try TestInstall.jobs(8, lines: lines, persons: 8))
            try await install.wait(for: "calls in the air") {
                try await install.number("select count(*) from trunkline.jobs where state = 'sending'") == 8
            }
            // It stops and gives its shards away while its calls are in the air.
            let second = try install.startWorker(isOn ? [:] : ["TRUNKLINE_TURN_OFF": "foreign_lease"])
            first.send(15)
            try await install.wait(for: "the second worker to own every shard") {
                let free = try await install.number("select count(*) from trunkline.shards where owner is null")
                let owners = try await install.number("select count(distinct owner) from trunkline.shards")
                return free == 0 && owners == 1
            }
            if isOn {
                try install.simulator.control("POST", "/__sim/answers/release")
                try await install.waitUntilSent(8)
                try await install.requireProof(sent: 8)
            } else {
                try await install.wait(for: "calls asked twice") { install.simulator.report().total.requests > 8 }
                try install.simulator.control("POST", "/__sim/answers/release")
                try await install.wait(for: "messages that went out twice") {
                    install.simulator.report().sentTwice > 0
                }
            }
            withExtendedLifetime(second) {}
        }
    }
}
