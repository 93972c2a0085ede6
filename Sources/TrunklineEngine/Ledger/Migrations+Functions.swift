internal import PostgresDriver
internal import TrunklineCore

extension Migrations {
    /// One file of `migrations/functions/`.
    package struct Function: Sendable, Hashable {
        /// The function's name in the schema `trunkline`, and the file's.
        package let name: String
        /// `create or replace`, so that it may be applied over an older text.
        package let sql: String
        /// SHA-256 of the file in hexadecimal.
        package let checksum: String

        package init(name: String, sql: String) {
            self.name = name
            self.sql = sql
            checksum = Digest.hex(Digest.sha256(sql.utf8))
        }
    }

    /// All that this program knows, each after those that it needs.
    package static let functions: [Function] = EmbeddedMigrations.functions.map { Function(name: $0.name, sql: $0.sql) }

    /// Those that the database lacks or has with an older text, in the order of `known`.
    ///
    /// The database remembers every text that it ever had. What it had before what it has now is older, and what it never
    /// had is newer. So a function that goes back to an earlier text needs another word in its comment.
    static func pendingFunctions(_ session: PostgresSession, _ known: [Function]) async throws -> [Function] {
        let exists = try await session.query("select to_regclass('trunkline.schema_functions') is not null")
        guard exists.bool(0, 0) == true else { return known }
        let rows = try await session.query("select name, checksum from trunkline.schema_functions order by number")
        var texts: [String: [String]] = [:]
        for row in 0..<rows.count {
            guard let name = rows.text(row, 0), let checksum = rows.text(row, 1) else { continue }
            texts[name, default: []].append(checksum)
        }
        let newer =
            Set(texts.keys).subtracting(known.map(\.name))
            .union(known.filter { texts[$0.name]?.dropLast().contains($0.checksum) ?? false }.map(\.name))
        guard newer.isEmpty else { throw MigrationError.functionsNewer(newer.sorted()) }
        return known.filter { texts[$0.name]?.last != $0.checksum }
    }

    static func apply(_ function: Function, _ session: PostgresSession) async throws {
        try await session.script(function.sql)
        try await session.query(
            "insert into trunkline.schema_functions (name, checksum) values ($1, $2)",
            [.text(function.name), .text(function.checksum)]
        )
    }

    /// Other result columns PostgreSQL refuses by itself; other arguments make a second function of the name, and nobody
    /// would know which one a call means (decision 1).
    static func checkSignatures(of functions: [Function], _ session: PostgresSession) async throws {
        let twice = try await session.query(
            """
            select proname::text from pg_proc where pronamespace = 'trunkline'::regnamespace and proname = any ($1)
            group by proname having count(*) > 1 order by proname limit 1
            """,
            [.textArray(functions.map(\.name))]
        )
        if twice.count > 0, let name = twice.text(0, 0) { throw MigrationError.signatureChanged(name) }
    }
}
