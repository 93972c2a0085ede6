import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// Stale facts, schedules, and retries through queues.
@Suite struct OrderTests {
    private func fact(_ key: String, at hour: Int, line: String = "line-01") throws -> SendJob {
        try SendJob(
            line: LineID(line),
            key: IdempotencyKey(key),
            to: PhoneNumber("+972501234567"),
            body: "Notice for \(key).",
            purpose: .order,
            supersedeKey: "order:1",
            factAt: Timestamp(rfc3339: String(format: "2026-11-01T%02d:00:00Z", hour))
        )
    }

    /// A newer fact replaces an older unsent notice, also on another line, also when the older one comes later.
    @Test func anOlderFactNeverFollowsANewerOne() async throws {
        try await TestInstall.with { install in
            try await install.trunkline(["line", "hold", "line-01", "--reason", "test"]).requireSuccess()
            _ = try install.startWorker()
            try await install.publish([try fact("received", at: 8)])
            try await install.wait(for: "the older notice") {
                try await install.number("select count(*) from trunkline.jobs where key = 'received'") == 1
            }
            try await install.publish([try fact("shipped", at: 10, line: "line-02")])
            try await install.wait(for: "the newer one") { install.simulator.report().total.messages == 1 }
            #expect(
                try await install.text("select state || ':' || reason from trunkline.finished where key = 'received'")
                    == "superseded:newer_fact"
            )
            try await install.trunkline(["line", "resume", "line-01"]).requireSuccess()
            try await install.publish([try fact("packed", at: 9)])
            try await install.wait(for: "the late one's end") {
                try await install.number(
                    "select count(*) from trunkline.finished where key = 'packed' and state = 'superseded'"
                ) == 1
            }
            try await install.requireProof(sent: 1)
        }
    }

    /// A scheduled notice gets its place when its time has come, also on a held line: what comes later stays behind it.
    @Test func aScheduledNoticeKeepsItsPlaceOnAHeldLine() async throws {
        try await TestInstall.with(lines: 1, journal: true) { install in
            _ = try install.startWorker()
            try await install.publish([try TestInstall.job("warm", to: "+972501111111")])
            try await install.waitUntilSent(1)
            try await install.trunkline(["line", "hold", "line-01", "--reason", "test"]).requireSuccess()
            let scheduled = try SendJob(
                line: LineID("line-01"),
                key: IdempotencyKey("scheduled"),
                to: PhoneNumber("+972501234567"),
                body: "Notice for scheduled.",
                purpose: .order,
                notBefore: Timestamp(microseconds: Moment.wall + 3_000_000)
            )
            try await install.publish([scheduled])
            try await install.wait(for: "its place, with the line held") {
                try await install.number("select count(*) from trunkline.jobs where key = 'scheduled' and place > 0")
                    == 1
            }
            try await install.publish([try TestInstall.job("later")])
            try await install.wait(for: "the later one") {
                try await install.number("select count(*) from trunkline.jobs where key = 'later'") == 1
            }
            try await install.trunkline(["line", "resume", "line-01"]).requireSuccess()
            try await install.waitUntilSent(3)
            try await install.requireProof(sent: 3)
            #expect(
                try await install.text("select string_agg(key, ' ' order by claimed_at) from trunkline.finished")
                    == "warm scheduled later"
            )
        }
    }

    /// Each of the two alarm clocks of a retry is enough: the owner's timers, and the tiers in the broker.
    @Test(arguments: ["retry_tiers", "owner_timer"])
    func retriesPassWithEitherAlarmClockOff(mechanism: String) async throws {
        try await TestInstall.with(shards: 2) { install in
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"status","status":503,"count":30}"#)
            _ = try install.startWorker(["TRUNKLINE_TURN_OFF": mechanism])
            try await install.publish(try TestInstall.jobs(40, persons: 40))
            try await install.waitUntilSent(40, within: .seconds(180))
            try await install.requireProof(sent: 40)
            #expect(try await install.number("select count(*) from trunkline.attempts where outcome = 'unknown'") == 30)
        }
    }

    /// With both of them off nothing wakes a retry: the test above can fail.
    @Test func withoutAnyAlarmClockARetryWaitsForEver() async throws {
        try await TestInstall.with(shards: 2) { install in
            try install.simulator.control(
                "POST",
                "/__sim/faults",
                #"{"kind":"status","status":503,"line":"line-01","count":1}"#
            )
            _ = try install.startWorker(["TRUNKLINE_TURN_OFF": "retry_tiers,owner_timer"])
            try await install.publish([try TestInstall.job("waits")])
            try await install.wait(for: "the first answer") {
                try await install.number("select count(*) from trunkline.jobs where state = 'unknown'") == 1
            }
            // Longer than the tier would have taken: a job of another line was retried meanwhile by hand.
            try await install.wait(for: "it to be overdue") {
                try await install.number(
                    "select count(*) from trunkline.jobs where state = 'unknown' and due_at < now() - interval '8 seconds'"
                ) == 1
            }
            #expect(install.simulator.report().total.messages == 0)
        }
    }

    /// Used-up tries end parked, with the last answer as evidence.
    @Test func theRowsOfADefiniteRefusalSayWhy() async throws {
        try await TestInstall.with(lines: 1) { install in
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"status","status":422,"count":1}"#)
            _ = try install.startWorker()
            try await install.publish([try TestInstall.job("refused"), try TestInstall.job("next")])
            try await install.wait(for: "the next one") { install.simulator.report().total.messages == 1 }
            #expect(
                try await install.text("select state || ':' || reason from trunkline.jobs where key = 'refused'")
                    == "parked:message_refused"
            )
            #expect(try await install.number("select count(*) from trunkline.jobs where evidence is not null") == 1)
        }
    }
}

