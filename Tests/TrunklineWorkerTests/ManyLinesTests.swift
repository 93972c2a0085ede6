import Foundation
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// Very many lines, of which three change.
@Suite struct ManyLinesTests {
    /// TRUNKLINE_TEST_LINES says otherwise; ten thousand is what the documentation tells of.
    private static let count = ProcessInfo.processInfo.environment["TRUNKLINE_TEST_LINES"].flatMap { Int($0) } ?? 1_000
    private static let lines = (1...count).map { String(format: "line-%05d", $0) }
    private static let revoked = lines[10]
    private static let changed = lines[20]
    private static let added = "zz-added"

    /// One gets a new token, one is added, one answers 401 without end. Whoever else has work does not notice: no gate closes,
    /// no try is lost, nothing is asked again that was known.
    @Test func threeLinesThatChangeAreNobodyElsesBusiness() async throws {
        try await TestInstall.with(shards: 8, lines: 0) { install in
            let simulator = install.simulator
            for id in Self.lines + [Self.added] {
                try simulator.control("PUT", "/__sim/lines/\(id)", #"{"token":"ezw_line_\#(id)"}"#)
            }
            try await install.addLines(Self.lines)
            _ = try [install.startWorker(), install.startWorker()]
            let others = Self.lines.filter { $0 != Self.revoked && $0 != Self.changed }
            let busy = stride(from: 0, to: others.count, by: max(1, others.count / 300)).map { others[$0] }
            func round(_ name: String) async throws {
                try await install.publish(
                    try busy.enumerated().map { try TestInstall.job("\(name).\($0)", line: $1) }
                )
            }
            func sent(_ condition: String = "true") async throws -> Int64 {
                try await install.number(
                    "select count(*) from trunkline.finished where state = 'sent' and \(condition)"
                )
            }

            try await round("before")
            try await install.wait(for: "the first round", within: .seconds(120)) { try await sent() == busy.count }

            try simulator.control("PUT", "/__sim/lines/\(Self.revoked)", #"{"revoked":true}"#)
            try simulator.control("PUT", "/__sim/lines/\(Self.changed)", #"{"token":"ezw_line_another"}"#)
            try await install.trunkline(
                ["line", "set", Self.changed, "--token-env", "TEST_TOKEN", "--no-check"],
                environment: ["TEST_TOKEN": "ezw_line_another"]
            ).requireSuccess()
            try await install.addLines([Self.added])
            try await install.publish([
                try TestInstall.job("refused", line: Self.revoked),
                try TestInstall.job("changed", line: Self.changed),
                try TestInstall.job("added", line: Self.added),
            ])
            // Beside the line that is asked again and again.
            for number in 1...5 {
                try await round("during.\(number)")
                try await Task.sleep(for: .milliseconds(500))
            }
            let total = Int64(busy.count * 6 + 2)
            try await install.wait(for: "the others, the changed and the added line", within: .seconds(120)) {
                try await sent() == total
            }
            #expect(try await sent("attempt = 1 and tries = 1") == total)
            let counted = "select count(*) from trunkline.attempts where outcome <> 'given_back'"
            #expect(try await install.number(counted) == 0)
            try await install.wait(for: "one held line") {
                try await install.number("select count(*) from trunkline.lane_state where gate like 'held%'") == 1
            }
            let reason = try await install.text("select gate_reason from trunkline.lane_state where gate like 'held%'")
            #expect(reason == "credential_refused")
            for round in ["before", "during"] {
                // From being taken to the recorded answer.
                let waits = try await install.text(
                    """
                    select 'p50 ' || round(1000 * percentile_cont(0.5) within group (order by w.wait)::numeric, 1)
                        || ' ms, max ' || round(1000 * max(w.wait)::numeric, 1) || ' ms'
                    from (select extract(epoch from ended_at - accepted_at) as wait from trunkline.finished
                          where key like '\(round).%') w
                    """
                )
                print("\(Self.count) lines, from taken to answered, \(round): \(waits ?? "none")")
            }
        }
    }
}
