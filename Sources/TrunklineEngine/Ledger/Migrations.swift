package import PostgresDriver
internal import TrunklineCore

/// Brings a database to the schema that this program knows: the files of `migrations/`, in order, and the functions of
/// `migrations/functions/` whose text has changed, all in one transaction. The files are inside the program (the plug-in
/// `EmbedMigrations`), so that it works from any folder.
package enum Migrations {
    /// One file of `migrations/`, `0001_initial.sql`.
    package struct Migration: Sendable, Hashable {
        /// Counts from 1 without a gap.
        package let version: Int32
        /// The file's name without number and ending.
        package let name: String
        package let sql: String
        /// SHA-256 of the file in hexadecimal.
        package let checksum: String

        package init(version: Int32, name: String, sql: String) {
            self.version = version
            self.name = name
            self.sql = sql
            checksum = Digest.hex(Digest.sha256(sql.utf8))
        }
    }

    /// What the database lacks.
    package struct Pending: Sendable, Hashable {
        /// In order.
        package let migrations: [Migration]
        /// New ones and those whose text has changed, in the order of their application: after what they need.
        package let functions: [Function]
        package var isEmpty: Bool { migrations.isEmpty && functions.isEmpty }
    }

    /// What ``migrate(_:shards:migrations:functions:)`` has done.
    package struct Report: Sendable, Hashable {
        /// The migrations that were applied now, in order.
        package let applied: [Migration]
        /// The functions that were made or replaced now.
        package let functions: [Function]
        /// The schema's version now.
        package let version: Int32
        /// The install's number of shards.
        package let shards: Int
        /// Days whose rows go to the default partition, with the reason.
        package let daysWithoutPartition: [String]
    }

    /// All that this program knows, in order.
    package static let all: [Migration] = EmbeddedMigrations.files.map { file in
        Migration(version: file.version, name: file.name, sql: file.sql)
    }

    /// The number of shards of an install that was not told another.
    package static let defaultShards = 64

    // MARK: For every program

    /// Refuses, in words, to work on a schema that is older or newer than this program. Call it before anything else
    /// touches the database.
    package static func requireCurrent(
        _ session: PostgresSession,
        migrations: [Migration] = all,
        functions: [Function] = functions
    ) async throws {
        let pending = try await pending(session, migrations: migrations, functions: functions)
        let missing = pending.migrations.count
        guard missing == 0 else {
            throw missing == migrations.count
                ? MigrationError.noSchema
                : .schemaOlder(database: Int32(migrations.count - missing), program: Int32(migrations.count))
        }
        guard pending.functions.isEmpty else { throw MigrationError.functionsOlder(pending.functions.map(\.name)) }
    }

    /// What ``migrate(_:shards:migrations:functions:)`` would apply. Changes nothing.
    package static func pending(
        _ session: PostgresSession,
        migrations: [Migration] = all,
        functions: [Function] = functions
    ) async throws -> Pending {
        let applied = try await self.applied(session)
        try check(applied, against: migrations)
        return Pending(
            migrations: Array(migrations.dropFirst(applied.count)),
            functions: try await pendingFunctions(session, functions)
        )
    }

    // MARK: For `trunkline migrate`

    /// Applies what is missing, makes the partitions of the coming week and the shards' rows.
    ///
    /// Safe to run at any time, by several at once: they wait for each other. A migration or function that fails leaves
    /// everything as it was before.
    ///
    /// - Parameter shards: the number of shards of a new install; refused when another is stored. Nil: 64, or what is
    ///   stored.
    package static func migrate(
        _ session: PostgresSession,
        shards: Int? = nil,
        migrations: [Migration] = all,
        functions: [Function] = functions
    ) async throws -> Report {
        if let shards { try Install.check(shards: shards) }
        // A database that cuts long statements short means those of a service, not a wait for another migration.
        try await session.query("set statement_timeout = 0")
        // Of the session, not of a transaction: it spans them all. It goes with the connection, whatever happens here.
        try await session.query("select pg_advisory_lock(hashtextextended('trunkline.migrate', 0))")
        do {
            let report = try await migrateLocked(session, shards: shards, migrations: migrations, functions: functions)
            try await session.query("select pg_advisory_unlock(hashtextextended('trunkline.migrate', 0))")
            return report
        } catch {
            _ = try? await session.query("select pg_advisory_unlock(hashtextextended('trunkline.migrate', 0))")
            throw error
        }
    }

    private static func migrateLocked(
        _ session: PostgresSession,
        shards: Int?,
        migrations: [Migration],
        functions: [Function]
    ) async throws -> Report {
        try await session.script(
            """
            create schema if not exists trunkline;
            create table if not exists trunkline.schema_version (
                version    int primary key,
                name       text not null,
                checksum   text not null,
                applied_at timestamptz not null default now()
            );
            -- Every text that a function ever had, by its SHA-256; the last one is in force.
            create table if not exists trunkline.schema_functions (
                number     bigint generated always as identity primary key,
                name       text not null,
                checksum   text not null,
                applied_at timestamptz not null default now(),
                unique (name, checksum)
            );
            """
        )
        let pending = try await pending(session, migrations: migrations, functions: functions)
        // Before the first statement: a schema with another number of shards must not be migrated on the way to a refusal.
        let stored = try await Install.storedShards(session)
        if let stored, let shards, stored != shards {
            throw InstallError.shardsAreStored(stored: stored, asked: shards)
        }

        // Whoever waits for a lock on a table makes everybody behind it wait.
        try await session.query("set lock_timeout = '\(Int(lockTimeout / .milliseconds(1)))ms'")
        try await patiently { try await apply(pending, session) }
        let troubles = try await Partitions.make(session)
        let count = try await Install.ensureShards(session, shards ?? defaultShards)
        return Report(
            applied: pending.migrations,
            functions: pending.functions,
            version: Int32(migrations.count),
            shards: count,
            daysWithoutPartition: troubles.map(\.description)
        )
    }

    private static let lockTimeout: Duration = .seconds(1)
    private static let lockTries = 20

    /// All of it or nothing: between a table and the functions that read it nobody sees the schema.
    private static func apply(_ pending: Pending, _ session: PostgresSession) async throws {
        guard !pending.isEmpty else { return }
        try await session.transaction { session in
            for migration in pending.migrations {
                try await describing({ .failed(version: migration.version, name: migration.name, reason: $0) }) {
                    try await session.script(migration.sql)
                    try await session.query(
                        "insert into trunkline.schema_version (version, name, checksum) values ($1, $2, $3)",
                        [.int4(migration.version), .text(migration.name), .text(migration.checksum)]
                    )
                }
            }
            for function in pending.functions {
                try await describing({ .functionFailed(function.name, reason: $0) }) {
                    try await apply(function, session)
                }
            }
            try await checkSignatures(of: pending.functions, session)
        }
    }

    /// Names what PostgreSQL refused. A lock that was not granted and a lost connection stay what they are.
    private static func describing(
        _ error: (String) -> MigrationError,
        _ body: () async throws -> Void
    ) async throws {
        do {
            try await body()
        } catch let cause as PostgresError where !cause.isConnectionLost && cause.sqlState != lockNotGranted {
            throw error(cause.description)
        }
    }

    private static let lockNotGranted = "55P03"

    /// Again while a lock is not granted, with breaths in which the others go on.
    private static func patiently(_ body: () async throws -> Void) async throws {
        var tries = 1
        while true {
            do {
                return try await body()
            } catch let error as PostgresError where error.sqlState == lockNotGranted && tries < lockTries {
                tries += 1
                try await Task.sleep(for: .milliseconds(Int.random(in: 200...1_000)))
            }
        }
    }

    // MARK: Inside

    private struct Applied {
        let version: Int32
        let name: String
        let checksum: String
    }

    /// What the database says has been applied, in order; empty without a schema.
    private static func applied(_ session: PostgresSession) async throws -> [Applied] {
        let exists = try await session.query("select to_regclass('trunkline.schema_version') is not null")
        guard exists.bool(0, 0) == true else { return [] }
        let rows = try await session.query(
            "select version, name, checksum from trunkline.schema_version order by version"
        )
        return (0..<rows.count).compactMap { row in
            guard let version = rows.int4(row, 0), let name = rows.text(row, 1), let checksum = rows.text(row, 2) else {
                return nil
            }
            return Applied(version: version, name: name, checksum: checksum)
        }
    }

    /// Whether the applied migrations are the first of those that the program knows.
    private static func check(_ applied: [Applied], against known: [Migration]) throws(MigrationError) {
        if let last = applied.last, last.version > Int32(known.count) {
            throw .schemaNewer(database: last.version, program: Int32(known.count))
        }
        for (index, applied) in applied.enumerated() {
            let expected = known[index]
            guard applied.version == expected.version else { throw .gap(missing: expected.version) }
            guard applied.checksum == expected.checksum else {
                throw .changed(version: applied.version, name: applied.name)
            }
        }
    }
}

