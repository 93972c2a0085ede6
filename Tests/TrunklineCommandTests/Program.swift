import Foundation
import Testing

/// The built program, run as a process.
enum Program {
    struct Missing: Error, CustomStringConvertible {
        let description: String
    }

    struct Run: Sendable {
        let status: Int32
        let output: String
        let errors: String
    }

    static func variable(_ name: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[name], !value.isEmpty else {
            throw Missing(description: "\(name) is not set: run the tests with './dev test'")
        }
        return value
    }

    /// `TRUNKLINE_BINARY`, else the program that was built beside the tests.
    static func path() throws -> String {
        if let given = ProcessInfo.processInfo.environment["TRUNKLINE_BINARY"], !given.isEmpty { return given }
        var folder = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        for _ in 0..<6 {
            let candidate = folder.appending(path: "trunkline").path
            var isFolder: ObjCBool = false
            if FileManager.default.fileExists(atPath: candidate, isDirectory: &isFolder), !isFolder.boolValue {
                return candidate
            }
            folder.deleteLastPathComponent()
        }
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let built = root.appending(path: ".build/debug/trunkline").path
        guard FileManager.default.isExecutableFile(atPath: built) else {
            throw Missing(description: "the program is not built: 'swift build', or name it in TRUNKLINE_BINARY")
        }
        return built
    }

    /// Runs the program to its end in an empty folder with nothing but `environment` around it.
    static func run(
        _ arguments: [String],
        environment: [String: String] = [:],
        input: String? = nil,
        folder: URL? = nil,
        whileRunning: (Int32) async throws -> Void = { _ in }
    ) async throws -> Run {
        let process = Process()
        process.executableURL = URL(filePath: try path())
        process.arguments = arguments
        process.environment = environment
        process.currentDirectoryURL = folder ?? FileManager.default.temporaryDirectory
        let (output, errors, standardInput) = (Pipe(), Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        process.standardInput = standardInput
        try process.run()
        async let said = blocking { output.fileHandleForReading.readDataToEndOfFile() }
        async let complained = blocking { errors.fileHandleForReading.readDataToEndOfFile() }
        try await whileRunning(process.processIdentifier)
        if let input { try standardInput.fileHandleForWriting.write(contentsOf: Data(input.utf8)) }
        try standardInput.fileHandleForWriting.close()
        let texts = await (said, complained)
        await blocking { process.waitUntilExit() }
        // A crash is told apart from every exit code.
        let status =
            process.terminationReason == .uncaughtSignal ? -process.terminationStatus : process.terminationStatus
        return Run(
            status: status,
            output: String(decoding: texts.0, as: UTF8.self),
            errors: String(decoding: texts.1, as: UTF8.self)
        )
    }

    /// Runs `body` on a thread of its own: the few that tasks share must not be blocked, or nobody is left to end the wait.
    static func blocking<R: Sendable>(_ body: @escaping @Sendable () -> R) async -> R {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: body()) }
        }
    }

    /// Runs `body` with a folder that is removed afterwards.
    static func withFolder<R>(_ body: (URL) async throws -> R) async throws -> R {
        let folder = FileManager.default.temporaryDirectory.appending(path: "trunkline-" + random())
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try await body(folder)
    }

    static func random() -> String {
        String((0..<12).map { _ in "abcdefghijklmnopqrstuvwxyz".randomElement() ?? "a" })
    }
}
