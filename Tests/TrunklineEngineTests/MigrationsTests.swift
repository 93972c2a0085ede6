import Foundation
import PostgresDriver
import Testing
import TrunklineCore
import TrunklineEngine

@Suite struct MigrationsTests {
    private static let made = [
        Migrations.Migration(
            version: 1,
            name: "one",
            sql: "create table trunkline.one (id int); insert into trunkline.one values (1);"
        ),
        Migrations.Migration(version: 2, name: "two", sql: "create table trunkline.two (id int);"),
    ]

    @Test func theFilesOfTheFolderAreInTheProgram() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
            .appending(path: "migrations")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".sql") }
            .sorted()
        #expect(files.count == Migrations.all.count)
        for (file, migration) in zip(files, Migrations.all) {
            #expect(try String(contentsOf: folder.appending(path: file), encoding: .utf8) == migration.sql)
            #expect(file == String(format: "%04d_", migration.version) + migration.name + ".sql")
        }
        #expect(Migrations.all.map(\.version) == Migrations.all.indices.map { Int32($0 + 1) })
        let functions = try FileManager.default.contentsOfDirectory(atPath: folder.appending(path: "functions").path)
            .filter { $0.hasSuffix(".sql") }
        #expect(functions.sorted() == Migrations.functions.map { $0.name + ".sql" }.sorted())
        for function in Migrations.functions {
            let file = folder.appending(path: "functions/\(function.name).sql")
            #expect(try String(contentsOf: file, encoding: .utf8) == function.sql)
        }
    }

    @Test("a function fits on a page, says at its head what it locks, and comes after what it needs")
    func functionsHaveHeads() throws {
        var there: Set<Substring> = []
        for function in Migrations.functions {
            let lines = function.sql.split(separator: "\n", omittingEmptySubsequences: false)
            #expect(lines.count <= 121, "\(function.name) has \(lines.count - 1) lines")
            let head = lines.prefix { $0.hasPrefix("--") }
            #expect(head.count >= 3, "\(function.name) says nothing of itself")
            #expect(head.contains { $0.hasPrefix("-- Locks: ") }, "\(function.name) does not say what it locks")
            let yieldsWords = function.sql.contains("verdict text")
            #expect(
                !yieldsWords || head.contains { $0.hasPrefix("-- Verdicts: ") },
                "\(function.name) names no verdicts"
            )
            let needs = try #require(head.first { $0.hasPrefix("-- Needs: ") }).dropFirst(10).dropLast()
            if needs != "nothing" {
                for need in needs.split(separator: ", ") {
                    #expect(there.contains(need), "\(function.name) is applied before \(need)")
                }
            }
            there.insert(Substring(function.name))
        }
        // What was written more than once, or stands in the lanes' rows.
        for (words, count) in [
            ("% p_shard_count", 1), ("interval '12 hours'", 0), ("insert into trunkline.finished ", 1),
        ] {
            let found = Migrations.functions.map { $0.sql.components(separatedBy: words).count - 1 }.reduce(0, +)
            #expect(found == count, "\(words) stands \(found) times")
        }
    }

    @Test("a reason that a function writes is one of the closed list")
    func reasonsAreKnown() {
        var words: Set<String> = []
        for function in Migrations.functions {
            for match in function.sql.matches(of: /(?:finish\([^;]*?'[a-z_]+',\s*|reason = )'([a-z_]+)'/) {
                words.insert(String(match.1))
            }
        }
        #expect(words.isSuperset(of: ["newer_fact", "send_before_passed", "cancelled", "said_sent", "said_not_sent"]))
        for word in words { #expect(Reason(rawValue: word) != nil, "\(word) is no reason") }
    }

    private static func function(_ body: String, columns: String = "int") -> Migrations.Function {
        Migrations.Function(
            name: "of_the_test",
            sql: "create or replace function trunkline.of_the_test() returns \(columns) language sql as $$ \(body) $$;"
        )
    }

    @Test func aFunctionIsAppliedAgainWhenItsTextHasChanged() async throws {
        try await TestServers.withSession { session in
            let known = Migrations.functions
            func migrate(_ more: Migrations.Function...) async throws -> [String] {
                try await Migrations.migrate(session, shards: 4, functions: known + more).functions.map(\.name)
            }
            func answer() async throws -> Int32? {
                try await session.query("select trunkline.of_the_test()").int4(0, 0)
            }
            let (first, second) = (Self.function("select 1"), Self.function("select 2"))
            let made = try await migrate(first)
            #expect(made == known.map(\.name) + ["of_the_test"])
            #expect(try await migrate(first).isEmpty)
            #expect(try await answer() == 1)
            #expect(try await Migrations.pending(session, functions: known + [second]).functions == [second])
            await #expect(throws: MigrationError.functionsOlder(["of_the_test"])) {
                try await Migrations.requireCurrent(session, functions: known + [second])
            }
            #expect(try await migrate(second) == ["of_the_test"])
            #expect(try await answer() == 2)
            // Who has the older text, or none, is the older program.
            let newer = MigrationError.functionsNewer(["of_the_test"])
            #expect("\(newer)".contains("use a newer trunkline"))
            await #expect(throws: newer) { try await Migrations.requireCurrent(session, functions: known + [first]) }
            await #expect(throws: newer) { try await migrate(first) }
            await #expect(throws: newer) { try await Migrations.requireCurrent(session) }
            await #expect(throws: newer) { try await Migrations.pending(session) }
            #expect(try await answer() == 2)
        }
    }

    @Test func aFunctionKeepsItsSignature() async throws {
        try await TestServers.withSession { session in
            let known = Migrations.functions
            func migrate(_ function: Migrations.Function, _ migrations: [Migrations.Migration] = []) async throws {
                _ = try await Migrations.migrate(
                    session,
                    shards: 4,
                    migrations: Migrations.all + migrations,
                    functions: known + [function]
                )
            }
            try await migrate(Self.function("select 1"))
            let other = Migrations.Function(
                name: "of_the_test",
                sql:
                    "create or replace function trunkline.of_the_test(p int) returns int language sql as $$ select p $$;"
            )
            await #expect(throws: MigrationError.signatureChanged("of_the_test")) { try await migrate(other) }
            // What PostgreSQL refuses takes everything with it, also the migration before it.
            let next = Migrations.Migration(
                version: Int32(Migrations.all.count + 1),
                name: "next",
                sql: "create table trunkline.half (id int)"
            )
            let columns = Self.function("select 1::bigint", columns: "bigint")
            let error = await #expect(throws: MigrationError.self) { try await migrate(columns, [next]) }
            #expect(error?.description.contains("function of_the_test was refused") == true)
            #expect(try await session.query("select to_regclass('trunkline.half') is null").bool(0, 0) == true)
            #expect(try await session.query("select trunkline.of_the_test()").int4(0, 0) == 1)
            try await Migrations.requireCurrent(session, functions: known + [Self.function("select 1")])
        }
    }

    @Test func anEmptyDatabaseBecomesAnInstall() async throws {
        try await TestServers.withSession { session in
            let report = try await Migrations.migrate(session)
            #expect(report.applied == Migrations.all && report.functions == Migrations.functions)
            #expect(report.shards == Migrations.defaultShards)
            let shards = try await session.query("select count(*), min(shard), max(shard) from trunkline.shards")
            #expect(shards.int8(0, 0) == 64 && shards.int4(0, 1) == 0 && shards.int4(0, 2) == 63)
            let partitions = try await session.query(
                "select count(*) from pg_tables where schemaname = 'trunkline' and tablename ~ '^(finished|attempts)_[0-9]{8}$'"
            )
            #expect(partitions.int8(0, 0) == 16)
            try await Migrations.requireCurrent(session)
            #expect(try await Install.shards(session) == 64)
        }
    }

    @Test func runningItAgainChangesNothing() async throws {
        try await TestServers.withSession { session in
            _ = try await Migrations.migrate(session, shards: 16)
            let report = try await Migrations.migrate(session)
            #expect(report.applied.isEmpty && report.functions.isEmpty)
            #expect(report.shards == 16)
            #expect(try await Migrations.migrate(session, shards: 16).shards == 16)
            await #expect(throws: InstallError.shardsAreStored(stored: 16, asked: 32)) {
                try await Migrations.migrate(session, shards: 32)
            }
            await #expect(throws: InstallError.shardsOutOfRange(0)) { try await Migrations.migrate(session, shards: 0) }
        }
    }

    @Test func severalAtOnceWaitForEachOther() async throws {
        try await TestServers.withDatabase { url in
            let applied = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
                            try await Migrations.migrate(session, shards: 4).applied.count
                        }
                    }
                }
                return try await group.reduce(0, +)
            }
            #expect(applied == Migrations.all.count)
        }
    }

    @Test func aFailedMigrationLeavesNothingOfItself() async throws {
        try await TestServers.withSession { session in
            _ = try await Migrations.migrate(session, shards: 4)
            let broken = Migrations.Migration(
                version: Int32(Migrations.all.count + 1),
                name: "broken",
                sql: "create table trunkline.half (id int); select 1/0;"
            )
            await #expect(throws: MigrationError.self) {
                try await Migrations.migrate(session, migrations: Migrations.all + [broken])
            }
            let half = try await session.query("select to_regclass('trunkline.half') is null")
            #expect(half.bool(0, 0) == true)
            // The lock is free again and the repaired migration goes through.
            let repaired = Migrations.Migration(
                version: broken.version,
                name: "broken",
                sql: "create table trunkline.half (id int);"
            )
            #expect(
                try await Migrations.migrate(session, migrations: Migrations.all + [repaired]).applied == [repaired]
            )
        }
    }

    @Test func aDryRunSaysWhatWouldRunAndChangesNothing() async throws {
        try await TestServers.withSession { session in
            let pending = try await Migrations.pending(session)
            #expect(pending.migrations == Migrations.all && pending.functions == Migrations.functions)
            let schemas = try await session.query("select count(*) from pg_namespace where nspname = 'trunkline'")
            #expect(schemas.int8(0, 0) == 0)
            _ = try await Migrations.migrate(session, shards: 4)
            #expect(try await Migrations.pending(session).isEmpty)
            #expect(
                try await Migrations.pending(session, migrations: Migrations.all + [Self.made[1]]).migrations
                    == [Self.made[1]]
            )
        }
    }

    @Test func anotherSchemaThanTheProgramsIsRefused() async throws {
        try await TestServers.withSession { session in
            await #expect(throws: MigrationError.noSchema) { try await Migrations.requireCurrent(session) }
            _ = try await Migrations.migrate(session, shards: 4)
            let count = Int32(Migrations.all.count)
            let next = Migrations.Migration(version: count + 1, name: "next", sql: "select 1")

            await #expect(throws: MigrationError.schemaOlder(database: count, program: count + 1)) {
                try await Migrations.requireCurrent(session, migrations: Migrations.all + [next])
            }
            _ = try await Migrations.migrate(session, migrations: Migrations.all + [next])
            let newer = MigrationError.schemaNewer(database: count + 1, program: count)
            await #expect(throws: newer) { try await Migrations.requireCurrent(session) }
            await #expect(throws: newer) { try await Migrations.migrate(session) }
            await #expect(throws: newer) { try await Migrations.pending(session) }
        }
    }

    @Test func anEditedMigrationIsRefused() async throws {
        try await TestServers.withSession { session in
            _ = try await Migrations.migrate(session, shards: 4)
            let first = try #require(Migrations.all.first)
            let edited =
                [Migrations.Migration(version: 1, name: first.name, sql: first.sql + "\n-- edited")]
                + Migrations.all.dropFirst()
            let changed = MigrationError.changed(version: 1, name: first.name)
            await #expect(throws: changed) { try await Migrations.requireCurrent(session, migrations: edited) }
            await #expect(throws: changed) { try await Migrations.migrate(session, migrations: edited) }
        }
    }

    @Test func theNumberOfShardsChangesOnlyWithoutWorkers() async throws {
        try await TestServers.withSession { session in
            _ = try await Migrations.migrate(session, shards: 8)
            try await session.query(
                "insert into trunkline.workers (boot, host, pid, version) values (gen_random_uuid(), 'here', 42, '1')"
            )
            try await session.query(
                "update trunkline.shards set owner = (select boot from trunkline.workers), fence = 3 where shard = 2"
            )
            await #expect(throws: InstallError.workersAlive(["here (process 42)"])) {
                try await Install.changeShards(session, to: 16)
            }
            #expect(try await Install.shards(session) == 8)

            try await session.query("update trunkline.workers set renewed_at = now() - interval '11 seconds'")
            #expect(try await Install.changeShards(session, to: 16) == 8)
            let grown = try await session.query("select count(*), count(owner), max(fence) from trunkline.shards")
            #expect(grown.int8(0, 0) == 16 && grown.int8(0, 1) == 0 && grown.int8(0, 2) == 4)

            try await Install.changeShards(session, to: 3)
            let shrunk = try await session.query("select count(*), max(shard) from trunkline.shards")
            #expect(shrunk.int8(0, 0) == 3 && shrunk.int4(0, 1) == 2)
            #expect(try await Install.shards(session) == 3)
        }
    }
}
