import PostgresDriver
import Testing
import TrunklineCore

@testable import TrunklineEngine

@Suite("Places of scheduled notices")
struct PlacingTests {
    /// A new owner reads what is placed or waits for its time; what nobody has seen comes a moment later.
    @Test("one that no owner has seen goes before a later one of its person whose time has come too")
    func unseenGoesFirst() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let now = Timestamp(microseconds: try await session.query("select now()").timestamp(0, 0) ?? 0)
            let ids = try await database.accept([
                notice(1, notBefore: now + .seconds(7_200)), notice(2, notBefore: now + .seconds(3_600)),
            ]).compactMap(\.job?.value)
            let (later, earlier) = (ids[0], ids[1])
            try await session.query(
                """
                update trunkline.jobs set person = (select person from trunkline.jobs where id = $1),
                    due_at = now() - case id when $1 then interval '1 s' else interval '2 s' end,
                    state = case id when $1 then 'waiting' else state end, place = case id when $1 then -1 else place end
                """,
                [.int8(later)]
            )
            let boot = Array(repeating: UInt8(7), count: 16)
            try await session.query("update trunkline.shards set owner = $1, fence = 1", [.uuid(boot)])
            let owner: [PostgresParameter] = [
                .uuid(boot), .int4(16), .int4Array((0..<16).map { $0 }), .int8Array([Int64?](repeating: 1, count: 16)),
            ]
            let placed = SeenJob.all(try await session.query(Statements.placeDue.sql, owner + [.int8Array([later])]))
            #expect(Set(placed.map(\.id)) == [later, earlier])
            let places = Dictionary(uniqueKeysWithValues: placed.map { ($0.id, $0.place) })
            let first = try #require(places[earlier])
            let second = try #require(places[later])
            #expect(first > 0 && first < second)

            let claimed = try await session.query(
                "select job, verdict from trunkline.claim($1, $2, $3, $4, 30000, $5, '{}', '{}') order by job",
                owner + [.int8Array([later, earlier])]
            )
            #expect(claimed.text(0, 1) == "overtaken" && claimed.text(1, 1) == "claimed")
        }
    }
}