/// A job or a message that kills its worker.
@Suite struct PoisonTests {
    /// Starts a worker, and again whenever it has died, until it is cancelled.
    private func supervise(_ install: TestInstall, _ environment: [String: String]) -> Task<Void, any Error> {
        Task {
            var worker = try install.startWorker(environment)
            while !Task.isCancelled {
                if !worker.isRunning { worker = try install.startWorker(environment) }
                try await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    /// Three workers die while it is the only suspect: it is parked, and the jobs beside it are sent.
    @Test func aJobThatKillsItsWorkersIsParked() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            try await install.publish(
                try [TestInstall.job("deadly", to: "+972501111111")]
                    + TestInstall.jobs(20, lines: ["line-01"], persons: 20)
            )
            let supervisor = supervise(install, ["TRUNKLINE_POISON": "job:deadly"])
            defer { supervisor.cancel() }
            try await install.wait(for: "the guilty job to be parked", within: .seconds(400)) {
                try await install.number(
                    "select count(*) from trunkline.jobs where state = 'parked' and reason = 'poison'"
                ) == 1
            }
            try await install.wait(for: "the others", within: .seconds(120)) {
                try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 20
            }
            #expect(try await install.number("select count(*) from trunkline.jobs") == 1)
            #expect(install.simulator.report().sentTwice == 0)
        }
    }

    /// Three workers die while they read it: it is a refusal with its bytes, and its neighbours are sent.
    @Test func aMessageThatKillsItsReadersIsPutAside() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            let jobs = try TestInstall.jobs(20, lines: ["line-01"], persons: 20)
            try await install.publish(Array(jobs[..<10]))
            try await install.publish([try TestInstall.job("deadly", to: "+972501111111")])
            try await install.publish(Array(jobs[10...]))
            let supervisor = supervise(install, ["TRUNKLINE_POISON": "message:deadly"])
            defer { supervisor.cancel() }
            try await install.wait(for: "the refusal", within: .seconds(240)) {
                try await install.number(
                    "select count(*) from trunkline.refusals where kind = 'poison' and length(raw) > 50"
                ) == 1
            }
            try await install.waitUntilSent(20, within: .seconds(120))
            try await install.requireProof(sent: 20)
            #expect(try await install.number("select count(*) from trunkline.suspects") == 0)
        }
    }
}
