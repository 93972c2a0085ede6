import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineSimulator
import TrunklineTesting

/// Forced interleavings of two owners, in SQL, where each step is a statement and the order is ours.
@Suite struct FenceTests {
    static let first = "00000000-0000-0000-0000-000000000001"
    static let second = "00000000-0000-0000-0000-000000000002"

    /// A take of one job of person 7 on the fast path.
    func take(_ boot: String, fence: Int64, key: String, person: Int = 7) throws -> String {
        func hex(_ bytes: [UInt8]) -> String {
            "decode('" + Digest.hex(bytes) + "', 'hex')"
        }
        let job = try TestInstall.job(key)
        return """
            select verdict || ' ' || coalesce(state, '-') from trunkline.take('\(boot)', 1, array[0], array[\(fence)]::bigint[], 30000,
                0, null, array['line:line-01'], array['\(key)'], array[\(hex(job.key.digest))], array[\(hex(job.contentDigest))],
                array[\(person)]::bigint[], array['\(job.to.value)'], array[\(hex(EZWhatsApp.textRequestBody(job)))], array['order'],
                array[null::text], array[null::timestamptz], array[null::timestamptz], array[null::text], array[null::timestamptz],
                array[true], array[]::int[], array[]::int[])
            """
    }

    func acquire(_ boot: String) -> String {
        "update trunkline.shards set owner = '\(boot)', fence = fence + 1 where shard = 0"
    }

    func open(_ install: TestInstall) async throws -> PostgresSession {
        try await PostgresSession.open(url: install.databaseURL, applicationName: "trunkline test")
    }

