import PostgresDriver
import Synchronization
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// Many callers at one desk.
@Suite struct SharedDeskTests {
    /// Somebody's open transaction holds a key: whoever needs that one is told so, and nobody else hears of it.
    @Test func aKeyThatIsHeldStopsNobodyElse() async throws {
        try await AdminDatabase.with { database in
            let desk = try SharedDesk.underTest(database.url) {
                $0.acceptors = 1
                // A busy machine is no database that is away.
                $0.patience = .seconds(60)
            }
            desk.databaseAnswered(shards: 16)
            let running = Task { await desk.run() }
            let jobs = try (0..<20).map { CarriedWork.send(try notice($0)) }
            guard case .send(let held) = jobs[7] else { return }
            try await PostgresSession.withSession(url: database.url, applicationName: "held") { other in
                try await other.script("begin")
                _ = try await other.query(
                    """
                    select trunkline.enqueue(line => $1, key => $2, "to" => $3, body => $4, purpose => $5)
                    """,
                    [
                        .text(held.line.value), .text(held.key.value), .text(held.to.value), .text(held.body),
                        .text(held.purpose.rawValue),
                    ]
                )
                let verdicts = try await desk.accept(jobs, bytes: 100)
                for (number, verdict) in verdicts.enumerated() {
                    #expect(verdict.word == (number == 7 ? "not_sent" : "new"), "\(number)")
                }
                #expect(desk.troubles.database == nil)
                try await other.script("commit")
            }
            let again = try await desk.accept(jobs, bytes: 100)
            #expect(again.allSatisfy { $0.word == "repeat" })
            desk.close()
            await running.value
        }
    }

    @Test func manyCallersShareCommitsAndEachGetsItsOwnVerdicts() async throws {
        try await AdminDatabase.with { database in
            let desk = try SharedDesk.underTest(database.url) {
                $0.acceptors = 2
                $0.patience = .seconds(60)
            }
            desk.databaseAnswered(shards: 16)
            let jobs = try (0..<200).map { try notice($0) }
            let verdicts = try await withThrowingTaskGroup(of: (Int, [AcceptVerdict]).self) { group in
                for number in 0..<100 {
                    let own = [CarriedWork.send(jobs[number * 2]), .send(jobs[number * 2 + 1])]
                    group.addTask { (number, try await desk.accept(own, bytes: 100)) }
                }
                try await eventually("all to wait") { desk.waitingJobs == 200 }
                let running = Task { await desk.run() }
                var all: [Int: [AcceptVerdict]] = [:]
                for try await (number, verdicts) in group { all[number] = verdicts }
                desk.close()
                await running.value
                return all
            }
            #expect(verdicts.count == 100)
            for (number, pair) in verdicts {
                for (offset, verdict) in pair.enumerated() {
                    let id = try #require(verdict.job)
                    let key = try await database.session.query(
                        "select key from trunkline.jobs where id = $1",
                        [.int8(id.value)]
                    )
                    #expect(key.text(0, 0) == jobs[number * 2 + offset].key.value)
                }
            }
            let transactions = try await database.session.query("select count(distinct xmin::text) from trunkline.jobs")
            #expect(transactions.int8(0, 0) == 1, "one commit for all")
        }
    }

    @Test func whoWouldWaitBehindTooManyIsSentAway() async throws {
        let desk = try SharedDesk.underTest("postgresql://nobody@127.0.0.1:\(refusingPort)/none") {
            $0.waitingJobs = 2
            $0.waitingBytes = 1_000
        }
        let first = try await withThrowingTaskGroup(of: [AcceptVerdict].self) { group in
            group.addTask { try await desk.accept([.send(try notice(1))], bytes: 900) }
            // Nobody serves yet: whoever is let in stays.
            try await eventually("the first to wait") { desk.waitingJobs == 1 }
            let two = [CarriedWork.send(try notice(2)), .send(try notice(3))]
            await #expect(throws: SharedDesk.Full.self, "too many jobs") { _ = try await desk.accept(two, bytes: 1) }
            await #expect(throws: SharedDesk.Full.self, "too many bytes") {
                _ = try await desk.accept([two[0]], bytes: 101)
            }
            let running = Task { await desk.run() }
            let verdicts = try await group.next() ?? []
            desk.close()
            await running.value
            return verdicts
        }
        // Neither way is open, and that is what is said.
        guard case .notSent = first.first else {
            Issue.record("\(first)")
            return
        }
        await #expect(throws: SharedDesk.Full.self) { _ = try await desk.accept([.send(try notice(4))], bytes: 1) }
    }

    @Test func aSilentDatabaseCostsItsPatienceOnceAndThenTheBrokerIsAsked() async throws {
        try await TestServers.withVirtualHost { amqp in
            _ = try await BrokerSession.withSession(url: amqp, connectionName: "tests") {
                try await $0.apply(shards: 16)
            }
            let silent = RawServer { connection in _ = connection.readToEnd() }
            defer { silent.stop() }
            let url = "postgresql://nobody@127.0.0.1:\(silent.port)/none?sslmode=disable"
            let desk = try SharedDesk.underTest(url, amqp) { $0.patience = .milliseconds(300) }
            desk.databaseAnswered(shards: 16)
            try await eventually("the broker") { desk.troubles.broker == nil }
            let running = Task { await desk.run() }
            let first = try await desk.accept([.send(try notice(1))], bytes: 1)
            #expect(first == [.confirmed] && desk.troubles.database != nil)
            let connections = silent.connections
            let second = try await desk.accept([.send(try notice(2))], bytes: 1)
            #expect(second == [.confirmed] && silent.connections == connections, "nobody asks the database again")
            desk.close()
            await running.value
        }
    }
}