/// Why a schema cannot be used or changed.
package enum MigrationError: ExplainedError, Hashable {
    case noSchema
    case schemaOlder(database: Int32, program: Int32)
    case schemaNewer(database: Int32, program: Int32)
    /// An applied migration is not the one that this program has under that number.
    case changed(version: Int32, name: String)
    case gap(missing: Int32)
    /// PostgreSQL refused the migration; nothing was kept.
    case failed(version: Int32, name: String, reason: String)
    /// The program has newer texts of these functions, or ones that the database lacks.
    case functionsOlder([String])
    /// The database has newer texts of these functions, or ones that the program does not know.
    case functionsNewer([String])
    /// PostgreSQL refused the function; nothing was kept.
    case functionFailed(String, reason: String)
    /// The function would stand beside the one of that name that the running programs call.
    case signatureChanged(String)

    package var isRefusal: Bool {
        switch self {
        case .failed, .functionFailed: false
        default: true
        }
    }

    package var description: String {
        switch self {
        case .noSchema: "the database has no Trunkline schema; run 'trunkline migrate'"
        case .schemaOlder(let database, let program):
            "the database's schema has version \(database) and this program needs \(program); run 'trunkline migrate'"
        case .schemaNewer(let database, let program):
            "the database's schema has version \(database), newer than this program, which knows \(program); use a newer trunkline"
        case .changed(let version, let name):
            "migration \(version) (\(name)) was applied to this database with other contents than this program has; "
                + "applied migrations are never edited: use the program that it was made with, or add a new migration"
        case .gap(let missing):
            "the database says that later migrations were applied, but not number \(missing); "
                + "trunkline.schema_version was changed by hand"
        case .failed(let version, let name, let reason):
            "migration \(version) (\(name)) failed and all was rolled back: \(reason)"
        case .functionsOlder(let names):
            "this program has newer functions than the database (\(Self.list(names))); run 'trunkline migrate'"
        case .functionsNewer(let names):
            "the database has newer functions than this program (\(Self.list(names))); use a newer trunkline"
        case .functionFailed(let name, let reason):
            "the function \(name) was refused and all was rolled back: \(reason)"
        case .signatureChanged(let name):
            "the function \(name) has other arguments than the one in the database, which running programs call; "
                + "a new signature gets a new name"
        }
    }

    private static func list(_ names: [String]) -> String {
        names.prefix(5).joined(separator: ", ") + (names.count > 5 ? " and \(names.count - 5) more" : "")
    }
}
