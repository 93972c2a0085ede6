import Foundation
import PostgresDriver
import RabbitDriver
import Testing
import TrunklineEngine

/// The private servers of `./dev`, one database or virtual host per test. Without them a test fails; it never skips.
enum TestServers {
    struct Missing: Error, CustomStringConvertible {
        let description: String
    }

    static func variable(_ name: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[name], !value.isEmpty else {
            throw Missing(description: "\(name) is not set: run the tests with './dev test'")
        }
        return value
    }

    /// Runs `body` with the URL of a new, empty database, which is dropped afterwards.
    static func withDatabase<R>(_ body: (String) async throws -> R) async throws -> R {
        let administrator = try variable("TRUNKLINE_TEST_DATABASE_URL")
        let name = "test_" + random()
        try await PostgresSession.withSession(url: administrator, applicationName: "tests") { session in
            try await session.script("create database \(name)")
        }
        guard let slash = administrator.lastIndex(of: "/") else { throw Missing(description: "no database in the URL") }
        let query = administrator[slash...].firstIndex(of: "?").map { String(administrator[$0...]) } ?? ""
        let result: Result<R, any Error>
        do {
            result = .success(try await body(administrator[..<slash] + "/" + name + query))
        } catch {
            result = .failure(error)
        }
        try await PostgresSession.withSession(url: administrator, applicationName: "tests") { session in
            try await session.script("drop database \(name) with (force)")
        }
        return try result.get()
    }

    /// Runs `body` with a session on a new, empty database.
    static func withSession<R>(_ body: (PostgresSession) async throws -> R) async throws -> R {
        try await withDatabase { url in
            try await PostgresSession.withSession(url: url, applicationName: "tests", body)
        }
    }

    /// Runs `body` with the URL of a new virtual host, which is deleted afterwards.
    static func withVirtualHost<R>(_ body: (String) async throws -> R) async throws -> R {
        let url = try variable("TRUNKLINE_TEST_AMQP_URL")
        let name = "test-" + random()
        try await rabbitmqctl("add_vhost", name)
        let result: Result<R, any Error>
        do {
            try await rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
            guard let slash = url.lastIndex(of: "/") else { throw Missing(description: "no virtual host in the URL") }
            result = .success(try await body(url[...slash] + name))
        } catch {
            result = .failure(error)
        }
        try await rabbitmqctl("delete_vhost", name)
        return try result.get()
    }

    static func setPolicy(url: String, pattern: String, definition: String) async throws {
        let name = url[(url.lastIndex(of: "/").map { url.index(after: $0) } ?? url.startIndex)...]
        try await rabbitmqctl("set_policy", "-p", String(name), "--apply-to", "queues", "test", pattern, definition)
    }

    static func rabbitmqctl(_ arguments: String...) async throws {
        // On a thread of its own: the few that tasks share must not be blocked.
        let result: Result<Void, any Error> = await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: Result { try runRabbitmqctl(arguments) }) }
        }
        try result.get()
    }

    private static func runRabbitmqctl(_ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(filePath: try variable("TRUNKLINE_TEST_RABBITMQCTL"))
        process.arguments = ["--quiet"] + arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let words = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Missing(
                description: "rabbitmqctl \(arguments.first ?? "") failed: \(String(decoding: words, as: UTF8.self))"
            )
        }
    }

    static func random() -> String {
        String((0..<12).map { _ in "abcdefghijklmnopqrstuvwxyz".randomElement() ?? "a" })
    }
}

/// Polls until `condition` holds; records an issue with `name` when it does not within the deadline.
func eventually(_ name: String, within limit: Duration = .seconds(20), _ condition: () async throws -> Bool)
    async throws
{
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else {
            Issue.record("never happened: \(name)")
            return
        }
        try await Task.sleep(for: .milliseconds(20))
    }
}
