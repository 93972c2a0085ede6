import PostgresDriver
import Synchronization
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// Cancels by pattern against takes and claims, both as fast as they can.
@Suite struct CancelRaceTests {
    /// What the cancels met.
    private final class Tally: Sendable {
        let calls = Atomic(0)
        let cancelled = Atomic(0)
        let repeated = Atomic(0)
        let isOver = Atomic(false)
    }

    @Test func cancelsAndClaimsNeverStopEachOther() async throws {
        try await TestInstall.with(shards: 4, lines: 4) { install in
            _ = try install.startWorker()
            _ = try install.startWorker()
            let lines = (1...4).map { "line-0\($0)" }
            let tally = Tally()
            let url = install.databaseURL
            try await withThrowingTaskGroup(of: Void.self) { group in
                // Patterns that overlap: several cancels want the same rows as each other and as the claims.
                for pattern in ["%1", "%2", "%1%2%", "%3", "race.1%7"] {
                    group.addTask {
                        let session = try await PostgresSession.open(url: url, applicationName: "canceller")
                        while !tally.isOver.load(ordering: .relaxed) {
                            do {
                                let rows = try await session.query(
                                    "select count(*) filter (where verdict = 'cancelled') from trunkline.cancel($1, null, 0, 500)",
                                    [.text(pattern)]
                                )
                                tally.cancelled.add(Int(rows.int8(0, 0) ?? 0), ordering: .relaxed)
                            } catch let error as PostgresError where error.isRetriable {
                                // A deadlock or a lock that was not granted costs the chunk, which is given again.
                                tally.repeated.add(1, ordering: .relaxed)
                            }
                            tally.calls.add(1, ordering: .relaxed)
                        }
                        await session.close()
                    }
                }
                group.addTask {
                    while !tally.isOver.load(ordering: .relaxed) {
                        let run = try await install.trunkline(["cancel", "race.*9"])
                        #expect(![2, 4].contains(run.status), "\(run.errors)")
                    }
                }
                // By message and by row, in turn: taken in a claiming commit, and adopted first.
                for batch in 0..<20 {
                    let jobs = try TestInstall.jobs(200, prefix: "race.\(batch)", lines: lines, persons: 150)
                    if batch.isMultiple(of: 2) {
                        try await install.publish(jobs)
                    } else {
                        let rows = jobs.map { String(decoding: $0.encode(), as: UTF8.self) }
                        try await install.trunkline(["enqueue", "-"], input: rows.joined(separator: "\n"))
                            .requireSuccess()
                    }
                }
                try await install.wait(for: "the end of every job", within: .seconds(120)) {
                    let ledger = try await install.number("select count(*) from trunkline.ledger")
                    let left = try await install.number("select count(*) from trunkline.jobs")
                    return ledger == 4_000 && left == 0
                }
                tally.isOver.store(true, ordering: .relaxed)
                try await group.waitForAll()
            }
            let sent = Int(try await install.number("select count(*) from trunkline.finished where state = 'sent'"))
            let cancelled = try await install.number(
                "select count(*) from trunkline.finished where state = 'cancelled'"
            )
            #expect(sent + Int(cancelled) == 4_000)
            #expect(sent > 0 && tally.cancelled.load(ordering: .relaxed) > 0)
            // Far more calls went through than were given again.
            #expect(tally.repeated.load(ordering: .relaxed) * 2 < tally.calls.load(ordering: .relaxed))
            try await install.requireProof(sent: sent)
        }
    }
}
