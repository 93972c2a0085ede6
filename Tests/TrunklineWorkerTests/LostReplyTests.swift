import EventLoop
import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineChaos
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// The reply of a COMMIT is lost: the statement happened, and its caller does not know.
@Suite struct LostReplyTests {
    /// `take` on the fast path and `claim` begin an attempt; `settle` records one. After each the connection is cut with
    /// the reply on its way. Turned off, a begun attempt that its owner never heard of is never finished.
    @Test(arguments: ["take", "claim", "settle", "adopt", "refuse"])
    func theLedgerIsReadAgainBeforeAnythingElse(statement: String) async throws {
        try await TestInstall.with(lines: 1) { install in
            let loop = EventLoop(name: "proxy")
            loop.start()
            let proxy = try FaultProxy(to: try databasePort(install), speech: .postgres, on: loop)
            defer { end(proxy, loop) }
            _ = try install.startWorker(["TRUNKLINE_DATABASE_URL": throughProxy(install, proxy)])
            try await warmUp(install)
            proxy.swallowReply(of: statement)
            try await install.publish(try TestInstall.jobs(30, lines: ["line-01"], persons: 5))
            if statement == "refuse" { try await install.publish(raw: [("send", Array("not json".utf8))]) }
            if statement == "adopt" {
                let file = try TestInstall.jobs(30, prefix: "row", lines: ["line-01"]).map {
                    String(decoding: $0.encode(), as: UTF8.self)
                }
                try await install.trunkline(["enqueue", "-"], input: file.joined(separator: "\n")).requireSuccess()
            }
            try await install.wait(for: "the lost reply of \(statement)") { await proxy.strikes() > 0 }
            let count = statement == "adopt" ? 61 : 31
            try await install.waitUntilSent(count)
            try await install.requireProof(sent: count)
            if statement == "refuse" {
                #expect(try await install.number("select count(*) from trunkline.refusals") == 1)
            }
        }
    }

    @Test func withoutReadingAgainABegunAttemptIsForgotten() async throws {
        try await TestInstall.with(lines: 1) { install in
            let loop = EventLoop(name: "proxy")
            loop.start()
            let proxy = try FaultProxy(to: try databasePort(install), speech: .postgres, on: loop)
            defer { end(proxy, loop) }
            _ = try install.startWorker([
                "TRUNKLINE_DATABASE_URL": throughProxy(install, proxy), "TRUNKLINE_TURN_OFF": "reread",
            ])
            try await warmUp(install)
            proxy.swallowReply(of: "claim")
            // One person: the second job waits, and is claimed, not taken on the fast path.
            try await install.publish(try TestInstall.jobs(3, lines: ["line-01"], persons: 1))
            try await install.wait(for: "the lost reply") { await proxy.strikes() > 0 }
            try await install.publish([try TestInstall.job("marker", to: "+972509999999")])
            try await install.wait(for: "the marker of another person") {
                try await install.number("select count(*) from trunkline.finished where key = 'marker'") == 1
            }
            let states = try await install.text(
                "select string_agg(key || ' ' || state || ' ' || attempt, ', ' order by id) from trunkline.jobs"
            )
            #expect(states?.contains("sending") == true, "\(states ?? "no job is left")")
        }
    }

    /// Opens the gate, so that what follows takes the fast path.
    private func warmUp(_ install: TestInstall) async throws {
        try await install.publish([try TestInstall.job("warm.1")])
        try await install.waitUntilSent(1)
    }

    private func databasePort(_ install: TestInstall) throws -> UInt16 {
        guard let port = URLComponents(string: install.databaseURL)?.port else {
            throw TestInstall.Failure("no port in the database URL")
        }
        return UInt16(port)
    }

    private func end(_ proxy: FaultProxy, _ loop: EventLoop) {
        proxy.stop()
        loop.stop()
        loop.join()
    }

    private func throughProxy(_ install: TestInstall, _ proxy: FaultProxy) -> String {
        var url = URLComponents(string: install.databaseURL)!
        url.port = Int(proxy.port)
        return url.string!
    }
}
