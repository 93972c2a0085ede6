import PostgresDriver
import TestKit
import Testing
import TrunklineCore

@testable import TrunklineEngine

@Suite struct PartitionTests {
    private static func drop(_ part: String, of table: String, _ session: PostgresSession) async throws {
        try await session.script("drop table trunkline.\(table)_\(part)")
    }

    private static func days(_ session: PostgresSession) async throws -> [String] {
        let rows = try await session.query(
            "select to_char((now() at time zone 'UTC')::date + g, 'YYYYMMDD') from generate_series(0, 7) g"
        )
        return (0..<rows.count).compactMap { rows.text($0, 0) }
    }

    private static func exists(_ name: String, _ session: PostgresSession) async throws -> Bool {
        try await session.query("select to_regclass('trunkline.' || $1) is not null", [.text(name)]).bool(0, 0) ?? false
    }

    @Test("rows of a day in the default partition move to the day's own")
    func strays() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let days = try await Self.days(session)
            for table in ["finished", "attempts"] { try await Self.drop(days[0], of: table, session) }
            let ids = try await database.accept((0..<20).map { try notice($0) }).compactMap(\.job)
            try await database.run(Array(ids[..<10]))
            try await database.run(Array(ids[10...]), outcome: "retry", reason: "http_500")
            #expect(try await database.count("finished_rest") == 10)
            #expect(try await database.count("attempts_rest") == 10)
            #expect(try await Partitions.make(session).isEmpty)
            #expect(try await database.count("finished_\(days[0])") == 10)
            #expect(try await database.count("attempts_\(days[0])") == 10)
            #expect(try await database.count("finished_rest") + database.count("attempts_rest") == 0)
            let report = try await Check.run(session)
            #expect(report.addsUp, "\(report.findings)")
        }
    }

    @Test("a day with too many rows in the default partition is named; the other days are made")
    func crowded() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let days = try await Self.days(session)
            for day in [days[0], days[1], days[7]] { try await Self.drop(day, of: "attempts", session) }
            try await session.query(
                """
                insert into trunkline.attempts (job, number, started_at, started_on, outcome)
                select g, 1, now(), (now() at time zone 'UTC')::date, 'retry' from generate_series(1, 10001) g
                """
            )
            let troubles = try await Partitions.make(session)
            #expect(troubles.count == 1 && troubles.first?.table == "attempts", "\(troubles)")
            #expect(try await !Self.exists("attempts_" + days[0], session))
            #expect(try await Self.exists("attempts_" + days[1], session))
            #expect(try await Self.exists("attempts_" + days[7], session))
            // As `migrate` says it.
            #expect(try await Migrations.migrate(session).daysWithoutPartition.count == 1)
        }
    }

    @Test("making a day locks neither the parent nor a day that is written to; a lock that is not granted is given up")
    func locks() async throws {
        try await AdminDatabase.with { database in
            let session = database.session
            let days = try await Self.days(session)
            for day in [days[1], days[3], days[5]] { try await Self.drop(day, of: "finished", session) }
            let modes = try await session.transaction { session in
                try await session.query("select trunkline.make_day('finished', (now() at time zone 'UTC')::date + 3)")
                let rows = try await session.query(
                    "select mode from pg_locks where pid = pg_backend_pid() and relation = 'trunkline.finished'::regclass"
                )
                return Set((0..<rows.count).compactMap { rows.text($0, 0) })
            }
            #expect(!modes.contains("AccessExclusiveLock") && modes.contains("ShareUpdateExclusiveLock"), "\(modes)")

            // Somebody reads the default partition and does not end; a settle comes by while the days are being made.
            try await PostgresSession.withSession(url: database.url, applicationName: "tests") { reader in
                try await reader.transaction { reader in
                    try await reader.query("select count(*) from trunkline.finished_rest")
                    async let troubles = PostgresSession.withSession(url: database.url, applicationName: "tests") {
                        try await Partitions.make($0)
                    }
                    let ids = try await database.accept((0..<5).map { try notice($0) }).compactMap(\.job)
                    for id in ids { try await database.run([id]) }
                    let named = try await troubles
                    #expect(named.count == 2, "\(named)")
                }
            }
            #expect(try await database.count("finished") == 5)
            #expect(try await Partitions.make(session).isEmpty)
            #expect(try await Check.run(session).addsUp)
        }
    }

    @Test("a migration that waits for a table lets the others pass")
    func migrationsWaitAside() async throws {
        try await AdminDatabase.with { database in
            let next = Migrations.Migration(
                version: Int32(Migrations.all.count + 1),
                name: "next",
                sql: "alter table trunkline.jobs add column something int;"
            )
            try await PostgresSession.withSession(url: database.url, applicationName: "tests") { reader in
                async let report = PostgresSession.withSession(url: database.url, applicationName: "tests") { session in
                    try await Migrations.migrate(session, migrations: Migrations.all + [next])
                }
                try await reader.transaction { reader in
                    try await reader.query("select count(*) from trunkline.jobs")
                    try await eventually("the migration waits for the table") {
                        try await database.session.query(
                            "select exists (select from pg_locks where relation = 'trunkline.jobs'::regclass and not granted)"
                        ).bool(0, 0) == true
                    }
                    // Ends although the reader goes on reading.
                    #expect(try await database.accept([notice(1)]).count == 1)
                }
                #expect(try await report.applied == [next])
            }
        }
    }
}
