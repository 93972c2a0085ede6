internal import Foundation

/// A PostgreSQL server of somebody's own, on a free port that it keeps over a restart, to be configured and crashed.
package struct PrivateDatabase: Sendable {
    /// Holds everything of it.
    package let folder: String
    private let dev: String

    /// - Parameters:
    ///   - folder: absolute; need not exist.
    ///   - dev: the script of the checkout.
    package init(folder: String, dev: String) {
        self.folder = folder
        self.dev = dev
    }

    /// Runs `body` with a server that has just been started, and takes it away.
    package static func with<Value>(_ body: (PrivateDatabase) async throws -> Value) async throws -> Value {
        let folder = temporaryFolder("database")
        let database = PrivateDatabase(folder: folder, dev: try TestEnvironment.dev())
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

    package func start() async throws { try await run("start") }
    package func stop() async throws { try await run("stop") }
    package func restart() async throws { try await run("restart") }
    /// SIGKILL to the server and all its children.
    package func crash() async throws { try await run("crash") }
    /// Makes a standby a primary.
    package func promote() async throws { try await run("promote") }
    /// Stops it and removes what it wrote.
    package func remove() async throws { try await run("remove") }

    /// Starts it as a standby of another, streaming from it under the name `standby`, asynchronously.
    package func start(asStandbyOf primary: PrivateDatabase) async throws {
        try await runDev(dev, ["database", "standby", folder, primary.folder])
    }

    private func run(_ action: String) async throws { try await runDev(dev, ["database", action, folder]) }

    /// Of its database `postgres`, for its administrator.
    package var url: String {
        get throws(KitError) { try variable("TRUNKLINE_INSTANCE_DATABASE_URL", inFile: folder + "/env") }
    }
}
