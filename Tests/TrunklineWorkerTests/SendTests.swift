import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// The main job with everything healthy: real broker, database, HTTP and worker processes.
@Suite struct SendTests {
    @Test func everyWayInMakesOneMessagePerKey() async throws {
        try await TestInstall.with { install in
            _ = try install.startWorker()
            let jobs = try TestInstall.jobs(300)
            // Straight to the shards, through the intake queue, as an import, and row first: always the same keys.
            try await install.publish(jobs)
            try await install.publish(jobs, routingKey: "send")
            try await install.publish(jobs, routingKey: "bulk")
            let file = jobs.map { String(decoding: $0.encode(), as: UTF8.self) }.joined(separator: "\n")
            try await install.trunkline(["enqueue", "-"], input: file).requireSuccess()
            try await install.waitUntilSent(300)
            try await install.requireProof(sent: 300)
            #expect(try await install.number("select count(*) from trunkline.refusals") == 0)
            #expect(try await install.number("select count(*) from trunkline.finished where remote_id is null") == 0)
        }
    }

    @Test func aFileThatIsEnqueuedAloneIsSent() async throws {
        try await TestInstall.with { install in
            _ = try install.startWorker()
            let jobs = try TestInstall.jobs(50)
            let file = jobs.map { String(decoding: $0.encode(), as: UTF8.self) }.joined(separator: "\n")
            try await install.trunkline(["enqueue", "-"], input: file).requireSuccess()
            try await install.waitUntilSent(50)
            try await install.requireProof(sent: 50)
        }
    }

    @Test func aJobOfSomebodysTransactionIsSent() async throws {
        try await TestInstall.with(lines: 1) { install in
            _ = try install.startWorker()
            try await install.database.script(
                """
                begin;
                create table public.orders as select 1042 as id;
                select trunkline.enqueue(line => 'line-01', key => 'order:a.1042:ready', "to" => '+972501234567',
                    body => 'Your order is "ready" 🎉', purpose => 'pickup', button_text => 'See', button_url => 'https://shop.example');
                commit;
                """
            )
            try await install.waitUntilSent(1)
            try await install.requireProof(sent: 1)
        }
    }

    @Test func twoWorkersShareTheShardsAndRaceForTheSameKeys() async throws {
        try await TestInstall.with(shards: 8, lines: 6) { install in
            _ = try install.startWorker()
            _ = try install.startWorker()
            let lines = (1...6).map { "line-0\($0)" }
            let jobs = try TestInstall.jobs(600, lines: lines)
            async let first: Void = install.publish(jobs)
            async let second: Void = install.publish(jobs, routingKey: "send")
            async let third: Void = install.publish(jobs.reversed())
            _ = try await (first, second, third)
            try await install.waitUntilSent(600)
            try await install.requireProof(sent: 600)
            try await install.wait(for: "both own shards") {
                try await install.number("select count(distinct owner) from trunkline.shards where owner is not null")
                    == 2
            }
        }
    }

    @Test func withoutTheLedgersConstraintTheSameRaceSendsTwice() async throws {
        try await TestInstall.with(lines: 1) { install in
            try install.simulator.control("PUT", "/__sim/settings", #"{"keyMemory":"off"}"#)
            // The mechanism turned off: nothing refuses a second row of a key any more.
            try await install.database.script("alter table trunkline.ledger drop constraint ledger_scope_key")
            _ = try install.startWorker()
            let job = try TestInstall.job("twice")
            try await install.publish([job])
            try await install.wait(for: "the first message") { install.simulator.report().total.messages == 1 }
            try await install.publish([job])
            try await install.wait(for: "the second message") { install.simulator.report().sentTwice == 1 }
        }
    }

    @Test func jobsOfOnePersonArriveInTheOrderOfTheirPublishing() async throws {
        try await TestInstall.with(lines: 1, journal: true) { install in
            _ = try install.startWorker()
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"latency","minMs":0,"maxMs":40}"#)
            let jobs = try TestInstall.jobs(200, lines: ["line-01"], persons: 4)
            try await install.publish(jobs)
            try await install.waitUntilSent(200)
            try await install.requireProof(sent: 200)
            let journal = try String(
                contentsOf: install.folder.appendingPathComponent("journal.ndjson"),
                encoding: .utf8
            )
            var last: [Int: Int] = [:]
            var seen = 0
            for line in journal.split(separator: "\n") where line.contains("\"effect\"") {
                guard let range = line.range(of: "job."),
                    let number = Int(line[range.upperBound...].prefix { $0.isNumber })
                else { continue }
                #expect(last[number % 4, default: 0] < number)
                last[number % 4] = number
                seen += 1
            }
            #expect(seen == 200)
        }
    }

    @Test func aPublisherThatIsNotOursIsServed() async throws {
        try await TestInstall.with { install in
            _ = try install.startWorker()
            let job = String(decoding: try TestInstall.job("debian.1").encode(), as: UTF8.self)
            // Debian's amqp-tools. `-p` is persistent, `-C` the content type.
            try await Command.run(
                "/usr/bin/amqp-publish",
                ["-u", install.amqpURL, "-e", "trunkline.jobs", "-r", "send", "-p", "-C", "application/json"],
                input: job
            ).requireSuccess()
            try await install.waitUntilSent(1)
            try await install.requireProof(sent: 1)
        }
    }

