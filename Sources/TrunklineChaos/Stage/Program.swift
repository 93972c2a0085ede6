internal import Foundation

/// Runs the built program and the script `dev`, and gathers what they print.
struct Program: Sendable {
    struct Outcome: Sendable {
        let status: Int32
        let output: String
        let errors: String

        /// - Throws: ``ChaosError`` with what was said, when the status is not 0.
        @discardableResult
        func requireSuccess(_ what: String) throws(ChaosError) -> Outcome {
            guard status == 0 else { throw ChaosError("\(what): exit status \(status): \(errors)\(output)") }
            return self
        }
    }

    /// Where inputs and outputs lie while a command runs.
    let folder: String

    init(folder: String) throws {
        self.folder = folder
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    /// Runs a program to its end; one that takes longer than `limit` is killed, and its status says so.
    func run(
        _ path: String,
        _ arguments: [String],
        environment: [String: String],
        input: String? = nil,
        limit: Duration = .seconds(180)
    ) async throws -> Outcome {
        let name = folder + "/\(UInt64.random(in: 0 ... .max))"
        let (given, output, errors) = (name + ".in", name + ".out", name + ".err")
        defer {
            for file in [given, output, errors] { try? FileManager.default.removeItem(atPath: file) }
        }
        if let input { try Data(input.utf8).write(to: URL(fileURLWithPath: given)) }
        let child = try ChildProcess(
            path,
            arguments,
            environment: environment,
            input: input == nil ? nil : given,
            output: output,
            errors: errors
        )
        let deadline = ContinuousClock.now + limit
        while child.isRunning {
            // Not `Task.sleep`'s error: a cancelled run still waits for what it started.
            if ContinuousClock.now > deadline || Task.isCancelled { child.send(SIGKILL) }
            try? await Task.sleep(for: .milliseconds(5))
        }
        return Outcome(status: child.exitStatus ?? -1, output: Self.text(output), errors: Self.text(errors))
    }

    private static func text(_ path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }

    /// This process's environment without anything that would lead a command to another install.
    static var cleanEnvironment: [String: String] {
        ProcessInfo.processInfo.environment.filter { name, _ in
            !name.hasPrefix("TRUNKLINE_") || name.hasPrefix("TRUNKLINE_DEV_")
        }
    }
}
