import PostgresDriver
import TestKit
import TrunklineEngine

/// A database or a virtual host of a test's own, on the servers that all tests share.
enum TestServers {
    /// Runs `body` with the URL of a new, empty database, which is dropped afterwards.
    static func withDatabase<R>(_ body: (String) async throws -> R) async throws -> R {
        try await TestDatabase.with(body)
    }

    /// Runs `body` with a session on a new, empty database.
    static func withSession<R>(_ body: (PostgresSession) async throws -> R) async throws -> R {
        try await withDatabase { url in
            try await PostgresSession.withSession(url: url, applicationName: "tests", body)
        }
    }

    /// Of sixteen shards, with nothing in it.
    private static let migrated = TemplateDatabase { url in
        try await PostgresSession.withSession(url: url, applicationName: "tests") { session in
            _ = try await Migrations.migrate(session, shards: 16)
        }
    }

    /// Runs `body` with the URL of a new database with everything that the migrations make.
    static func withMigratedDatabase<R>(_ body: (String) async throws -> R) async throws -> R {
        try await TestDatabase.with(template: try await migrated.name(), body)
    }

    /// Runs `body` with the URL of a new virtual host, which is deleted afterwards.
    static func withVirtualHost<R>(_ body: (String) async throws -> R) async throws -> R {
        try await VirtualHost.with(body)
    }

    static func setPolicy(url: String, pattern: String, definition: String) async throws {
        guard let name = url.split(separator: "/").last else { throw KitError("no virtual host in the URL") }
        try await BrokerControl.shared().setPolicy(pattern: pattern, definition: definition, of: String(name))
    }
}
