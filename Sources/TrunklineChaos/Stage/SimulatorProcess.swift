internal import Foundation
internal import Glibc
internal import TestKit

/// The EZWhatsApp stand-in as a process of its own, with its journal: the oracle, which nothing of the system can touch.
final class SimulatorProcess: Sendable {
    let port: UInt16
    let journal: String
    private let child: ChildProcess

    /// Starts it on a free port with `lines` lines.
    static func start(
        program: String,
        folder: String,
        lines: Int,
        seed: UInt64,
        environment: [String: String]
    ) async throws -> SimulatorProcess {
        let (journal, log) = (folder + "/journal.ndjson", folder + "/simulator.log")
        let child = try ChildProcess(
            program,
            [
                "simulate", "ezwhatsapp", "--listen", "127.0.0.1:0", "--journal", journal, "--lines", "\(lines)",
                "--seed", "\(seed)",
            ],
            environment: environment,
            output: log,
            errors: log
        )
        for _ in 0..<1_000 where child.isRunning {
            let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            if let range = text.range(of: "listening on http://127.0.0.1:"),
                let port = UInt16(text[range.upperBound...].prefix { $0.isNumber })
            {
                return SimulatorProcess(child, port: port, journal: journal)
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        child.send(SIGKILL)
        throw ChaosError("the simulator does not start; see \(log)")
    }

    private init(_ child: ChildProcess, port: UInt16, journal: String) {
        self.child = child
        self.port = port
        self.journal = journal
    }

    var pid: Int32 { child.pid }

    /// Ends it in order, so that the journal is whole.
    func stop() async {
        child.send(SIGTERM)
        for _ in 0..<1_000 where child.isRunning { try? await Task.sleep(for: .milliseconds(10)) }
        child.send(SIGKILL)
    }

    /// A request to the control surface.
    ///
    /// - Throws: ``ChaosError`` when it is not answered with a status of the 200s.
    @discardableResult
    func control(_ method: String, _ path: String, _ body: String = "") async throws -> String {
        let port = port
        let answer = await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(returning: Self.exchange(port, method, "/__sim" + path, body))
            }
        }
        guard let answer, answer.hasPrefix("HTTP/1.1 2"), let end = answer.range(of: "\r\n\r\n") else {
            throw ChaosError("the simulator refused \(method) \(path): \(answer ?? "no answer")")
        }
        return String(answer[end.upperBound...])
    }

    /// What a hook wants to be signed with.
    func secret(ofHook name: String) async throws -> String {
        struct Hook: Decodable { let secret: String }
        let answer = try await control("PUT", "/hooks/\(name)", "{}")
        return try JSONDecoder().decode(Hook.self, from: Data(answer.utf8)).secret
    }

    /// One request on a connection of its own, blocking.
    private static func exchange(_ port: UInt16, _ method: String, _ path: String, _ body: String) -> String? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        let request = Array(
            "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                .utf8
        )
        guard connected == 0, send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
            return nil
        }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { break }
            answer += buffer[..<count]
        }
        return String(decoding: answer, as: UTF8.self)
    }
}
