import PostgresDriver
import Testing
import TrunklineCore

@testable import TrunklineEngine

/// What the statements of a worker do with a row that somebody's transaction has locked: they leave it, wait for nobody, and
/// do the rest.
@Suite("Rows that somebody has locked", .serialized)
struct LockedRowTests {
    private static let boot = [UInt8](repeating: 7, count: 16)

    /// A worker that owns every shard, and whoever has a row locked.
    private struct Scene {
        let session: PostgresSession
        let locker: PostgresSession
        let owner: [PostgresParameter]

        func whileLocked<Value>(_ job: Int64, _ body: () async throws -> Value) async throws -> Value {
            try await locker.script("begin")
            try await locker.query("select from trunkline.jobs where id = $1 for update", [.int8(job)])
            let value = try await body()
            try await locker.script("rollback")
            return value
        }

        /// What `statement` yields first, in order of jobs.
        func words(_ statement: String, _ parameters: [PostgresParameter]) async throws -> [String] {
            let rows = try await session.query("select t from (select \(statement)) s (t) order by t", parameters)
            return (0..<rows.count).compactMap { rows.text($0, 0) }
        }

        func adopt() async throws -> [String] {
            try await words("job::text from trunkline.adopt($1, $2, $3, $4, 0, 500, 0)", owner)
        }
        func place(_ jobs: [Int64]) async throws -> [String] {
            try await words("job::text from trunkline.place_due($1, $2, $3, $4, $5)", owner + [.int8Array(jobs)])
        }
        func claim(_ jobs: [Int64]) async throws -> [String] {
            try await words(
                "job || ' ' || verdict from trunkline.claim($1, $2, $3, $4, 30000, $5, '{}', '{}')",
                owner + [.int8Array(jobs)]
            )
        }
        func beginEffect(_ jobs: [Int64]) async throws -> [String] {
            try await words(
                "job::text from trunkline.begin_effect($1, $2, $3, 30000)",
                [.uuid(LockedRowTests.boot), .int8Array(jobs), .int4Array(jobs.map { _ in 1 })]
            )
        }
        func abandon(_ jobs: [Int64]) async throws -> [String] {
            try await words(
                "job || ' ' || state from trunkline.abandon($1, $2, $3, $4, $5, $6)",
                owner + [.int8Array(jobs), .int4Array(jobs.map { _ in 1 })]
            )
        }
        func settle(_ jobs: [Int64]) async throws -> [String] {
            try await words(
                """
                job || ' ' || verdict from trunkline.settle($1, $2, $3, array(select 'sent' from unnest($2)),
                    array(select null::text from unnest($2)), array(select 0 from unnest($2)), array(select true from unnest($2)),
                    array(select null::text from unnest($2)), array(select 202 from unnest($2)), array(select null::text from unnest($2)))
                """,
                [.uuid(LockedRowTests.boot), .int8Array(jobs), .int4Array(jobs.map { _ in 1 })]
            )
        }
        func expire() async throws -> [String] {
            try await words("job::text from trunkline.expire($1, $2, $3, $4, 500)", owner)
        }
    }

    private static func with(_ count: Int, _ body: (Scene, [Int64]) async throws -> Void) async throws {
        try await AdminDatabase.with { database in
            let ids = try await database.accept(try (1...count).map { try notice($0) }).compactMap(\.job?.value)
                .sorted()
            let session = database.session
            try await session.query("update trunkline.shards set owner = $1, fence = 1", [.uuid(boot)])
            // Whoever waits for a lock all the same fails.
            try await session.script("set lock_timeout = '1ms'")
            let fences = [Int64?](repeating: 1, count: 16)
            try await PostgresSession.withSession(url: database.url, applicationName: "locker") { locker in
                let scene = Scene(
                    session: session,
                    locker: locker,
                    owner: [.uuid(boot), .int4(16), .int4Array((0..<16).map { $0 }), .int8Array(fences)]
                )
                try await body(scene, ids)
            }
        }
    }

    @Test("adopt, claim, begin_effect and settle leave it to a later call")
    func wayOfAJob() async throws {
        try await Self.with(2) { scene, ids in
            let (locked, free) = (ids[0], ids[1])
            let adopted = try await scene.whileLocked(locked) { try await scene.adopt() }
            #expect(adopted == ["\(free)"])
            #expect(try await scene.adopt() == ["\(locked)"])
            let claimed = try await scene.whileLocked(locked) { try await scene.claim(ids) }
            #expect(claimed == ["\(locked) early", "\(free) claimed"])
            #expect(try await scene.claim([locked, 77]) == ["\(locked) claimed", "77 gone"].sorted())
            let begun = try await scene.whileLocked(locked) { try await scene.beginEffect(ids) }
            #expect(begun == ["\(free)"])
            #expect(try await scene.beginEffect(ids) == ids.map(String.init))
            let settled = try await scene.whileLocked(locked) { try await scene.settle(ids) }
            #expect(settled == ["\(free) sent"])
            #expect(try await scene.settle(ids) == ["\(locked) sent", "\(free) evidence"])
        }
    }

    @Test("abandon and expire take the others")
    func sweeps() async throws {
        try await Self.with(4) { scene, ids in
            _ = try await scene.adopt()
            _ = try await scene.claim([ids[0], ids[1]])
            try await scene.session.query(
                "update trunkline.jobs set lease_until = now() - interval '1 s' where state = 'sending'"
            )
            let abandoned = try await scene.whileLocked(ids[0]) { try await scene.abandon([ids[0], ids[1]]) }
            #expect(abandoned == ["\(ids[1]) unknown"])
            #expect(try await scene.abandon([ids[0], ids[1]]) == ["\(ids[0]) unknown"])
            try await scene.session.query(
                "update trunkline.jobs set send_before = now() - interval '1 s' where state = 'waiting'"
            )
            let expired = try await scene.whileLocked(ids[2]) { try await scene.expire() }
            #expect(expired == ["\(ids[3])"])
            #expect(try await scene.expire() == ["\(ids[2])"])
        }
    }

    @Test("none of its person's scheduled notices is placed before it, and everybody else's are")
    func placing() async throws {
        try await Self.with(3) { scene, ids in
            let (locked, later, other) = (ids[0], ids[1], ids[2])
            try await scene.session.query(
                """
                update trunkline.jobs set state = 'waiting', place = -1, not_before = now(),
                    due_at = now() - case id when $1 then interval '2 s' else interval '1 s' end,
                    person = case id when $3 then person else (select person from trunkline.jobs where id = $2) end
                """,
                [.int8(locked), .int8(later), .int8(other)]
            )
            let placed = try await scene.whileLocked(locked) { try await scene.place([later, other]) }
            #expect(placed == ["\(other)"])
            #expect(try await scene.place([later]) == ["\(locked)", "\(later)"])
            #expect(try await scene.claim([locked, later]) == ["\(locked) claimed", "\(later) overtaken"])
        }
    }
}
