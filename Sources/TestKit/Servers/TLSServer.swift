internal import Foundation
internal import Glibc

/// `openssl s_server` with one of the certificates that every checkout makes.
package struct TLSServer: Sendable {
    /// On 127.0.0.1.
    package let port: UInt16
    private let process: ChildProcess
    private let input: NamedPipe
    private let files: String

    /// Starts it and waits until it listens.
    ///
    /// - Parameters:
    ///   - certificate: `server`, `expired` or `wronghost`.
    ///   - folder: where the certificates lie.
    ///   - options: with `-www` it answers every request by itself; without it it shows what it receives, and sends what it
    ///     is given by ``answerOne(_:)``.
    package static func start(certificate: String, folder: String, options: [String] = []) async throws -> TLSServer {
        let files = temporaryFolder("tls")
        try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: true)
        let input = try NamedPipe(files + "/in")
        let process = try ChildProcess(
            "/usr/bin/openssl",
            [
                "s_server", "-accept", "127.0.0.1:0", "-cert", "\(folder)/\(certificate).pem",
                "-key", "\(folder)/\(certificate).key",
            ] + options,
            input: files + "/in",
            output: files + "/out"
        )
        do {
            // "ACCEPT 127.0.0.1:41234"
            var port: UInt16?
            try await eventually("openssl s_server") {
                guard process.isRunning else { throw KitError("openssl s_server has ended") }
                port = lines(of: files).first { $0.hasPrefix("ACCEPT") }?.split(separator: ":").last.flatMap {
                    UInt16($0)
                }
                return port != nil
            }
            return TLSServer(port: port ?? 0, process: process, input: input, files: files)
        } catch {
            process.send(SIGKILL)
            await process.end()
            try? FileManager.default.removeItem(atPath: files)
            throw error
        }
    }

    /// Those that are whole.
    private static func lines(of files: String) -> [Substring] {
        text(of: files + "/out").split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).dropLast()
    }

    /// Waits until a request has come, and answers it with these bytes.
    package func answerOne(_ bytes: String) async throws {
        try await eventually("a request") { Self.lines(of: files).contains { $0.hasPrefix("GET ") } }
        input.write(bytes)
    }

    package func freeze() { process.send(SIGSTOP) }

    /// SIGKILL, which a frozen one hears, too.
    package func stop() {
        process.send(SIGKILL)
        input.close()
        try? FileManager.default.removeItem(atPath: files)
    }
}