    @Test func aHeldLineSendsNothingUntilItIsResumed() async throws {
        try await TestInstall.with { install in
            try await install.trunkline(["line", "hold", "line-01", "--reason", "test"]).requireSuccess()
            _ = try install.startWorker()
            try await install.publish(try TestInstall.jobs(20))
            try await install.wait(for: "the other line's jobs") { install.simulator.report().total.messages == 10 }
            #expect(
                try await install.number("select count(*) from trunkline.jobs where attempt > 0 and state = 'waiting'")
                    == 0
            )
            try await install.trunkline(["line", "resume", "line-01"]).requireSuccess()
            try await install.waitUntilSent(20)
            try await install.requireProof(sent: 20)
        }
    }

    @Test func aLineThatIsNotSendableGetsNothing() async throws {
        try await TestInstall.with { install in
            // A line that takes sends although it says that it cannot: nothing but the gate stops them.
            try install.simulator.control("PUT", "/__sim/settings", #"{"profile":"A"}"#)
            try install.simulator.control("PUT", "/__sim/lines/line-01/state", #"{"state":"qr_required"}"#)
            _ = try install.startWorker()
            try await install.publish(try TestInstall.jobs(20))
            try await install.wait(for: "the other line's jobs") { install.simulator.report().total.messages == 10 }
            try await install.wait(for: "the gate to be written") {
                try await install.number("select count(*) from trunkline.lane_state where gate = 'held_human'") == 1
            }
            let report = install.simulator.report()
            #expect(report.total.acceptedWhileNotSendable == 0)
            #expect(report.total.healthWakeupTrue == 0 && report.total.healthWakeupAbsent == 0)
            try install.simulator.control("PUT", "/__sim/lines/line-01/state", #"{"state":"sendable"}"#)
            try await install.waitUntilSent(20)
            try await install.requireProof(sent: 20)
        }
    }

    @Test func aNoticeWhoseTimeHasPassedEndsAlsoOnAHeldLine() async throws {
        try await TestInstall.with { install in
            try await install.trunkline(["line", "hold", "line-01", "--reason", "test"]).requireSuccess()
            _ = try install.startWorker()
            // Counted from when somebody is there to take it: what comes too late already is refused, which is another story.
            try await install.wait(for: "the shards' owner") {
                try await install.number("select count(*) from trunkline.shards where owner is null") == 0
            }
            let soon = Timestamp(microseconds: Moment.wall + 8_000_000)
            try await install.publish([try TestInstall.job("stale", sendBefore: soon)])
            try await install.wait(for: "its end") {
                try await install.number(
                    "select count(*) from trunkline.finished where key = 'stale' and state = 'expired'"
                ) == 1
            }
            #expect(install.simulator.report().total.requests == 0)
            #expect(try await install.trunkline(["check"]).status == 0)
        }
    }

    @Test func aLineThatIsAddedWhileItsFirstJobArrivesSendsIt() async throws {
        try await TestInstall.with(lines: 1) { install in
            _ = try install.startWorker()
            try await install.publish([try TestInstall.job("first")])
            try await install.waitUntilSent(1)
            try install.simulator.control("PUT", "/__sim/lines/line-new", #"{"token":"ezw_line_line-new"}"#)
            try await install.addLine("line-new", token: "ezw_line_line-new", pace: "unlimited")
            try await install.publish([try TestInstall.job("second", line: "line-new")])
            try await install.waitUntilSent(2)
        }
    }

    @Test func aWorkerWithTheWrongMasterKeyDoesNotStart() async throws {
        try await TestInstall.with(lines: 1) { install in
            let other = Data((1...32).map { UInt8($0) }).base64EncodedString()
            let outcome = try await install.trunkline(
                ["worker"],
                environment: ["TRUNKLINE_MASTER_KEY": other, "TRUNKLINE_MASTER_KEY_FILE": ""]
            )
            #expect(
                outcome.status != 0 && outcome.errors.contains("not the one they were stored under"),
                "\(outcome.errors)"
            )
        }
    }

    @Test func anEventIsStoredOnceAndARepeatHasNoEffect() async throws {
        try await TestInstall.with { install in
            _ = try install.startWorker()
            func event(_ id: String, _ body: String) throws -> [UInt8] {
                try WebhookJob(
                    source: SourceID("ezw-acme"),
                    headers: [("X-EZW-Delivery-Id", id), ("X-EZW-Webhook-Event", "messages.post")],
                    body: Array(body.utf8),
                    receivedAt: Timestamp(microseconds: 1_780_000_000_000_000)
                ).encode()
            }
            let first = try event("d-1", #"{"event":"messages.post"}"#)
            try await install.publish(raw: [
                ("webhook", first), ("webhook", first), ("webhook", try event("d-2", "{}")), ("webhook", first),
                ("webhook", try event("d-1", #"{"event":"other"}"#)),
            ])
            try await install.wait(for: "two events and a conflict") {
                let events = try await install.number("select count(*) from trunkline.inbox")
                let conflicts = try await install.number(
                    "select count(*) from trunkline.refusals where kind = 'conflict'"
                )
                return events == 2 && conflicts == 1
            }
            #expect(
                try await install.text("select convert_from(body, 'UTF8') from trunkline.inbox where event_key = 'd-1'")
                    == #"{"event":"messages.post"}"#
            )
            #expect(
                try await install.text(
                    "select headers ->> 'X-EZW-Webhook-Event' from trunkline.inbox where event_key = 'd-1'"
                )?.contains("messages.post") == true
            )
        }
    }
}
