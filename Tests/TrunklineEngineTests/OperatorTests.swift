import PostgresDriver
import TestKit
import Testing
import TrunklineCore

@testable import TrunklineEngine

@Suite("Whoever operates owns its connection")
struct OperatorTests {
    /// Ends the server process behind the operator's connection.
    private static func cut(_ install: Operator, _ database: AdminDatabase) async throws {
        let backend = try await install.session().backend
        try await database.session.query("select pg_terminate_backend($1)", [.int4(backend.pid)])
        try await eventually("the server process is gone") {
            let rows = try await database.session.query(
                "select count(*) from pg_stat_activity where pid = $1",
                [.int4(backend.pid)]
            )
            return rows.int8(0, 0) == 0
        }
    }

    private static func isLost(_ body: () async throws -> Void) async -> Bool {
        do {
            try await body()
            return false
        } catch {
            return (error as? PostgresError)?.isConnectionLost == true && Explanation(error).kind == .unreachable
        }
    }

    @Test("a database without this program's schema is refused at the first call, and never written to")
    func noSchema() async throws {
        try await TestServers.withDatabase { url in
            try await Operator.with(databaseURL: url, name: "tests") { install in
                await #expect(throws: MigrationError.noSchema) { try await install.allLines() }
                await #expect(throws: MigrationError.noSchema) { try await install.fleetStatus() }
                await #expect(throws: MigrationError.noSchema) {
                    try await install.cancel(KeyPattern("order:*")) { _ in }
                }
                // What makes the schema needs none.
                #expect(try await install.pendingMigrations().migrations.count == Migrations.all.count)
                let outcome = try await install.migrate(amqpURL: nil, shards: 4)
                #expect(outcome.database.shards == 4 && outcome.retired == nil)
                #expect(try await install.allLines().isEmpty)
            }
        }
    }

    @Test("a lost connection fails one call, and the next makes another")
    func lostConnection() async throws {
        try await AdminDatabase.with { database in
            let install = database.install
            #expect(try await install.allLines().count == 3)
            try await Self.cut(install, database)
            #expect(await Self.isLost { _ = try await install.allLines() })
            #expect(try await install.allLines().count == 3)
            await install.close()
        }
    }

    /// ```
    /// operator:  begin ─ insert ─        ─ insert (fails) ─ insert (fails too) ─ the transaction fails
    /// server:                   ─ killed ─
    /// ```
    @Test("a transaction that lost its connection does not go on with another")
    func lostTransaction() async throws {
        try await AdminDatabase.with { database in
            let install = database.install
            let insert = "insert into trunkline.settings (name, value) values ('test', 'x')"
            let isLost = await Self.isLost {
                try await install.transaction {
                    try await install.query(insert)
                    try await Self.cut(install, database)
                    #expect(await Self.isLost { try await install.query(insert) })
                    #expect(await Self.isLost { try await install.query(insert) })
                }
            }
            #expect(isLost)
            #expect(try await database.count("settings where name = 'test'") == 0)
            try await install.query(insert)
            #expect(try await database.count("settings where name = 'test'") == 1)
            await install.close()
        }
    }
}
