import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// Received events of many senders at one desk.
@Suite struct SharedDeskEventsTests {
    @Test func manySendersShareACommitAndEachGetsItsOwnVerdicts() async throws {
        try await AdminDatabase.with { database in
            try await database.addSource("shop", workspace: "acme")
            let desk = try SharedDesk.underTest(database.url) {
                $0.acceptors = 1
                $0.patience = .seconds(60)
            }
            desk.databaseAnswered(shards: 16)
            let verdicts = try await withThrowingTaskGroup(of: (Int, [EventAcceptance]).self) { group in
                for number in 0..<100 {
                    // Every tenth is of nobody, and all bring the same one, too.
                    let own = try EventsKit.named("e\(number)", "\(number)", of: number % 10 == 9 ? "nobody" : "shop")
                    let common = try EventsKit.named("common", "the same", of: "shop")
                    group.addTask { (number, try await desk.accept([own, common], bytes: 100)) }
                }
                try await eventually("all to wait") { desk.waitingEvents == 200 }
                let running = Task { await desk.run() }
                var all: [Int: [EventAcceptance]] = [:]
                for try await (number, verdicts) in group { all[number] = verdicts }
                desk.close()
                await running.value
                return all
            }
            #expect(verdicts.count == 100)
            for (number, pair) in verdicts {
                #expect(pair == [number % 10 == 9 ? .unknownLane : .stored, .stored], "\(number)")
            }
            #expect(try await database.count("inbox") == 91)
            #expect(try await database.count("jobs") == 91)
            let commits = try await database.session.query("select count(distinct xmin::text) from trunkline.jobs")
            #expect(commits.int8(0, 0) == 1, "one commit for all")
        }
    }

    /// However often other bytes come under one name, with whatever time: one refusal, which a person can give again.
    @Test func aConflictIsOneRefusalAndSaysBothDigests() async throws {
        try await AdminDatabase.with { database in
            try await database.addSource("shop", workspace: "acme")
            let desk = try SharedDesk.underTest(database.url) { $0.patience = .seconds(60) }
            desk.databaseAnswered(shards: 16)
            let running = Task { await desk.run() }
            let first = try EventsKit.named("e", "one", of: "shop")
            #expect(try await desk.accept([first], bytes: 1) == [.stored])
            let contents = AcceptVerdict.Contents(
                stored: Array(Digest.sha256("one".utf8).prefix(16)),
                given: Array(Digest.sha256("two".utf8).prefix(16))
            )
            for second in 0..<3 {
                let later = try WebhookJob(
                    source: SourceID("shop"),
                    headers: [],
                    body: Array("two".utf8),
                    receivedAt: Timestamp(microseconds: 1_780_000_000_000_000 + Int64(second) * 1_000_000)
                )
                let name = EventName(key: EventKey("e"), orderingName: "one")
                #expect(try await desk.accept([NamedEvent(later, name)], bytes: 1) == [.conflict(contents)])
            }
            desk.close()
            await running.value
            let rows = try await database.session.query("select kind, lane, times, reason, raw from trunkline.refusals")
            #expect(rows.count == 1 && rows.text(0, 0) == "conflict" && rows.text(0, 1) == "source:shop")
            #expect(rows.int4(0, 2) == 3)
            #expect(rows.text(0, 3)?.contains(contents.stored) == true)
            #expect(try WebhookJob.decode(json: rows.bytes(0, 4) ?? []).body == Array("two".utf8))
        }
    }

    /// What the server cannot store, and what somebody's open transaction holds, stops no other.
    @Test func oneThatCannotBeStoredStopsNobodyElse() async throws {
        try await AdminDatabase.with { database in
            try await database.addSource("shop", workspace: "acme")
            let desk = try SharedDesk.underTest(database.url) {
                $0.acceptors = 1
                // On a busy machine it may seem silent.
                $0.patience = .seconds(60)
            }
            desk.databaseAnswered(shards: 16)
            let running = Task { await desk.run() }
            var events = try (0..<20).map { try EventsKit.named("e\($0)", "\($0)", of: "shop") }
            let name = EventName(key: EventKey("a\u{0}b"), orderingName: "one")
            events[3] = NamedEvent(events[3].event, name)
            try await PostgresSession.withSession(url: database.url, applicationName: "held") { other in
                try await other.script("begin")
                _ = try await other.query(Statements.acceptEvents.sql, Statements.parameters(of: [events[7]]))
                let verdicts = try await desk.accept(events, bytes: 1)
                for (number, verdict) in verdicts.enumerated() {
                    switch number {
                    case 3: #expect({ if case .refused = verdict { true } else { false } }(), "\(verdict)")
                    case 7: #expect({ if case .notTaken = verdict { true } else { false } }(), "\(verdict)")
                    default: #expect(verdict == .stored, "\(number)")
                    }
                }
                #expect(desk.troubles.database == nil)
                try await other.script("commit")
            }
            #expect(try await desk.accept([events[7]], bytes: 1) == [.stored])
            #expect(try await database.count("inbox") == 19)
            #expect(try await database.count("refusals") == 1)
            desk.close()
            await running.value
        }
    }

    @Test func whoWouldWaitBehindTooMuchIsSentAwayAndJobsAreNot() async throws {
        let desk = try SharedDesk.underTest("postgresql://nobody@127.0.0.1:\(refusingPort)/none") {
            $0.waitingJobs = 2
            $0.waitingBytes = 1_000
        }
        let event = try EventsKit.named("e", "1", of: "shop")
        let (first, job) = try await withThrowingTaskGroup(of: Void.self) { group in
            async let first = desk.accept([event], bytes: 900)
            // Nobody serves yet: whoever is let in stays.
            try await eventually("the first to wait") { desk.waitingEvents == 1 }
            await #expect(throws: SharedDesk.Full.self) { _ = try await desk.accept([event, event], bytes: 1) }
            await #expect(throws: SharedDesk.Full.self) { _ = try await desk.accept([event], bytes: 101) }
            async let job = desk.accept([.send(try notice(1))], bytes: 900)
            try await eventually("the job to wait, too") { desk.waitingJobs == 1 }
            group.addTask { await desk.run() }
            let both = try await (first, job)
            desk.close()
            try await group.waitForAll()
            return both
        }
        #expect(first.count == 1 && job.count == 1)
        // Neither way is open, and that is what is said.
        guard case .notTaken = first[0] else {
            Issue.record("\(first)")
            return
        }
    }
}
