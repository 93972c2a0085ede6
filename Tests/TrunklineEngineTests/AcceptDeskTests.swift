import PostgresDriver
import Synchronization
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

@Suite("The desk at which jobs are accepted")
struct AcceptDeskTests {
    private static func open(_ way: AcceptDesk.Way) async throws -> AcceptDesk {
        try await AcceptDesk.open(way, name: "tests", carriers: .standard) { Issue.record("a warning: \($0)") }
    }

    @Test("row first: one job or a thousand, and a verdict for each in its place")
    func rowFirst() async throws {
        try await AdminDatabase.with { database in
            let desk = try await Self.open(.rowFirst(databaseURL: database.url, amqpURL: nil, .single))
            let one = try await desk.accept([notice(0)])
            #expect(one.count == 1 && one[0].isNew)
            var jobs = try (1...1_000).map { try notice($0) }
            jobs[3] = try notice(0)
            jobs[700] = try notice(0, body: "Another text.")
            jobs[999] = try notice(1_000, line: "nobody")
            let verdicts = try await desk.accept(jobs)
            #expect(verdicts.count == 1_000)
            #expect(verdicts.map(\.word).filter { $0 == "new" }.count == 997)
            #expect(
                verdicts[3] == .repeat(try #require(one[0].job), lane: .line(try LineID("acme-1")), finalState: nil)
            )
            #expect(verdicts[3].complaint(about: .send(jobs[3])) == nil)
            #expect(
                verdicts[700].word == "conflict" && verdicts[700].complaint(about: .send(jobs[700]))?.field == "key"
            )
            #expect(verdicts[999] == .unknownLane && verdicts[999].word == "refused")
            #expect(verdicts[999].complaint(about: .send(jobs[999]))?.reason == "there is no line nobody")
            // What is refused is recorded, by the way it came.
            let refused = try await database.install.refusals(limit: 10)
            #expect(refused.map(\.via) == ["cli", "cli"] && Set(refused.map(\.kind)) == ["conflict", "unknown_line"])
            await desk.close()
        }
    }

    @Test("row first needs the schema of this program")
    func noSchema() async throws {
        try await TestServers.withDatabase { url in
            _ = await #expect(throws: MigrationError.noSchema) {
                _ = try await Self.open(.rowFirst(databaseURL: url, amqpURL: nil, .bulk))
            }
        }
    }

    @Test("broker first: what is said is confirmed, several batches may be under way, and no database is needed")
    func brokerFirst() async throws {
        try await TestServers.withVirtualHost { amqp in
            try await AdminDatabase.with { database in
                _ = try await BrokerSession.withSession(url: amqp, connectionName: "tests") {
                    try await $0.apply(shards: 16)
                }
                let desk = try await Self.open(.brokerFirst(amqpURL: amqp, databaseURL: database.url))
                var underWay: [Submission] = []
                for batch in 0..<desk.depth {
                    underWay.append(try await desk.submit((0..<50).map { .send(try notice(batch * 50 + $0)) }))
                }
                for submission in underWay {
                    #expect(await submission.verdicts() == Array(repeating: .confirmed, count: 50))
                }
                await desk.close()
                let blind = try await Self.open(.brokerFirst(amqpURL: amqp, databaseURL: nil))
                #expect(try await blind.accept([notice(1_000)]) == [.confirmed])
                await blind.close()
                let (ready, bulk) = try await BrokerSession.withSession(url: amqp, connectionName: "tests") { session in
                    let queue = Topology.shardQueue(shard(ofLane: "line:acme-1", of: 16))
                    return (try await session.messages(in: queue), try await session.messages(in: Topology.bulkQueue))
                }
                #expect(ready == 50 * desk.depth && bulk == 1)
                #expect(try await database.count("jobs") == 0)
            }
        }
    }

    @Test("a broker that is away is a verdict, not an error")
    func brokerAway() async throws {
        let acceptor = try BrokerAcceptor(
            amqpURL: "amqp://guest@127.0.0.1:\(refusingPort)/x",
            shards: nil,
            connectionName: "tests",
            deadline: .milliseconds(200)
        )
        let jobs = try (0..<3).map { CarriedWork.send(try notice($0)) }
        let verdicts = await acceptor.submit(jobs).verdicts()
        #expect(verdicts.map(\.word) == ["not_sent", "not_sent", "not_sent"])
        #expect(verdicts[0].complaint(about: jobs[0])?.reason.hasPrefix("it did not reach the broker") == true)
        #expect(verdicts.allSatisfy { !$0.isTaken && $0.refusal(of: jobs[0]) == nil })
        await acceptor.close()
    }

    @Test("an import tells every row in its order, however its bytes come", arguments: [1 << 16, 7])
    func importing(chunk: Int) async throws {
        try await AdminDatabase.with { database in
            var lines: [String] = []
            for number in 0..<1_100 {
                switch number % 100 {
                case 17: lines.append("no JSON")
                case 18: lines.append("")
                case 19: lines.append(String(decoding: try notice(0).encode(), as: UTF8.self))
                default: lines.append(String(decoding: try notice(number).encode(), as: UTF8.self))
                }
            }
            let bytes = Array(lines.joined(separator: "\n").utf8)
            let desk = try await Self.open(.rowFirst(databaseURL: database.url, amqpURL: nil, .bulk))
            var told: [RowVerdict] = []
            let run = ImportRun(NDJSONFormat(), to: desk, now: { Timestamp(microseconds: 1_800_000_000_000_000) }) {
                told += $0
            }
            for start in stride(from: 0, to: bytes.count, by: chunk) {
                try await run.push(Array(bytes[start..<min(start + chunk, bytes.count)]))
            }
            try await run.finish()
            await desk.close()
            #expect(told.map(\.row) == (1...1_100).filter { $0 % 100 != 19 })
            for row in told {
                switch (row.row - 1) % 100 {
                case 17: #expect(row.verdict.word == "refused" && row.job == nil && row.complaint != nil)
                case 19: #expect(row.verdict.isRepeat && row.complaint == nil)
                default: #expect(row.verdict.isNew && row.refusal == nil, "row \(row.row): \(row.verdict)")
                }
            }
            #expect(try await database.count("jobs") == 1_100 - 33)
        }
    }
}

@Suite("An error as whoever asked needs it")
struct ExplanationTests {
    private struct Foreign: Error, CustomStringConvertible { let description = "something else" }

    @Test func eachKindOfEnd() {
        let cases: [(any Error, Explanation.Kind, Bool)] = [
            (Refusal(kind: .invalid, reason: "no"), .refused, false),
            (PostgresError(code: .invalidURL, message: "no URL"), .usage, false),
            (PostgresError(code: .cannotConnect, message: "away"), .unreachable, true),
            (PostgresError(code: .server, sqlState: "42P01", message: "no table"), .failed, false),
            (PostgresError(code: .server, sqlState: "40P01", message: "deadlock"), .failed, true),
            (MigrationError.noSchema, .refused, false),
            (RehydrationError.notConfirmed("full"), .failed, false),
            (Foreign(), .failed, false),
        ]
        for (error, kind, mayPass) in cases {
            let explanation = Explanation(error)
            #expect(explanation.kind == kind && explanation.mayPass == mayPass, "\(error)")
            #expect(!explanation.words.isEmpty)
        }
        #expect(
            Explanation(PostgresError(code: .server, sqlState: "42P01", message: "no table")).words.hasSuffix("(42P01)")
        )
    }
}
