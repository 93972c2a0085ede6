import PostgresDriver
import Testing
import TrunklineTesting

/// An attempt's first call that may take effect, and somebody who takes the attempt over.
extension FenceTests {
    /// Job 1 in the air, quiet, its lease run out.
    private func claimQuietly(_ session: PostgresSession) async throws {
        try await session.script("update trunkline.lanes set begins_quietly = true")
        try await session.script(acquire(Self.first))
        // Not on the fast path, whatever the worker says.
        #expect(try await session.query(try take(Self.first, fence: 1, key: "a"), []).text(0, 0) == "new waiting")
        #expect(try await session.query(claim(Self.first, fence: 1), []).text(0, 0) == "claimed_quietly")
        try await session.script("update trunkline.jobs set lease_until = now() - interval '1 second'")
        try await session.script(acquire(Self.second))
    }

    private func claim(_ boot: String, fence: Int64) -> String {
        """
        select verdict from trunkline.claim('\(boot)', 1, array[0], array[\(fence)]::bigint[], 30000, array[1]::bigint[],
            array[]::int[], array[]::int[])
        """
    }

    private var beginEffect: String {
        "select job from trunkline.begin_effect('\(Self.first)', array[1]::bigint[], array[1], 30000)"
    }

    private var abandon: String {
        "select state from trunkline.abandon('\(Self.second)', 1, array[0], array[2]::bigint[], array[1]::bigint[], array[1])"
    }

    /// Each leaves a row that the other one has locked, as every statement of a worker does, and has done nothing then.
    ///
    /// | whoever carries             | next owner                         |
    /// | --------------------------- | ---------------------------------- |
    /// | begin; begin_effect (uncommitted) |                              |
    /// |                             | abandon: nothing, it looks again   |
    /// | commit; makes the call      |                                    |
    /// |                             | abandon: nothing, it has its lease |
    ///
    /// | whoever carries             | next owner                         |
    /// | --------------------------- | ---------------------------------- |
    /// |                             | begin; abandon (uncommitted)       |
    /// | begin_effect: nothing, makes no call |                           |
    /// |                             | commit                             |
    /// | begin_effect: nothing, as before |                               |
    @Test(arguments: [true, false])
    func anEffectAndATakeOverExcludeEachOther(isEffectFirst: Bool) async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            let old = try await open(install)
            let new = try await open(install)
            try await claimQuietly(old)
            let (first, second) = isEffectFirst ? (old, new) : (new, old)
            try await second.script("set lock_timeout = '300ms'")
            try await first.script("begin")
            #expect(try await first.query(isEffectFirst ? beginEffect : abandon, []).count == 1)
            #expect(try await second.query(isEffectFirst ? abandon : beginEffect, []).count == 0)
            try await first.script("commit")
            #expect(try await second.query(isEffectFirst ? abandon : beginEffect, []).count == 0)
            #expect(
                try await install.text("select state from trunkline.jobs") == (isEffectFirst ? "sending" : "waiting")
            )
            #expect(try await install.number("select count(*) from trunkline.jobs where maybe_sent_since is null") == 1)
            await old.close()
            await new.close()
        }
    }

    /// The mechanism: begin_effect is fenced by the attempt. Without it a worker that wakes up late makes its call beside the
    /// next attempt's.
    @Test(arguments: [true, false])
    func anAttemptThatWasTakenOverBeginsNoEffect(isOn: Bool) async throws {
        try await TestInstall.with(shards: 1, lines: 1) { install in
            let session = try await open(install)
            if !isOn {
                let text = try #require(
                    try await session.query("select pg_get_functiondef('trunkline.begin_effect'::regproc)", []).text(
                        0,
                        0
                    )
                )
                let without = text.replacing(" and w.attempt = j.attempt", with: "")
                    .replacing(" and j.claimed_by = p_boot", with: "")
                try #require(without.count < text.count - 30)
                try await session.script(without)
            }
            try await claimQuietly(session)
            #expect(try await session.query(abandon, []).text(0, 0) == "waiting")
            #expect(try await session.query(claim(Self.second, fence: 2), []).text(0, 0) == "claimed_quietly")
            #expect(try await session.query(beginEffect, []).count == (isOn ? 0 : 1))
            let quiet = try await install.number("select count(*) from trunkline.jobs where quiet and attempt = 2")
            #expect(quiet == (isOn ? 1 : 0))
            await session.close()
        }
    }
}
