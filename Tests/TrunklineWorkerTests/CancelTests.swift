import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// What people do to notices while workers run: cancel, move in time, hold.
@Suite struct CancelTests {
    private func schedule(_ install: TestInstall, _ key: String, after seconds: Int, to: String) async throws {
        let time = try await install.text(
            "select to_char((now() + interval '\(seconds) seconds') at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
        )
        let line = """
            {"schema":"trunkline.send.v1","line":"line-01","key":"\(key)","to":"\(to)","body":"Hello.","purpose":"order",\
            "notBefore":"\(time ?? "")"}
            """
        try await install.trunkline(["enqueue", "-"], input: line).requireSuccess()
    }

    /// Scheduled and waiting notices are cancelled and never begin; the one whose answer is outstanding is too late.
    @Test func whatHasNotBegunIsCancelled() async throws {
        try await TestInstall.with(lines: 2) { install in
            try install.simulator.control("POST", "/__sim/answers/hold", #"{"line":"line-01"}"#)
            _ = try install.startWorker()
            // Of one person: the first is in the air, the others wait behind it.
            for number in 1...3 { try await install.publish([try TestInstall.job("order:1:\(number)")]) }
            try await schedule(install, "order:1:later", after: 86_400, to: "+972501234568")
            try await install.publish([try TestInstall.job("order:2:1", line: "line-02")])
            try await install.wait(for: "a call in the air, and the others seen") {
                try await install.text(
                    """
                    select count(*) filter (where state = 'sending') || ' ' || count(*) filter (where state = 'waiting') || ' '
                        || (select count(*) from trunkline.finished) from trunkline.jobs
                    """
                ) == "1 3 1"
            }
            let run = try await install.trunkline(["cancel", "order:1:*", "--json"])
            #expect(run.status == 3, "\(run.errors)")
            let root = try #require(try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
            let jobs = try #require(root["jobs"] as? [[String: Any]])
            let words = jobs.map { "\($0["key"] ?? ""): \($0["verdict"] ?? "")" }.sorted()
            #expect(
                words == [
                    "order:1:1: too_late", "order:1:2: cancelled", "order:1:3: cancelled", "order:1:later: cancelled",
                ]
            )
            let summary = try #require(root["summary"] as? [String: Any])
            #expect(summary["cancelled"] as? Int == 3 && summary["inTheAir"] as? Int == 1)
            #expect(summary["waitingInBroker"] as? Int == 0)
            let why = try await install.trunkline(["why", "order:1:1"]).requireSuccess()
            #expect(why.output.contains("it was cancelled, too late for this attempt"))
            try install.simulator.control("POST", "/__sim/answers/release")
            // The person goes on: nothing that was cancelled stands in its way.
            try await install.publish([try TestInstall.job("order:3:1")])
            try await install.wait(for: "the rest") {
                try await install.text(
                    """
                    select count(*) || ' ' || (select count(*) from trunkline.jobs) from trunkline.finished where state = 'sent'
                    """
                ) == "3 0"
            }
            #expect(install.simulator.report().total.messages == 3)
            #expect(try await install.trunkline(["cancel", "order:1:1"]).status == 3)
            #expect(try await install.trunkline(["cancel", "order:1:2"]).status == 0)
            try await install.trunkline(["check"]).requireSuccess()
        }
    }

