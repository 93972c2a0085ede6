import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// Somebody has rows locked for as long as they like: a transaction that was left open in a terminal, a client whose connection
/// died in the middle of one.
@Suite struct LockedRowTests {
    @Test func rowsThatSomebodyHasLockedHoldUpNobodyElse() async throws {
        try await TestInstall.with { install in
            // No worker has seen them.
            let keys = ["unseen", "waiting", "scheduled"]
            let first = try keys.enumerated().map { try TestInstall.job($1, to: "+97250200000\($0)") }
            try await install.trunkline(["enqueue", "-"], input: lines(first)).requireSuccess()
            // As a former owner leaves them.
            try await install.database.query(
                """
                update trunkline.jobs set state = 'waiting', place = case key when 'waiting' then arrival else -1 end,
                    not_before = case key when 'scheduled' then now() end
                where key in ('waiting', 'scheduled')
                """
            )
            try await PostgresSession.withSession(url: install.databaseURL, applicationName: "trunkline test") {
                locker in
                try await locker.script("begin")
                try await locker.query("select from trunkline.jobs for update")
                let worker = try install.startWorker()
                try install.simulator.control("POST", "/__sim/answers/hold")
                try await install.publish([try TestInstall.job("sending", to: "+972502000009")])
                try await install.wait(for: "a call in the air") {
                    try await install.number(
                        "select count(*) from trunkline.jobs where key = 'sending' and attempt = 1"
                    )
                        == 1
                }
                try await locker.query("select from trunkline.jobs where key = 'sending' for update")
                try install.simulator.control("POST", "/__sim/answers/release")

                for (wave, count) in [60, 120, 180].enumerated() {
                    // To the queues, row first, and scheduled.
                    let jobs = try TestInstall.jobs(40, prefix: "wave\(wave)")
                    try await install.publish(Array(jobs.prefix(30)))
                    try await install.trunkline(["enqueue", "-"], input: lines(Array(jobs.suffix(10)))).requireSuccess()
                    try await install.publish(try (0..<20).map { try scheduled("later\(wave).\($0)", person: $0) })
                    try await install.wait(for: "everybody else's notices") {
                        try await install.number("select count(*) from trunkline.finished where state = 'sent'")
                            == count
                    }
                }
                #expect(try await install.number("select count(*) from trunkline.jobs") == 4)
                #expect(!worker.logText.contains("scheduled jobs could not be placed"))
                try await locker.script("rollback")
            }
            try await install.waitUntilSent(184)
            try await install.requireProof(sent: 184)
        }
    }

    private func lines(_ jobs: [SendJob]) -> String {
        jobs.map { String(decoding: $0.encode(), as: UTF8.self) }.joined(separator: "\n")
    }

    /// Due in half a second.
    private func scheduled(_ key: String, person: Int) throws -> SendJob {
        try SendJob(
            line: LineID("line-02"),
            key: IdempotencyKey(key),
            to: PhoneNumber("+97250" + String(3_000_000 + person)),
            body: "Notice for \(key).",
            purpose: .order,
            notBefore: Timestamp(microseconds: Moment.wall + 500_000)
        )
    }
}
