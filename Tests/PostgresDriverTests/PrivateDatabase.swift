import Foundation
import Glibc
import Testing

func port(of url: String) throws -> UInt16 {
    UInt16(try #require(URLComponents(string: url)?.port))
}

func password(of url: String) throws -> String { try #require(URLComponents(string: url)?.password) }

/// A server of the test's own, that it may kill and configure.
struct PrivateDatabase: Sendable {
    let folder: String
    let url: String

    /// `dev database COMMAND DIR`.
    func run(_ command: String) async throws { try await Self.run(command, folder) }

    fileprivate static func run(_ command: String, _ folder: String) async throws {
        let dev = try environment("TRUNKLINE_TEST_DEV")
        let status = await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: spawnAndWait([dev, "database", command, folder])) }
        }
        try #require(status == 0, "dev database \(command) failed")
    }
}

/// The exit status, or -1. Not Foundation's `Process`: it takes a child for running while a server that the child left
/// behind holds one of its descriptors.
private func spawnAndWait(_ arguments: [String]) -> Int32 {
    var files = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&files)
    defer { posix_spawn_file_actions_destroy(&files) }
    for descriptor in Int32(0)...2 {
        posix_spawn_file_actions_addopen(&files, descriptor, "/dev/null", O_RDWR, 0)
    }
    let strings = arguments.map { strdup($0) }
    defer { strings.forEach { free($0) } }
    var child = pid_t()
    guard posix_spawn(&child, arguments[0], &files, nil, strings + [nil], environ) == 0 else { return -1 }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 {
        if errno != EINTR { return -1 }
    }
    return status & 0x7F == 0 ? (status >> 8) & 0xFF : -1
}

func withPrivateDatabase(_ body: (PrivateDatabase) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "pgdriver-\(UInt64.random(in: 0 ... .max))")
        .path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    func remove() async throws {
        try await PrivateDatabase.run("remove", folder)
        try? FileManager.default.removeItem(atPath: folder)
    }
    do {
        try await PrivateDatabase.run("start", folder)
        let environment = try String(contentsOfFile: folder + "/env", encoding: .utf8)
        let prefix = "export TRUNKLINE_INSTANCE_DATABASE_URL="
        let line = try #require(environment.split(separator: "\n").first { $0.hasPrefix(prefix) })
        try await body(PrivateDatabase(folder: folder, url: String(line.dropFirst(prefix.count))))
    } catch {
        try await remove()
        throw error
    }
    try await remove()
}
