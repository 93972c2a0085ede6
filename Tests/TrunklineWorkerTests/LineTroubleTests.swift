import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// Sick lines, a silent provider, and what must not suffer from them.
@Suite struct LineTroubleTests {
    /// Half of the lines are held by their own answers: the other half goes on, no breaker opens, no attempt is used; and
    /// when they are well again they ramp and send everything in order.
    @Test func heldLinesWaitAndTheOthersGoOn() async throws {
        try await TestInstall.with(lines: 6) { install in
            for (line, state) in [
                ("line-01", "qr_required"), ("line-02", "unknown_word"), ("line-03", "contradiction"),
            ] {
                try install.simulator.control("PUT", "/__sim/lines/\(line)/state", #"{"state":"\#(state)"}"#)
            }
            _ = try install.startWorker()
            try await install.publish(try TestInstall.jobs(120, lines: (1...6).map { "line-0\($0)" }, persons: 24))
            try await install.wait(for: "the jobs of the other lines") {
                try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 60
            }
            #expect(
                try await install.number("select count(*) from trunkline.jobs where state = 'waiting' and attempt = 0")
                    == 60
            )
            #expect(try await install.number("select count(*) from trunkline.breakers") == 0)
            #expect(install.simulator.report().total.acceptedWhileNotSendable == 0)
            for line in ["line-01", "line-02", "line-03"] {
                try install.simulator.control("PUT", "/__sim/lines/\(line)/state", #"{"state":"sendable"}"#)
            }
            // The next probe is up to 36 s away: it was asked twice at most.
            try await install.wait(for: "a ramp") {
                try await install.number("select count(*) from trunkline.lane_state where gate = 'ramping'") > 0
            }
            try await install.waitUntilSent(120, within: .seconds(150))
            try await install.requireProof(sent: 120)
        }
    }

    /// A hold that lasts is said once, whoever owns the line meanwhile, and again only after it was open.
    @Test func aLineThatIsHeldForLongIsSaidOnce() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            func set(_ state: String) throws {
                try install.simulator.control("PUT", "/__sim/lines/line-01/state", #"{"state":"\#(state)"}"#)
            }
            func held() async throws {
                try await install.wait(for: "the hold") {
                    try await install.number("select count(*) from trunkline.lane_state where gate = 'held_human'") == 1
                }
            }
            func replace(_ worker: TestInstall.WorkerHandle) async throws -> TestInstall.WorkerHandle {
                worker.kill()
                let next = try install.startWorker()
                try await install.wait(for: "the next owner") {
                    try await install.number(
                        "select count(*) from trunkline.shards s join trunkline.workers w on w.boot = s.owner where w.pid = \(next.pid)"
                    ) == 1
                }
                return next
            }
            func told(_ worker: TestInstall.WorkerHandle) -> Int {
                worker.logText.split(separator: "\n").count { $0.contains("line held for long") }
            }
            /// As if the hold had begun before.
            func age() async throws {
                try await install.database.query(
                    "update trunkline.lane_state set gate_since = now() - interval '16 minutes'"
                )
            }
            try set("qr_required")
            let first = try install.startWorker()
            try await install.publish([try TestInstall.job("waits")])
            try await held()
            try await age()
            let second = try await replace(first)
            try await install.wait(for: "the word") { told(second) == 1 }
            let line = second.logText.split(separator: "\n").first { $0.contains("line held for long") } ?? ""
            #expect(
                line.contains("line=line-01") && line.contains("line_needs_person") && line.contains("waiting=1"),
                "\(line)"
            )
            try await install.wait(for: "the note") {
                try await install.number("select count(*) from trunkline.lane_state where hold_told") == 1
            }
            let third = try await replace(second)
            // Two looks of ten seconds: what was said is not said again.
            try await Task.sleep(for: .seconds(22))
            #expect(told(second) == 1 && told(third) == 0)

            try set("sendable")
            try await install.waitUntilSent(1, within: .seconds(120))
            try await install.wait(for: "the end of the hold in the row") {
                try await install.number("select count(*) from trunkline.lane_state where not hold_told") == 1
            }
            try set("qr_required")
            // An OPEN answer counts for 30 s: only then is the line asked again.
            try await Task.sleep(for: .seconds(31))
            try await install.publish([try TestInstall.job("waits-too")])
            try await held()
            try await age()
            let fourth = try await replace(third)
            try await install.wait(for: "the word, once more") { told(fourth) == 1 }
        }
    }

    /// A next owner does not ask a held line again before its time: the probe and its back-off are kept.
    @Test func aNextOwnerGoesOnWithTheProbesOfTheLast() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            try install.simulator.control("PUT", "/__sim/lines/line-01/state", #"{"state":"qr_required"}"#)
            let first = try install.startWorker()
            try await install.publish([try TestInstall.job("waits")])
            try await install.wait(for: "the hold") {
                try await install.number(
                    "select count(*) from trunkline.lane_state where gate = 'held_human' and probes = 1"
                ) == 1
            }
            first.kill()
            let second = try install.startWorker()
            try await install.wait(for: "the second owner") {
                try await install.number(
                    "select count(*) from trunkline.shards s join trunkline.workers w on w.boot = s.owner where w.pid = \(second.pid)"
                ) == 1
            }
            try await install.wait(for: "the second question", within: .seconds(60)) {
                try await install.number("select count(*) from trunkline.lane_state where probes = 2") == 1
            }
            // One question of each owner, and none between.
            #expect(install.simulator.report().total.healthWakeupFalse == 2)
            #expect(install.simulator.report().total.messages == 0)
        }
    }

    /// No line gets an answer: one breaker for all of them, one alarm, one probe at a time; then everything is sent.
    @Test func aSilentProviderOpensOneBreakerForTheFleet() async throws {
        try await TestInstall.with(shards: 8, lines: 12) { install in
            let lines = (1...12).map { String(format: "line-%02d", $0) }
            let workers = [try install.startWorker(), try install.startWorker()]
            try await install.publish(try TestInstall.jobs(24, prefix: "warm", lines: lines, persons: 24))
            try await install.waitUntilSent(24)
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"dropBefore","on":"any"}"#)
            try await install.publish(try TestInstall.jobs(240, lines: lines, persons: 240))
            try await install.wait(for: "the breaker") {
                try await install.number("select count(*) from trunkline.breakers where opened_at is not null") == 1
            }
            try await install.wait(for: "both workers to know") {
                workers.allSatisfy { $0.logText.contains("breaker open") }
            }
            try await install.wait(for: "a probe") {
                try await install.number("select probes from trunkline.breakers") > 0
            }
            // While it is open only probes are made: as many as the row counts.
            let requests = {
                let report = install.simulator.report(); return report.total.requests + report.healthNoAnswers
            }
            try await install.wait(for: "calls in the air to end") {
                try await install.number("select count(*) from trunkline.jobs where state = 'sending'") == 0
            }
            // A probe is counted before it is made: what is compared contains every probe that it counts.
            let probes = try await install.number("select probes from trunkline.breakers")
            let before = (requests(), probes)
            try await install.wait(for: "another probe", within: .seconds(90)) {
                try await install.number("select probes from trunkline.breakers") > before.1
            }
            let after = (requests(), try await install.number("select probes from trunkline.breakers"))
            #expect(after.0 - before.0 <= Int(after.1 - before.1))
            try install.simulator.control("DELETE", "/__sim/faults")
            try await install.waitUntilSent(264, within: .seconds(240))
            try await install.requireProof(sent: 264)
            let alarms = workers.reduce(0) {
                $0 + $1.logText.components(separatedBy: "many lines fail at once").count - 1
            }
            #expect(alarms == 1)
        }
    }

    /// A pause that the API asked for is kept until it is written, whatever the database has against it at that moment: the
    /// next owner keeps it too.
    @Test func aPauseReachesTheNextOwnerAlsoWhenItCannotBeWrittenAtOnce() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            try install.simulator.control(
                "POST",
                "/__sim/faults",
                #"{"kind":"status","status":429,"retryAfter":120,"count":1}"#
            )
            let first = try install.startWorker()
            let blocker = try await PostgresSession.open(url: install.databaseURL, applicationName: "blocker")
            try await blocker.script("begin; select from trunkline.lane_state for update")
            try await install.publish([try TestInstall.job("waits")])
            // Outcomes are written behind pauses: the lock has cost the pause its time when this one is there.
            try await install.wait(for: "the outcome") {
                try await install.number("select count(*) from trunkline.jobs where state = 'waiting' and attempt = 1")
                    == 1
            }
            #expect(
                try await install.number("select count(*) from trunkline.lane_state where paused_until > now()") == 0
            )
            try await blocker.script("commit")
            await blocker.close()
            try await install.wait(for: "the pause") {
                try await install.number(
                    "select count(*) from trunkline.lane_state where paused_until > now() + interval '60 seconds'"
                ) == 1
            }
            first.kill()
            _ = try install.startWorker()
            try await install.wait(for: "the next owner to be ready") {
                try await install.number(
                    "select count(*) from trunkline.shards s join trunkline.workers w on w.boot = s.owner where w.pid <> \(first.pid)"
                ) == 1
            }
            #expect(install.simulator.report().total.messages == 0)
        }
    }

    /// A line that is added to a shard with work: the others keep their gates, and need no new answer to send.
    @Test func aNewLineIsNotNoticedByTheOthersOfItsShard() async throws {
        try await TestInstall.with(shards: 1, lines: 2) { install in
            _ = try install.startWorker()
            let began = ContinuousClock.now
            try await install.publish(try TestInstall.jobs(2, persons: 2))
            try await install.waitUntilSent(2)
            try install.simulator.control("POST", "/__sim/lines", #"{"count":3}"#)
            // Its job is taken before the worker has seen the line.
            try await install.addLines(["line-03"])
            try await install.publish([try TestInstall.job("new", line: "line-03")])
            try await install.waitUntilSent(3)
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"hang","on":"health"}"#)
            try await install.publish(try TestInstall.jobs(4, prefix: "more", persons: 4))
            try await install.wait(for: "the others' jobs", within: .seconds(20)) {
                // What was answered at the beginning counts for 30 s.
                try #require(ContinuousClock.now - began < .seconds(30), "not sent without a new answer")
                return try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 7
            }
        }
    }

    /// The cap counts what was sent, over owners; what is over it waits for the line's next day.
    @Test func theDailyCapIsKeptAcrossOwners() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            try await install.trunkline([
                "line", "set", "line-01", "--daily-cap", "5", "--time-zone", "Pacific/Auckland",
            ])
            .requireSuccess()
            let first = try install.startWorker()
            try await install.publish(try TestInstall.jobs(3, lines: ["line-01"], persons: 3))
            try await install.waitUntilSent(3)
            first.send(15)
            try await install.wait(for: "the end of the first worker") { !first.isRunning }
            _ = try install.startWorker()
            try await install.publish(try TestInstall.jobs(9, prefix: "more", lines: ["line-01"], persons: 9))
            try await install.wait(for: "the cap") {
                try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 5
            }
            #expect(
                try await install.number("select count(*) from trunkline.jobs where state = 'waiting' and tries = 0")
                    == 7
            )
            // A higher cap works at once.
            try await install.trunkline(["line", "set", "line-01", "--daily-cap", "none"]).requireSuccess()
            try await install.waitUntilSent(12)
            try await install.requireProof(sent: 12)
        }
    }

    /// What may have been sent is counted already: its next try does not wait for the line's next day.
    @Test func theCapDoesNotHoldUpWhatMayHaveBeenSent() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            try await install.trunkline(["line", "set", "line-01", "--daily-cap", "1"]).requireSuccess()
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"status","status":503,"count":1}"#)
            _ = try install.startWorker()
            try await install.publish(try TestInstall.jobs(2, lines: ["line-01"], persons: 2))
            try await install.wait(for: "the repeated call's message") {
                install.simulator.report().total.messages == 1
            }
            try await install.wait(for: "its end, and one job that waits for another day") {
                let sent = try await install.number("select count(*) from trunkline.finished where state = 'sent'")
                let waiting = try await install.number("select count(*) from trunkline.jobs where state = 'waiting'")
                return sent == 1 && waiting == 1
            }
        }
    }

    /// A breaker is probed only when a call may begin: here the worker's only one hangs.
    @Test func aProbeWaitsForAFreeSlot() async throws {
        try await TestInstall.with(shards: 1, lines: 2) { install in
            let worker = try install.startWorker(arguments: ["--maximum-calls", "1"])
            try await install.publish(try TestInstall.jobs(2, prefix: "warm", persons: 2))
            try await install.waitUntilSent(2)
            try install.simulator.control("POST", "/__sim/answers/hold")
            try await install.publish(try TestInstall.jobs(6, persons: 6))
            try await install.wait(for: "the call that hangs") {
                try await install.number("select count(*) from trunkline.jobs where state = 'sending'") == 1
            }
            try await install.database.script(
                """
                insert into trunkline.breakers (origin, opened_at, reason, next_probe_at)
                values ('\(install.simulator.baseURL)', now(), 'test', now())
                """
            )
            try await install.wait(for: "the worker to know") { worker.logText.contains("breaker open") }
            try install.simulator.control("POST", "/__sim/answers/release")
            try await install.waitUntilSent(8)
            #expect(worker.isRunning)
            try await install.requireProof(sent: 8)
        }
    }

    /// The pace is the line's, whoever owns it: no two sends are closer than the interval although the owner changed.
    @Test func aChangedPaceWorksAtOnce() async throws {
        try await TestInstall.with(shards: 1, lines: 1, pace: "1/1h") { install in
            _ = try install.startWorker()
            try await install.publish(try TestInstall.jobs(4, lines: ["line-01"], persons: 4))
            try await install.wait(for: "the first message") { install.simulator.report().total.messages == 1 }
            #expect(try await install.number("select count(*) from trunkline.jobs where state = 'waiting'") == 3)
            try await install.trunkline(["line", "set", "line-01", "--pace", "unlimited"]).requireSuccess()
            try await install.waitUntilSent(4)
            try await install.requireProof(sent: 4)
        }
    }

    /// 429 with a date: the line waits for it, the other line does not.
    @Test(arguments: ["seconds", "date"])
    func retryAfterPausesTheLine(form: String) async throws {
        try await TestInstall.with(shards: 2, lines: 2) { install in
            try install.simulator.control(
                "POST",
                "/__sim/faults",
                #"{"kind":"status","status":429,"retryAfter":600,"retryAfterForm":"\#(form)","line":"line-01","count":1}"#
            )
            _ = try install.startWorker()
            try await install.publish(try TestInstall.jobs(20, persons: 20))
            try await install.wait(for: "the other line's jobs") { install.simulator.report().total.messages >= 10 }
            try await install.wait(for: "the pause") {
                try await install.number(
                    "select count(*) from trunkline.lane_state where paused_until > now() + interval '9 minutes'"
                ) == 1
            }
            #expect(
                try await install.number("select count(*) from trunkline.jobs where state = 'waiting' and tries > 0")
                    == 0
            )
            #expect(install.simulator.report().statuses[429] == 1)
        }
    }
}