    /// | first owner            | second owner          |
    /// | ---------------------- | --------------------- |
    /// | begin; take (uncommitted) |                    |
    /// |                        | acquire: must wait    |
    /// | commit                 |                       |
    /// |                        | acquire; take: sees the job in the air, waits |
    /// | take: refused, lost    |                       |
    @Test func aTakeAndATakeOverExcludeEachOther() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            let old = try await open(install)
            let new = try await open(install)
            try await old.script(acquire(Self.first))
            try await new.script("set lock_timeout = '300ms'")
            try await old.script("begin")
            #expect(try await old.query(try take(Self.first, fence: 1, key: "a"), []).text(0, 0) == "new sending")
            do {
                try await new.script(acquire(Self.second))
                Issue.record("the fence could be moved under a take")
            } catch let error as PostgresError {
                #expect(error.sqlState == "55P03")
            }
            try await old.script("commit")
            try await new.script(acquire(Self.second))
            #expect(try await new.query(try take(Self.second, fence: 2, key: "b"), []).text(0, 0) == "new waiting")
            #expect(try await old.query(try take(Self.first, fence: 1, key: "c"), []).text(0, 0) == "lost -")
            #expect(try await inTheAir(install) == 1)
            await old.close()
            await new.close()
        }
    }

    /// The same with the fence turned off: two jobs of one person are in the air.
    @Test func withoutTheFenceTwoJobsOfOnePersonAreInTheAir() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            let old = try await open(install)
            let new = try await open(install)
            try await old.script(
                """
                create or replace function trunkline.held_shards(p_boot uuid, p_shards int[], p_fences bigint[]) returns int[]
                language sql as $$ select p_shards $$
                """
            )
            try await old.script(acquire(Self.first))
            try await new.script("set lock_timeout = '300ms'")
            try await old.script("begin")
            #expect(try await old.query(try take(Self.first, fence: 1, key: "a"), []).text(0, 0) == "new sending")
            try await new.script(acquire(Self.second))
            #expect(try await new.query(try take(Self.second, fence: 2, key: "b"), []).text(0, 0) == "new sending")
            try await old.script("commit")
            #expect(try await inTheAir(install) == 2)
            await old.close()
            await new.close()
        }
    }

    private func inTheAir(_ install: TestInstall) async throws -> Int64 {
        try await install.number("select count(*) from trunkline.jobs where state = 'sending' and person = 7")
    }

    /// A client that was frozen in mid-statement holds its locks, and no time-out of PostgreSQL fires: the next owner ends
    /// its session, but only if pid, start and application name are the recorded ones.
    @Test(arguments: [true, false])
    func aFrozenClientsLocksAreBroken(isOn: Bool) async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            let frozen = try await PostgresSession.open(url: install.databaseURL, applicationName: Self.first)
            try await frozen.script(
                """
                insert into trunkline.workers (boot, host, pid, version, backend_pids, backend_starts)
                select '\(Self.first)', 'frozen', 1, 'test', array[pid], array[backend_start] from pg_stat_activity where pid = pg_backend_pid()
                """
            )
            try await frozen.script(acquire(Self.first))
            try await frozen.script("begin")
            _ = try await frozen.query("select fence from trunkline.shards for share", [])
            _ = try install.startWorker(isOn ? [:] : ["TRUNKLINE_TURN_OFF": "terminate"])
            if isOn {
                try await install.wait(for: "the take-over") {
                    try await install.number("select count(*) from trunkline.shards where owner <> '\(Self.first)'")
                        == 1
                }
            } else {
                // Turned off, one try after the other ends at its lock time-out. A try is known by the start of its statement:
                // on a busy machine the pause between two of them is too short to be seen.
                var tries: Set<String> = []
                try await install.wait(for: "three tries to take over") {
                    if let start = try await self.startOfWaitingTry(install) { tries.insert(start) }
                    return tries.count >= 3
                }
                #expect(
                    try await install.number("select count(*) from trunkline.shards where owner = '\(Self.first)'") == 1
                )
            }
            await frozen.close()
        }
    }

    private func startOfWaitingTry(_ install: TestInstall) async throws -> String? {
        let text = try await install.text(
            """
            select coalesce(max(query_start)::text, '') from pg_stat_activity
            where wait_event_type = 'Lock' and query like '%trunkline.shards%'
            """
        )
        return text?.isEmpty == false ? text : nil
    }

    /// What comes late: the outcome of an attempt that was given up for lost.
    @Test func aSettlementAfterATakeOverCountsAndIsFencedByItsAttempt() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            let session = try await open(install)
            try await session.script(acquire(Self.first))
            for key in ["sent-late", "refused-late"] {
                _ = try await session.query(
                    try take(Self.first, fence: 1, key: key, person: key.utf8.count),
                    []
                )
            }
            try await session.script("update trunkline.jobs set lease_until = now() - interval '1 second'")
            try await session.script(acquire(Self.second))
            let ids = try await session.query("select id from trunkline.jobs order by id", [])
            let (a, b) = (ids.int8(0, 0)!, ids.int8(1, 0)!)
            let fence = "'\(Self.second)', 1, array[0], array[2]::bigint[]"
            _ = try await session.query(
                "select * from trunkline.abandon(\(fence), array[\(a), \(b)]::bigint[], array[1, 1])",
                []
            )
            #expect(
                try await install.number(
                    "select count(*) from trunkline.jobs where state = 'unknown' and maybe_sent_since = claimed_at"
                ) == 2
            )
            _ = try await session.query(
                "select * from trunkline.claim(\(fence), 30000, array[\(a), \(b)]::bigint[], array[]::int[], array[]::int[])",
                []
            )
            func settle(_ job: Int64, _ attempt: Int, _ outcome: String) async throws -> String? {
                try await session.query(
                    """
                    select verdict from trunkline.settle('\(Self.first)', array[\(job)]::bigint[], array[\(attempt)], array['\(outcome)'],
                        array['test'], array[0], array[false], array[null::text], array[null::int], array[null::text])
                    """,
                    []
                ).text(0, 0)
            }
            // The first worker wakes up while the second one's attempts run.
            #expect(try await settle(a, 1, "sent") == "late_sent")
            #expect(try await settle(b, 1, "retry") == "stale")
            #expect(try await settle(a, 2, "sent") == "evidence")
            #expect(try await settle(b, 2, "sent") == "sent")
            #expect(try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 2)
            #expect(try await install.number("select count(*) from trunkline.jobs") == 0)
            let check = try await install.trunkline(["check", "--json"])
            #expect(check.status == 0, "\(check.output)")
            await session.close()
        }
    }

    /// The mechanism: an outcome is fenced by its attempt. Without it a late refusal reopens a job whose next attempt is in
    /// the air, and a third one would begin.
    @Test(arguments: [true, false])
    func aLateRefusalDoesNotReopenAJobInTheAir(isOn: Bool) async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            let session = try await open(install)
            if !isOn {
                let text = try #require(
                    try await session.query("select pg_get_functiondef('trunkline.settle'::regproc)", []).text(0, 0)
                )
                let without = text.replacing(
                    "when j.attempt <> o.attempt or j.state <> 'sending' then 'stale'",
                    with: ""
                )
                try #require(without != text)
                try await session.script(without)
            }
            try await session.script(acquire(Self.first))
            _ = try await session.query(try take(Self.first, fence: 1, key: "a"), [])
            try await session.script("update trunkline.jobs set lease_until = now() - interval '1 second'")
            try await session.script(acquire(Self.second))
            let fence = "'\(Self.second)', 1, array[0], array[2]::bigint[]"
            _ = try await session.query("select * from trunkline.abandon(\(fence), array[1]::bigint[], array[1])", [])
            _ = try await session.query(
                "select * from trunkline.claim(\(fence), 30000, array[1]::bigint[], array[]::int[], array[]::int[])",
                []
            )
            _ = try await session.query(
                """
                select verdict from trunkline.settle('\(Self.first)', array[1]::bigint[], array[1], array['retry'], array['test'],
                    array[0], array[false], array[null::text], array[null::int], array[null::text])
                """,
                []
            )
            let state = try await install.text("select state from trunkline.jobs")
            #expect(isOn ? state == "sending" : state == "unknown")
            await session.close()
        }
    }

    @Test func anOutcomeThatIsRecordedTwiceIsRecordedOnce() async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            let session = try await open(install)
            try await session.script(acquire(Self.first))
            _ = try await session.query(try take(Self.first, fence: 1, key: "a"), [])
            let settle = """
                select verdict from trunkline.settle('\(Self.first)', array[1]::bigint[], array[1], array['unknown'], array['timed_out'],
                    array[5000], array[true], array[null::text], array[null::int], array[null::text])
                """
            #expect(try await session.query(settle, []).text(0, 0) == "unknown")
            #expect(try await session.query(settle, []).text(0, 0) == "stale")
            #expect(try await install.number("select count(*) from trunkline.attempts") == 1)
            #expect(
                try await install.number("select count(*) from trunkline.jobs where state = 'unknown' and tries = 1")
                    == 1
            )
            await session.close()
        }
    }
}
