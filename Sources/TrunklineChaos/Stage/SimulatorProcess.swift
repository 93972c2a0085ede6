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
            if let port = announcedPort(in: text(of: log)) {
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
    /// - Throws: ``KitError`` when it is not answered with a status of the 200s.
    @discardableResult
    func control(_ method: String, _ path: String, _ body: String = "") async throws -> String {
        try await SmallRequest.send(method, "/__sim" + path, body, to: port)
    }

    /// What a hook wants to be signed with.
    func secret(ofHook name: String) async throws -> String {
        struct Hook: Decodable { let secret: String }
        let answer = try await control("PUT", "/hooks/\(name)", "{}")
        return try JSONDecoder().decode(Hook.self, from: Data(answer.utf8)).secret
    }
}
