internal import CPlatform
internal import Foundation
internal import Synchronization

/// A database of one test, on the server that all tests of a run share or on another.
///
/// Made and dropped by plain libpq: the PostgreSQL driver's own tests need it, too.
package struct TestDatabase: Sendable {
    package let name: String
    /// Under which the server's administrator reaches it.
    package let url: String
    private let server: String

    /// - Parameters:
    ///   - name: nil: one that nobody else has.
    ///   - server: the URL of some database of the server; nil: of the server that all tests share.
    ///   - template: the name of a database to copy, to which nobody is connected; nil: an empty one.
    package static func make(
        named name: String? = nil,
        on server: String? = nil,
        template: String? = nil
    ) async throws -> TestDatabase {
        let server = try server ?? TestEnvironment.databaseURL()
        let name = name ?? "test_" + String(UInt64.random(in: 0 ... .max), radix: 36)
        try await execute("create database \(name)" + (template.map { " template \($0)" } ?? ""), on: server)
        return TestDatabase(name: name, url: try TestEnvironment.url(server, naming: name), server: server)
    }

    package func drop() async throws {
        try await Self.execute("drop database if exists \(name) with (force)", on: server)
    }

    /// Runs `body` with the URL of a database that is dropped after it.
    package static func with<Value>(
        template: String? = nil,
        _ body: (String) async throws -> Value
    ) async throws -> Value {
        let database = try await make(template: template)
        let value: Value
        do {
            value = try await body(database.url)
        } catch {
            // What the body threw matters more.
            try? await database.drop()
            throw error
        }
        try await database.drop()
        return value
    }

    /// Makes a database, unless there is one of that name.
    package static func makeWhereMissing(_ name: String, on server: String) async throws {
        try await execute(["create database \(name)"], ignoring: "42P04", on: server)
    }

    /// Executes statements, each in a transaction of its own, as the server's administrator.
    package static func execute(_ statements: String..., on server: String) async throws {
        try await execute(statements, ignoring: nil, on: server)
    }

    /// - Parameter state: an SQLSTATE that is no failure.
    private static func execute(_ statements: [String], ignoring state: String?, on server: String) async throws {
        // On a thread of its own: the few that tasks share must not be blocked.
        let result: Result<Void, KitError> = await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(
                    returning: Result { () throws(KitError) in try blocking(statements, state, server) }
                )
            }
        }
        try result.get()
    }

    private static func blocking(_ statements: [String], _ ignored: String?, _ server: String) throws(KitError) {
        let connection = PQconnectdb(server)
        defer { PQfinish(connection) }
        func refusal() -> KitError { KitError("PostgreSQL: " + String(cString: PQerrorMessage(connection))) }
        guard PQstatus(connection) == CONNECTION_OK else { throw refusal() }
        tl_pg_silence(connection)
        // Making and dropping databases may wait for a checkpoint: the servers' 5 s are not meant for it.
        for statement in ["set statement_timeout = 0"] + statements {
            let result = PQexec(connection, statement)
            defer { PQclear(result) }
            if [PGRES_COMMAND_OK, PGRES_TUPLES_OK].contains(PQresultStatus(result)) { continue }
            let state = PQresultErrorField(result, Int32(tl_pg_sqlstate)).map { String(cString: $0) }
            guard let ignored, state == ignored else { throw refusal() }
        }
    }
}

/// A database of the shared server that others are copied from: made when the first test asks for it, once per process.
package final class TemplateDatabase: Sendable {
    private let prepare: @Sendable (_ url: String) async throws -> Void
    private let making = Mutex<Task<String, any Error>?>(nil)

    /// - Parameter prepare: fills it, and leaves no connection behind.
    package init(_ prepare: @escaping @Sendable (_ url: String) async throws -> Void) { self.prepare = prepare }

    /// The name of the database, filled.
    package func name() async throws -> String {
        let task = making.withLock { making in
            let task = making ?? Task { try await self.make() }
            making = task
            return task
        }
        return try await task.value
    }

    private func make() async throws -> String {
        let server = try TestEnvironment.databaseURL()
        let name = "template_" + String(UInt64.random(in: 0 ... .max), radix: 36)
        try await TestDatabase.execute("create database \(name)", on: server)
        try await prepare(try TestEnvironment.url(server, naming: name))
        // A vacuum of its own accord would be a connection, and keep others from copying.
        try await TestDatabase.execute("alter database \(name) allow_connections false", on: server)
        return name
    }
}
