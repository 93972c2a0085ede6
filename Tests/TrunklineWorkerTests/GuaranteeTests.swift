import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// Rows of `docs/delivery-guarantees.md` that no other test shows whole.
@Suite struct GuaranteeTests {
    /// No message ever tells the running owner of the rows.
    @Test func aRunningWorkerFindsRowsWhoseWakeUpsAreLost() async throws {
        try await TestInstall.with(lines: 2) { install in
            _ = try install.startWorker()
            try await install.publish(try TestInstall.jobs(4, prefix: "warm"))
            try await install.waitUntilSent(4)
            let file = try TestInstall.jobs(40).map { String(decoding: $0.encode(), as: UTF8.self) }
                .joined(separator: "\n")
            try await install.trunkline(["enqueue", "-"], input: file, environment: ["TRUNKLINE_AMQP_URL": ""])
                .requireSuccess()
            try await install.waitUntilSent(44)
            try await install.requireProof(sent: 44)
        }
    }

    /// The next owner waits until the lease has run out and 10 s more, marks the job as possibly sent, and asks again with
    /// the same key and bytes.
    @Test func aKilledWorkersCallIsLeftToItsLeaseAndMarked() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            try install.simulator.control("POST", "/__sim/answers/hold")
            let first = try install.startWorker()
            try await install.publish([try TestInstall.job("in-the-air")])
            try await install.wait(for: "a call in the air") { install.simulator.report().total.messages == 1 }
            let lease = try await install.number(
                "select (extract(epoch from lease_until) * 1000)::bigint from trunkline.jobs where attempt = 1"
            )
            first.kill()
            _ = try install.startWorker()
            var waited: Int64?
            try await install.wait(for: "the second attempt", within: .seconds(120)) {
                waited = try await install.number(
                    """
                    select coalesce((extract(epoch from claimed_at) * 1000)::bigint - \(lease), -1) from trunkline.jobs
                    where attempt = 2 and state = 'sending' and maybe_sent_since is not null
                    """
                )
                return waited != 0
            }
            #expect(try #require(waited) >= 10_000)
            try install.simulator.control("POST", "/__sim/answers/release")
            try await install.waitUntilSent(1)
            try await install.requireProof(sent: 1)
            let total = install.simulator.report().total
            #expect(total.requests == 2 && total.replays == 1 && total.conflicts == 0)
        }
    }

    /// The pause is the line's, not its owner's.
    @Test func retryAfterHoldsForTheNextOwnerToo() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            try install.simulator.control(
                "POST",
                "/__sim/faults",
                #"{"kind":"status","status":429,"retryAfter":40,"retryAfterForm":"seconds","count":1}"#
            )
            let first = try install.startWorker()
            try await install.publish([try TestInstall.job("slow-down")])
            try await install.wait(for: "the pause") {
                try await install.number("select count(*) from trunkline.lane_state where paused_until > now()") == 1
            }
            let paused = try await install.number(
                "select (extract(epoch from paused_until) * 1000)::bigint from trunkline.lane_state"
            )
            first.kill()
            _ = try install.startWorker()
            try await install.waitUntilSent(1, within: .seconds(120))
            let sent = try await install.number(
                "select (extract(epoch from ended_at) * 1000)::bigint from trunkline.finished"
            )
            #expect(sent >= paused)
            try await install.requireProof(sent: 1)
        }
    }

    /// A row is accepted first, and its owner sees a later message of the same person before it.
    @Test func aRowThatIsSeenLateStillGoesFirst() async throws {
        try await TestInstall.with(shards: 1, lines: 1, journal: true) { install in
            _ = try install.startWorker()
            try await install.publish([try TestInstall.job("warm", to: "+972509999999")])
            try await install.waitUntilSent(1)
            func person(_ number: Int) -> String { "+97250" + String(2_000_000 + number) }
            // No wake-up: the owner adopts these rows when they are 2 s old. On a busy machine that may pass before the
            // messages are published, which would show nothing: then once more.
            var (rounds, unseen) = (0, Int64(0))
            while unseen == 0, rounds < 20 {
                let persons = rounds * 50 + 1...rounds * 50 + 50
                rounds += 1
                let rows = try persons.map { try TestInstall.job("row.\($0)", to: person($0)) }
                try await install.trunkline(
                    ["enqueue", "-"],
                    input: rows.map { String(decoding: $0.encode(), as: UTF8.self) }.joined(separator: "\n"),
                    environment: ["TRUNKLINE_AMQP_URL": ""]
                ).requireSuccess()
                try await install.publish(try persons.map { try TestInstall.job("message.\($0)", to: person($0)) })
                unseen = try await install.number("select count(*) from trunkline.jobs where place = 0")
            }
            #expect(unseen > 0, "the owner was to see the messages before the rows")
            try await install.waitUntilSent(1 + rounds * 100)
            try await install.requireProof(sent: 1 + rounds * 100)
            let journal = try String(
                contentsOf: install.folder.appendingPathComponent("journal.ndjson"),
                encoding: .utf8
            )
            var rowsSent: Set<Int> = []
            var messages = 0
            for line in journal.split(separator: "\n") where line.contains("\"effect\"") {
                func number(after word: String) -> Int? {
                    line.range(of: word).flatMap { Int(line[$0.upperBound...].prefix { $0.isNumber }) }
                }
                if let row = number(after: "row.") { rowsSent.insert(row) }
                if let message = number(after: "message.") {
                    messages += 1
                    #expect(rowsSent.contains(message), "message \(message) overtook its row")
                }
            }
            #expect(messages == rounds * 50)
        }
    }
}
