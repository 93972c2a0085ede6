public import PostgresDriver
internal import TrunklineCore

/// Brings a database to the schema that this program knows: the files of `migrations/`, in order, each in its own
/// transaction. The files are inside the program (the plug-in `EmbedMigrations`), so that it works from any folder.
public enum Migrations {
    /// One file of `migrations/`, `0001_initial.sql`.
    public struct Migration: Sendable, Hashable {
        /// Counts from 1 without a gap.
        public let version: Int32
        /// The file's name without number and ending.
        public let name: String
        public let sql: String
        /// SHA-256 of the file in hexadecimal.
        public let checksum: String

        public init(version: Int32, name: String, sql: String) {
            self.version = version
            self.name = name
            self.sql = sql
            checksum = Digest.hex(Digest.sha256(sql.utf8))
        }
    }

    /// What ``migrate(_:shards:migrations:)`` has done.
    public struct Report: Sendable, Hashable {
        /// The migrations that were applied now, in order.
        public let applied: [Migration]
        /// The schema's version now.
        public let version: Int32
        /// The install's number of shards.
        public let shards: Int
        /// Days whose rows go to the default partition, with the reason.
        public let daysWithoutPartition: [String]
    }

    /// All that this program knows, in order.
    public static let all: [Migration] = EmbeddedMigrations.files.map { file in
        Migration(version: file.version, name: file.name, sql: file.sql)
    }

    /// The number of shards of an install that was not told another.
    public static let defaultShards = 64

    // MARK: For every program

    /// Refuses, in words, to work on a schema that is older or newer than this program. Call it before anything else
    /// touches the database.
    public static func requireCurrent(_ session: PostgresSession, migrations: [Migration] = all) async throws {
        let applied = try await self.applied(session)
        try check(applied, against: migrations)
        guard applied.count == migrations.count else {
            throw applied.isEmpty
                ? MigrationError.noSchema
                : MigrationError.schemaOlder(database: Int32(applied.count), program: Int32(migrations.count))
        }
    }

    /// The migrations that ``migrate(_:shards:migrations:)`` would apply. Changes nothing.
    public static func pending(_ session: PostgresSession, migrations: [Migration] = all) async throws -> [Migration] {
        let applied = try await self.applied(session)
        try check(applied, against: migrations)
        return Array(migrations.dropFirst(applied.count))
    }

    // MARK: For `trunkline migrate`

    /// Applies what is missing, makes the partitions of the coming week and the shards' rows.
    ///
    /// Safe to run at any time, by several at once: they wait for each other. A migration that fails leaves everything as
    /// it was before it.
    ///
    /// - Parameter shards: the number of shards of a new install; refused when another is stored. Nil: 64, or what is
    ///   stored.
    public static func migrate(
        _ session: PostgresSession,
        shards: Int? = nil,
        migrations: [Migration] = all
    ) async throws -> Report {
        if let shards { try Install.check(shards: shards) }
        // A database that cuts long statements short means those of a service, not a wait for another migration.
        try await session.query("set statement_timeout = 0")
        // Of the session, not of a transaction: it spans them all. It goes with the connection, whatever happens here.
        try await session.query("select pg_advisory_lock(hashtextextended('trunkline.migrate', 0))")
        do {
            let report = try await migrateLocked(session, shards: shards, migrations: migrations)
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
        migrations: [Migration]
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
            """
        )
        let pending = try await pending(session, migrations: migrations)
        // Before the first statement: a schema with another number of shards must not be migrated on the way to a refusal.
        let stored = try await Install.storedShards(session)
        if let stored, let shards, stored != shards {
            throw InstallError.shardsAreStored(stored: stored, asked: shards)
        }

        // Whoever waits for a lock on a table makes everybody behind it wait.
        try await session.query("set lock_timeout = '\(Int(lockTimeout / .milliseconds(1)))ms'")
        for migration in pending {
            do {
                try await patiently { try await apply(migration, session) }
            } catch let error as PostgresError where !error.isConnectionLost {
                throw MigrationError.failed(version: migration.version, name: migration.name, reason: error.description)
            }
        }
        let troubles = try await Partitions.make(session)
        let count = try await Install.ensureShards(session, shards ?? defaultShards)
        return Report(
            applied: pending,
            version: Int32(migrations.count),
            shards: count,
            daysWithoutPartition: troubles.map(\.description)
        )
    }

    private static let lockTimeout: Duration = .seconds(1)
    private static let lockTries = 20

    private static func apply(_ migration: Migration, _ session: PostgresSession) async throws {
        try await session.transaction { session in
            try await session.script(migration.sql)
            try await session.query(
                "insert into trunkline.schema_version (version, name, checksum) values ($1, $2, $3)",
                [.int4(migration.version), .text(migration.name), .text(migration.checksum)]
            )
        }
    }

    /// Again while a lock is not granted, with breaths in which the others go on.
    private static func patiently(_ body: () async throws -> Void) async throws {
        var tries = 1
        while true {
            do {
                return try await body()
            } catch let error as PostgresError where error.sqlState == "55P03" && tries < lockTries {
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
public enum MigrationError: ExplainedError, Hashable {
    case noSchema
    case schemaOlder(database: Int32, program: Int32)
    case schemaNewer(database: Int32, program: Int32)
    /// An applied migration is not the one that this program has under that number.
    case changed(version: Int32, name: String)
    case gap(missing: Int32)
    /// PostgreSQL refused the migration; nothing of it was kept.
    case failed(version: Int32, name: String, reason: String)

    public var isRefusal: Bool {
        if case .failed = self { false } else { true }
    }

    public var description: String {
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
            "migration \(version) (\(name)) failed and was rolled back: \(reason)"
        }
    }
}
