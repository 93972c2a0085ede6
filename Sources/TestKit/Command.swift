internal import Foundation
internal import Glibc

/// A program that is run to its end, with what it said.
package enum Command {
    package struct Outcome: Sendable {
        /// See ``ChildProcess/exitStatus``.
        package let status: Int32
        package let output: String
        package let errors: String

        /// - Throws: ``KitError`` with what was said, when the status is not 0.
        @discardableResult
        package func requireSuccess(_ what: String = "a command") throws(KitError) -> Outcome {
            guard status == 0 else {
                throw KitError("\(what): ended with \(ChildProcess.words(for: status)): \(errors)\(output)")
            }
            return self
        }
    }

    /// Runs a program to its end; one that takes longer than `limit`, or whose task is cancelled, is killed, and its status
    /// says so.
    ///
    /// - Parameters:
    ///   - environment: the whole of it; nil: this process's.
    ///   - folder: its working directory; nil: this process's.
    ///   - input: what it reads from its standard input.
    ///   - whileRunning: gets the process's id when it has been started. Its standard input stays open, and empty, until this
    ///     returns; `input` may hold 64 KiB then.
    package static func run(
        _ path: String,
        _ arguments: [String],
        environment: [String: String]? = nil,
        folder: String? = nil,
        input: String? = nil,
        limit: Duration = .seconds(180),
        whileRunning: ((Int32) async throws -> Void)? = nil
    ) async throws -> Outcome {
        let files = FileManager.default.temporaryDirectory.path + "/" + freshName("run")
        try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: files) }
        let (given, output, errors) = (files + "/in", files + "/out", files + "/err")
        let pipe = try whileRunning.map { _ in try NamedPipe(given) }
        if pipe == nil, let input { try Data(input.utf8).write(to: URL(fileURLWithPath: given)) }
        let child = try ChildProcess(
            path,
            arguments,
            environment: environment,
            folder: folder,
            input: pipe == nil && input == nil ? nil : given,
            output: output,
            errors: errors
        )
        do {
            try await whileRunning?(child.pid)
            if let input { pipe?.write(input) }
        } catch {
            child.send(SIGKILL)
            await child.end()
            throw error
        }
        pipe?.close()
        let status = await withTaskCancellationHandler {
            let limiter = Task {
                try await Task.sleep(for: limit)
                child.send(SIGKILL)
            }
            defer { limiter.cancel() }
            return await child.end()
        } onCancel: {
            child.send(SIGKILL)
        }
        return Outcome(status: status, output: text(of: output), errors: text(of: errors))
    }
}

/// What a file holds; empty when there is none. Read to its end: the kernel's tables say that they have no size, and give a page
/// at a time, of which Foundation takes the first.
package func bytes(of path: String) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return [] }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(descriptor, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return bytes }
        bytes += buffer[..<count]
    }
}

/// The same as text.
package func text(of path: String) -> String { String(decoding: bytes(of: path), as: UTF8.self) }

/// A name that no other test and no earlier run has: lower-case letters, digits and hyphens.
package func freshName(_ purpose: String) -> String {
    "trunkline-\(purpose)-" + String(UInt64.random(in: 0 ... .max), radix: 36)
}
