import Foundation
import Glibc
import PostgresDriver
import TestKit
import Testing
import TrunklineTesting

/// Somebody who may write the database, and has no master key, tries to make a worker give a secret to a host of theirs.
@Suite struct ForeignRowTests {
    private static let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

    /// A host that answers nobody, and keeps what comes to its path.
    private final class ForeignHost {
        private let listener = Listener()
        private let path = "/\(UUID().uuidString)/api/v1"
        var address: String { "http://127.0.0.1:\(listener.port)\(path)" }

        /// The head of the first request to its path that comes within `limit`; nil when none comes.
        func received(within limit: Duration) -> String? {
            let deadline = ContinuousClock.now + limit
            repeat {
                let left = max(.zero, deadline - .now)
                guard let connection = listener.accept(within: left) else { return nil }
                defer { close(connection) }
                let head = Self.head(of: connection)
                if head.contains(path) { return head }
            } while ContinuousClock.now < deadline
            return nil
        }

        /// What a connection sends until its head ends, it is closed, or nothing comes for 5 s.
        private static func head(of connection: Int32) -> String {
            var head: [UInt8] = []
            while !head.suffix(4).elementsEqual("\r\n\r\n".utf8) {
                var waiting = pollfd(fd: connection, events: Int16(POLLIN), revents: 0)
                var byte: UInt8 = 0
                guard poll(&waiting, 1, 5_000) == 1, read(connection, &byte, 1) == 1 else { break }
                head.append(byte)
            }
            return String(decoding: head, as: UTF8.self)
        }
    }

    private struct Status: Decodable {
        struct Line: Decodable {
            let id: String
            let gate: String
            let gateReason: String?
        }
        let lines: [Line]
    }

    @Test func aRowInTheDatabaseNeverMakesAWorkerGiveASecretToAnotherHost() async throws {
        try await TestInstall.with(lines: 7) { install in
            let foreign = ForeignHost()
            let keyFile = install.folder.appendingPathComponent("master.key").path
            // As a variable and as a file, so that both could be read.
            let worker = try install.startWorker([
                "TRUNKLINE_MASTER_KEY": Self.key, "TRUNKLINE_MASTER_KEY_FILE": "", "OTHER_TOKEN": "ezw_line_of_another",
            ])
            try await install.trunkline(
                ["line", "set", "line-06", "--token-env", "OTHER_TOKEN", "--by-reference"],
                environment: ["OTHER_TOKEN": "ezw_line_line-06"]
            ).requireSuccess()
            let address = "address = '\(foreign.address)'"
            let changes = [
                "line-01": address,
                "line-02": address + ", secret_reference = 'env:TRUNKLINE_MASTER_KEY'",
                "line-03": address + ", secret_reference = 'file:\(keyFile)'",
                "line-04": address + ", secret_reference = 'env:OTHER_TOKEN'",
                "line-05": address + ", (secret_sealed, secret_reference, secret_hint) = "
                    + "(select secret_sealed, secret_reference, secret_hint from trunkline.lanes where name = 'line:line-06')",
                "line-06": "secret_reference = 'env:TRUNKLINE_MASTER_KEY'",
            ]
            for (line, change) in changes {
                try await install.database.query("update trunkline.lanes set \(change) where name = 'line:\(line)'")
            }
            try await install.wait(for: "the worker to have read every row") {
                changes.keys.allSatisfy { line in
                    worker.logText.split(separator: "\n").contains {
                        $0.contains("line cannot be used") && $0.contains(line)
                    }
                }
            }
            let lines = (1...7).map { "line-0\($0)" }
            try await install.publish(try TestInstall.jobs(70, lines: lines))
            try await install.wait(for: "the untouched line's notices, and all the others held") {
                let sent = try await install.number("select count(*) from trunkline.finished where state = 'sent'")
                let held = try await install.number(
                    "select count(*) from trunkline.lane_state where gate = 'held_human'"
                )
                return sent == 10 && held == 6
            }
            // They are looked at again and again: nothing leaves, and no job has used a try.
            #expect(foreign.received(within: .seconds(20)) == nil)
            #expect(try await install.number("select count(*) from trunkline.jobs where tries > 0") == 0)

            let shown = try await install.trunkline(["status", "--json"]).requireSuccess().output
            let status = try JSONDecoder().decode(Status.self, from: Data(shown.utf8))
            for line in status.lines where line.id != "line-07" {
                #expect(line.gate == "held_human", "\(line.id)")
                #expect(
                    line.gateReason?.contains("the row was changed by something else") == true,
                    "\(line.gateReason ?? "")"
                )
            }
            // Nor do the commands that ask.
            for line in ["line-01", "line-02", "line-03", "line-05"] {
                let asked = try await install.trunkline(
                    ["line", "preflight", line],
                    environment: ["TRUNKLINE_MASTER_KEY": Self.key, "TRUNKLINE_MASTER_KEY_FILE": ""]
                )
                #expect(asked.status == 1 && asked.errors.contains("the row was changed"), "\(asked.errors)")
            }
            _ = try await install.trunkline(["doctor"])
            #expect(foreign.received(within: .zero) == nil)

            // What the sentence advises mends it, and the notices go.
            try await install.trunkline(
                ["line", "set", "line-01", "--base-url", install.lineURL, "--token-env", "TOKEN"],
                environment: ["TOKEN": "ezw_line_line-01"]
            ).requireSuccess()
            try await install.wait(for: "the mended line's notices") {
                try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 20
            }
        }
    }

    @Test func anotherAddressNeedsTheTokenAgain() async throws {
        try await TestInstall.with(lines: 1) { install in
            let foreign = ForeignHost()
            _ = try install.startWorker()
            let to = ["line", "set", "line-01", "--base-url", foreign.address]
            let refused = try await install.trunkline(to)
            #expect(refused.status == 3 && refused.errors.contains("give the token again"), "\(refused.errors)")
            let key = try await install.trunkline(
                to + ["--token-env", "TRUNKLINE_MASTER_KEY"],
                environment: ["TRUNKLINE_MASTER_KEY": Self.key, "TRUNKLINE_MASTER_KEY_FILE": ""]
            )
            #expect(key.status == 2 && key.errors.contains("never for a line's token"), "\(key.errors)")
            let file = install.folder.appendingPathComponent("master.key").path
            let own = try await install.trunkline(to + ["--token-file", file, "--by-reference"])
            #expect(own.status == 2 && own.errors.contains("never a line's token"), "\(own.errors)")
            let other = try await install.trunkline(to + ["--token-stdin"], input: Self.key)
            #expect(other.status == 3 && other.errors.contains("ezw_line_"), "\(other.errors)")
            try await install.publish(try TestInstall.jobs(5, lines: ["line-01"]))
            try await install.waitUntilSent(5)
            #expect(foreign.received(within: .zero) == nil)

            // Given on purpose, it goes there: the recorder records.
            try await install.trunkline(
                to + ["--token-env", "TOKEN", "--no-check"],
                environment: ["TOKEN": "ezw_line_for_there"]
            )
            .requireSuccess()
            // The worker sees the change with one of its next looks; what comes before that goes the old way.
            var received: String?
            var given = 0
            try await install.wait(for: "a call to the address that was given") {
                given += 1
                try await install.publish([try TestInstall.job("there.\(given)")])
                received = foreign.received(within: .seconds(1))
                return received != nil
            }
            #expect(received?.contains("Bearer ezw_line_for_there") == true, "\(received ?? "")")
        }
    }
}
