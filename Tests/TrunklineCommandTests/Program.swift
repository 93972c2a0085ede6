import Foundation
import TestKit
import Testing

/// The built program, run as a process.
enum Program {
    /// Runs the program to its end in a folder without a configuration, with nothing but `environment` around it.
    static func run(
        _ arguments: [String],
        environment: [String: String] = [:],
        input: String? = nil,
        folder: URL? = nil,
        whileRunning: ((Int32) async throws -> Void)? = nil
    ) async throws -> Command.Outcome {
        try await Command.run(
            try TestEnvironment.program(),
            arguments,
            environment: environment,
            folder: (folder ?? FileManager.default.temporaryDirectory).path,
            input: input ?? "",
            whileRunning: whileRunning
        )
    }

    static let masterKey = Data((1...32).map { UInt8($0) }).base64EncodedString()

    /// Runs a command, which must end with that status; returns what it says.
    typealias Say = (_ arguments: [String], _ status: Int32, _ input: String?) async throws -> String

    /// Runs `body` with a migrated database, and commands with that, a master key and `more` in their environment.
    static func withInstall<R>(_ more: [String: String], _ body: (Say) async throws -> R) async throws -> R {
        try await TestDatabase.with { url in
            let environment = ["TRUNKLINE_DATABASE_URL": url, "TRUNKLINE_MASTER_KEY": masterKey].merging(more) { $1 }
            func run(_ arguments: [String], _ status: Int32, _ input: String?) async throws -> String {
                let run = try await Program.run(arguments, environment: environment, input: input)
                #expect(run.status == status, "\(arguments): \(run.errors)\(run.output)")
                return run.output + run.errors
            }
            _ = try await run(["migrate", "--shards", "4"], 0, nil)
            return try await body(run)
        }
    }

    /// Runs `body` with a folder that is removed afterwards.
    static func withFolder<R>(_ body: (URL) async throws -> R) async throws -> R {
        let folder = URL(fileURLWithPath: temporaryFolder("command"))
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try await body(folder)
    }
}
