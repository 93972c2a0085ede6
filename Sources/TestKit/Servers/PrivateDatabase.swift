internal import Foundation
internal import Glibc

/// A PostgreSQL server of somebody's own, on a free port that it keeps over a restart, to be configured and crashed.
package struct PrivateDatabase: Sendable {
    /// Holds everything of it.
    package let folder: String
    let checkout: Checkout

    /// - Parameters:
    ///   - folder: absolute; need not exist.
    ///   - checkout: whose password it has, and who notes that it runs.
    package init(folder: String, checkout: Checkout) {
        self.folder = folder
        self.checkout = checkout
    }

    var record: ProcessRecord { ProcessRecord(folder + "/database.pid") }

    /// Runs `body` with a server that has just been started, and takes it away.
    package static func with<Value>(_ body: (PrivateDatabase) async throws -> Value) async throws -> Value {
        let folder = temporaryFolder("database")
        let database = PrivateDatabase(folder: folder, checkout: try Checkout.underTest())
        let result: Result<Value, any Error>
        do {
            try await database.start()
            result = .success(try await body(database))
        } catch {
            result = .failure(error)
        }
        try await database.remove()
        try? FileManager.default.removeItem(atPath: folder)
        return try result.get()
    }

    // MARK: Starting and ending

    /// Starts it, and writes `env` in its folder; one that runs already is waited for.
    package func start() async throws {
        try await launch()
        try ServerFolder(folder, checkout).writeEnvironment()
    }

    package func stop() async throws {
        try await shielded {
            try adoptOrClearPostmaster()
            // PostgreSQL's fast shutdown: ends sessions, keeps every commit.
            try await record.end(SIGINT, within: .seconds(60))
            checkout.forget(.database, folder)
        }
    }

    package func restart() async throws {
        try await stop()
        try await start()
    }

    /// SIGKILL to the server and all its children.
    package func crash() async throws {
        guard let pid = record.pid else { throw KitError("no database is running in \(folder)") }
        // Stopped first, so that it neither starts nor mourns a child while we look.
        Glibc.kill(pid, SIGSTOP)
        for child in Self.children(of: pid) { Glibc.kill(child, SIGKILL) }
        try await record.kill()
        try await eventually("the database's children to end", within: .seconds(10)) {
            PortLeases.held("database", of: folder).map(PortLeases.isListening) != true
        }
    }

    private static func children(of pid: Int32) -> [Int32] {
        names(in: "/proc").compactMap { Int32($0) }.filter { other in
            let stat = text(of: "/proc/\(other)/stat")
            guard let end = stat.lastIndex(of: ")") else { return false }
            let fields = stat[end...].dropFirst().split(separator: " ")
            return fields.count > 1 && fields[1] == "\(pid)"
        }
    }

    /// Stops it and removes what it wrote.
    package func remove() async throws {
        try await shielded {
            let home = home
            // PostgreSQL's immediate shutdown: nothing of it is to be kept. SIGKILL would leave shared memory behind.
            try await record.end(SIGQUIT, within: .seconds(10))
            try await stop()
            PortLeases.release(of: folder)
            removeFiles(home, folder + "/postgres", folder + "/initdb.log", folder + "/basebackup.log", folder + "/env")
            // Of the root's servers, when it was the last.
            if geteuid() == 0 { rmdir(URL(fileURLWithPath: home).deletingLastPathComponent().path) }
        }
    }

    /// Of its database `postgres`, for its administrator.
    package var url: String {
        get throws { try url(database: "postgres") }
    }

    func url(database: String) throws -> String {
        guard let port = PortLeases.held("database", of: folder) else {
            throw KitError("no database was started in \(folder)")
        }
        return "postgresql://postgres:\(try checkout.password())@127.0.0.1:\(port)/\(database)"
    }
}
