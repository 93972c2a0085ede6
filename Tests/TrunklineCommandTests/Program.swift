import Foundation
import TestKit

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

    /// Runs `body` with a folder that is removed afterwards.
    static func withFolder<R>(_ body: (URL) async throws -> R) async throws -> R {
        let folder = URL(fileURLWithPath: temporaryFolder("command"))
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try await body(folder)
    }
}
