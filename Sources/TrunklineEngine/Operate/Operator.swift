internal import PostgresDriver

/// Operates an install: what the commands call, and whatever else people operate it with. Owns connecting; what it can do
/// stands beside this file, a folder per noun: typed questions and answers, no SQL outside.
///
/// Connects at the first call. What changes much (`cancel`, `decide`, `retain`, …) goes on through deadlocks, locks and
/// restarts of the database; everything else fails with the first error, and its connection is made anew by the next call.
/// For one task at a time.
package final class Operator {
    let databaseURL: String
    /// Shown in the servers' lists of connections.
    let name: String
    let database: PatientDatabase
    private let silenceLimit: Duration?
    /// The connection whose schema was looked at.
    private var checked: PostgresBackend?
    private var isInTransaction = false

    /// - Parameters:
    ///   - name: shown in the servers' lists of connections.
    ///   - mayTakeLong: whether its questions may take longer than the server's limit for a statement, which means those of
    ///     a service.
    ///   - silenceLimit: a database that has not answered for longer is given up, for whoever has callers that wait. Nil: it is
    ///     waited for, as a person does who may press Ctrl-C.
    package init(databaseURL: String, name: String, mayTakeLong: Bool = false, silenceLimit: Duration? = nil) {
        self.databaseURL = databaseURL
        self.name = name
        self.silenceLimit = silenceLimit
        database = PatientDatabase(
            url: databaseURL,
            applicationName: name,
            settings: mayTakeLong ? PatientDatabase.withoutLimit : [],
            silenceLimit: silenceLimit
        )
    }

    /// Runs `body` and closes, whatever happens.
    package static func with<R>(
        databaseURL: String,
        name: String,
        mayTakeLong: Bool = false,
        _ body: (Operator) async throws -> R
    ) async throws -> R {
        let install = Operator(databaseURL: databaseURL, name: name, mayTakeLong: mayTakeLong)
        do {
            let value = try await body(install)
            await install.close()
            return value
        } catch {
            await install.close()
            throw error
        }
    }

    /// Ends the connection; the next call makes another.
    package func close() async { await database.close() }

    // MARK: For what stands beside

    /// A connection to a database whose schema is the one that this program needs.
    func session() async throws -> PostgresSession {
        let session = try await database.session()
        if checked != session.backend {
            try await Migrations.requireCurrent(session)
            checked = session.backend
        }
        return session
    }

    @discardableResult
    func query(_ sql: String, _ parameters: [PostgresParameter] = []) async throws -> PostgresRows {
        try await lettingGo { try await $0.query(sql, parameters) }
    }

    /// Statements of this operator inside `body` are in the transaction too.
    @discardableResult
    func transaction<R>(_ body: () async throws -> R) async throws -> R {
        try await lettingGo { session in
            isInTransaction = true
            defer { isInTransaction = false }
            return try await session.transaction { _ in try await body() }
        }
    }

    /// A lost connection is let go, so that the next call makes another; but not while a transaction has yet to learn of it.
    private func lettingGo<R>(_ body: (PostgresSession) async throws -> R) async throws -> R {
        let session = try await session()
        do {
            return try await body(session)
        } catch let error as PostgresError where error.isConnectionLost && !isInTransaction {
            await close()
            throw error
        }
    }

    /// For what goes on through deadlocks and restarts: a connection of its own, whose schema is looked at first.
    func patiently<R>(_ body: (PatientDatabase) async throws -> R) async throws -> R {
        let database = PatientDatabase(url: databaseURL, applicationName: name, silenceLimit: silenceLimit)
        do {
            try await database.perform { try await Migrations.requireCurrent($0) }
            let value = try await body(database)
            await database.close()
            return value
        } catch {
            await database.close()
            throw error
        }
    }
}