    /// A scheduled notice is moved away from its old time and back, while its owner has it in memory.
    @Test func aScheduledNoticeIsMoved() async throws {
        try await TestInstall.with(lines: 1) { install in
            _ = try install.startWorker()
            try await schedule(install, "moved", after: 20, to: "+972501234567")
            try await schedule(install, "stays", after: 21, to: "+972501234568")
            try await install.wait(for: "both seen") {
                try await install.number("select count(*) from trunkline.jobs where state = 'waiting' and place = -1")
                    == 2
            }
            let far = "2099-12-01T18:00:00Z"
            let moved = try await install.trunkline(["reschedule", "moved", "--not-before", far]).requireSuccess()
            #expect(moved.output.contains("is scheduled for " + far))
            try await install.wait(for: "the other") {
                try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 1
            }
            #expect(try await install.text("select key from trunkline.finished") == "stays")
            try await install.wait(for: "it is seen anew") {
                try await install.number(
                    "select count(*) from trunkline.jobs where state = 'waiting' and place = -1 and attempt = 0"
                )
                    == 1
            }
            try await install.trunkline(["reschedule", "moved", "--not-before", "now"]).requireSuccess()
            try await install.waitUntilSent(2)
            try await install.requireProof(sent: 2)
            let late = try await install.trunkline(["reschedule", "moved", "--not-before", "now"])
            #expect(late.status == 3 && late.errors.contains("too late: "))
        }
    }

    /// What stands behind a notice that waits for its next try goes on when that one is cancelled.
    @Test func aCancelledRetryHoldsNobodyUp() async throws {
        try await TestInstall.with(lines: 1) { install in
            for key in ["first", "second"] {
                try await install.trunkline(
                    [
                        "send", "--line", "line-01", "--to", "+972501234567", "--key", key, "--purpose", "order",
                        "--body",
                        "Hello.",
                    ]
                ).requireSuccess()
            }
            // As a refused attempt leaves it, with a wait that no test could sit out.
            try await install.database.script(
                """
                update trunkline.jobs set state = 'waiting', place = id, attempt = 1, tries = 1, claimed_at = now(),
                    reason = 'line_locked', due_at = now() + interval '1 hour' where key = 'first';
                insert into trunkline.attempts (job, number, started_at, started_on, outcome, reason)
                select id, 1, now(), (now() at time zone 'UTC')::date, 'retry', 'line_locked' from trunkline.jobs where key = 'first';
                """
            )
            _ = try install.startWorker()
            try await install.wait(for: "the second to be seen") {
                try await install.number("select count(*) from trunkline.jobs where state = 'waiting'") == 2
            }
            let why = try await install.trunkline(["why", "second"]).requireSuccess()
            #expect(why.output.contains("of the same person, which is waiting"))
            try await install.trunkline(["cancel", "first"]).requireSuccess()
            try await install.wait(for: "the second") {
                try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 1
            }
            try await install.trunkline(["check"]).requireSuccess()
        }
    }

    /// A paced line is held in the middle of its work: from the answer of `hold` on no attempt begins.
    @Test func aHoldWorksAtOnce() async throws {
        try await TestInstall.with(lines: 1, pace: "20/1s") { install in
            _ = try install.startWorker()
            _ = try install.startWorker()
            try await install.publish(try TestInstall.jobs(150, lines: ["line-01"], persons: 150))
            try await install.wait(for: "some sends") {
                try await install.number("select count(*) from trunkline.finished where state = 'sent'") > 10
            }
            try await install.trunkline(["line", "hold", "line-01", "--reason", "the shop asked", "--until", "2h"])
                .requireSuccess()
            let answered = try await install.text("select now()::text") ?? ""
            // The claims join the hold: what began, began before it.
            try await install.wait(for: "the calls in the air") {
                try await install.number("select count(*) from trunkline.jobs where state = 'sending'") == 0
            }
            let sent = install.simulator.report().total.messages
            let status = try await install.trunkline(["status"]).requireSuccess()
            #expect(status.output.contains("held: the shop asked"))
            #expect(
                try await install.number(
                    """
                    select (select count(*) from trunkline.finished where claimed_at > '\(answered)')
                        + (select count(*) from trunkline.jobs where claimed_at > '\(answered)')
                    """
                ) == 0
            )
            #expect(install.simulator.report().total.messages == sent)
            try await install.trunkline(["line", "resume", "line-01"]).requireSuccess()
            try await install.waitUntilSent(150)
            try await install.requireProof(sent: 150)
        }
    }
}
