import PostgresDriver
import RabbitDriver
import Synchronization
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

@Suite("Accept, row first")
struct AcceptTests {
    @Test("a batch larger than one statement becomes jobs in order, and again becomes nothing")
    func batches() async throws {
        try await AdminDatabase.with { database in
            let jobs = try (0..<1_201).map { try notice($0, line: $0 % 3 == 0 ? "acme-2" : "acme-1") }
            let first = try await database.accept(jobs)
            #expect(first.count == jobs.count)
            #expect(first.allSatisfy { $0.isNew })
            let ids = first.compactMap(\.job)
            #expect(ids == ids.sorted())
            let second = try await database.accept(jobs)
            #expect(second.allSatisfy { $0.isRepeat })
            #expect(second.compactMap(\.job) == ids)
            #expect(try await database.count("jobs") == 1_201)
            #expect(try await database.count("ledger") == 1_201)
            #expect(try await database.count("refusals") == 0)
            let states = try await database.session.query("select distinct state, place from trunkline.jobs")
            #expect(states.count == 1 && states.text(0, 0) == "accepted" && states.int8(0, 1) == 0)
            let stored = try await database.session.query(
                "select tags ->> 'order', person from trunkline.jobs order by id limit 1"
            )
            #expect(stored.text(0, 0) == "0")
            #expect(stored.int8(0, 1) == jobs[0].person)
        }
    }

    @Test("the same key within one batch: same content is a repeat, other content a conflict")
    func withinOneBatch() async throws {
        try await AdminDatabase.with { database in
            let verdicts = try await database.accept([notice(1), notice(1), notice(1, body: "Something else.")])
            guard case .new(let id) = verdicts[0], case .repeat(let same, let line, nil) = verdicts[1],
                case .conflict(let other, _, _) = verdicts[2]
            else {
                Issue.record("verdicts are \(verdicts)")
                return
            }
            #expect(id == same && id == other)
            #expect(line?.line?.value == "acme-1")
            #expect(try await database.count("jobs") == 1)
        }
    }

    /// ```
    /// producer A:  keys 0…999 in order      ─┐
    /// producer B:  keys 999…0, the reverse  ─┴─ one job each, no deadlock reaches anybody
    /// ```
    @Test("two producers race on the same thousand keys: one job each")
    func race() async throws {
        try await AdminDatabase.with { database in
            let jobs = try (0..<1_000).map { try notice($0) }
            async let a = database.accept(jobs)
            async let b = database.accept(jobs.reversed())
            let first = try await a
            let second = try await Array(b.reversed())
            for index in jobs.indices {
                #expect(first[index].isNew != second[index].isNew)
                #expect(first[index].job == second[index].job)
            }
            #expect(try await database.count("jobs") == 1_000)
            #expect(try await database.count("ledger") == 1_000)
        }
    }

    @Test("two producers race with different contents: one of the two is refused, visibly")
    func conflictRace() async throws {
        try await AdminDatabase.with { database in
            let a = try (0..<200).map { try notice($0, body: "A") }
            let b = try (0..<200).map { try notice($0, body: "B") }
            async let first = database.accept(a)
            async let second = database.accept(b)
            let (x, y) = try await (first, second)
            for index in a.indices {
                #expect(x[index].isTaken != y[index].isTaken)
                #expect(x[index].job == y[index].job)
            }
            #expect(try await database.count("jobs") == 200)
            let refusals = try await database.install.refusals(limit: 1_000)
            #expect(refusals.count == 200)
            #expect(
                refusals.allSatisfy {
                    $0.kind == "conflict" && $0.via == "cli" && $0.field == "key" && $0.lane?.line == "acme-1"
                }
            )
            let bytes = try #require(try await database.install.refusalBytes(refusals[0].id))
            let original = try SendJob.decode(json: bytes)
            #expect(original.key.value == refusals[0].key)
        }
    }

    @Test("a conflict says which job it meets, on which line; another workspace has keys of its own")
    func otherLine() async throws {
        try await AdminDatabase.with { database in
            let id = try #require(try await database.accept([notice(1, line: "acme-1")])[0].job)
            let same = try await database.accept([notice(1, line: "acme-2")])[0]
            #expect(same == .repeat(id, lane: .line(try LineID("acme-1")), finalState: nil))
            let other = try notice(1, line: "acme-2", body: "Other")
            let conflict = try await database.accept([other])[0]
            let contents = AcceptVerdict.Contents(stored: try notice(1).contentDigest, given: other.contentDigest)
            #expect(conflict == .conflict(id, lane: .line(try LineID("acme-1")), contents))
            #expect(contents.stored.count == 32 && contents.stored != contents.given)
            #expect(try conflict.refusal(of: .send(notice(1)))?.reason.contains("job \(id) on line acme-1") == true)
            #expect(try await database.accept([notice(1, line: "other-1")])[0].isNew)
        }
    }

    @Test("a line that does not exist or was removed is refused and recorded; its neighbours go on")
    func lines() async throws {
        try await AdminDatabase.with { database in
            try await database.session.query("update trunkline.lanes set removed_at = now() where name = 'line:acme-2'")
            let verdicts = try await database.accept([
                notice(1, line: "nobody"), notice(2), notice(3, line: "acme-2"), notice(4),
            ])
            #expect(verdicts[0] == .unknownLane)
            #expect(verdicts[1].isNew)
            #expect(verdicts[2] == .removedLane)
            #expect(verdicts[3].isNew)
            let refusals = try await database.install.refusals(kind: "unknown_line", limit: 10)
            #expect(Set(refusals.map(\.lane?.line)) == ["nobody", "acme-2"])
            // Once more: counted, not doubled.
            _ = try await database.accept([notice(1, line: "nobody")])
            let again = try await database.install.refusals(lane: .line(try LineID("nobody")), limit: 10)
            #expect(again.map(\.times) == [2])
            #expect(again[0].rawLength > 100)
        }
    }

    @Test("a repeat of a job that has ended says how it ended")
    func ended() async throws {
        try await AdminDatabase.with { database in
            let id = try #require(try await database.accept([notice(1)])[0].job)
            try await database.run([id])
            #expect(
                try await database.accept([notice(1)])[0]
                    == .repeat(id, lane: .line(try LineID("acme-1")), finalState: "sent")
            )
        }
    }

    @Test("a connection that is cut between two batches, and in the middle of one, loses and doubles nothing")
    func cut() async throws {
        try await AdminDatabase.with { database in
            let jobs = try (0..<3_000).map { try notice($0) }
            let url = database.url
            let isDone = Atomic(false)
            async let cutter: Int = {
                var cuts = 0
                let session = try await PostgresSession.open(url: url, applicationName: "cutter")
                while !isDone.load(ordering: .relaxed), cuts < 12 {
                    let rows = try await session.query(
                        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and application_name = 'tests-cut'"
                    )
                    cuts += Int(rows.int8(0, 0) ?? 0)
                    try await Task.sleep(for: .milliseconds(15))
                }
                await session.close()
                return cuts
            }()
            let acceptor = Acceptor(
                configuration: .init(databaseURL: url, applicationName: "tests-cut", carriers: .standard)
            )
            let verdicts = try await acceptor.accept(jobs)
            await acceptor.close()
            isDone.store(true, ordering: .relaxed)
            #expect(try await cutter > 0)
            #expect(verdicts.allSatisfy { $0.isTaken })
            #expect(Set(verdicts.compactMap(\.job)).count == 3_000)
            #expect(try await database.count("jobs") == 3_000)
            #expect(try await database.count("ledger") == 3_000)
        }
    }

    @Test("a database that stays away is an error within the patience, not a hang")
    func away() async throws {
        var configuration = Acceptor.Configuration(
            databaseURL: "postgresql://nobody@127.0.0.1:\(refusingPort)/none",
            applicationName: "tests",
            carriers: .standard
        )
        configuration.patience = .milliseconds(200)
        let acceptor = Acceptor(configuration: configuration)
        await #expect(throws: PostgresError.self) { _ = try await acceptor.accept([try notice(1)]) }
    }

    @Test("what the database cannot store is refused alone")
    func unstorable() async throws {
        try await AdminDatabase.with { database in
            // No valid job is unstorable; so a rule of the database is made that one of them breaks.
            try await database.session.script(
                "alter table trunkline.jobs add constraint never check (key <> 'order:acme.7:ready')"
            )
            let verdicts = try await database.accept((0..<20).map { try notice($0) })
            for (index, verdict) in verdicts.enumerated() { #expect(verdict.isTaken == (index != 7)) }
            guard case .refused(let refusal) = verdicts[7] else {
                Issue.record("job 7 is \(verdicts[7])")
                return
            }
            #expect(refusal.reason.contains("23514"))
            #expect(try await database.count("ledger") == 19)
        }
    }

    @Test("each batch wakes each shard that got new jobs once; repeats wake nobody")
    func wakes() async throws {
        try await TestServers.withVirtualHost { amqp in
            try await AdminDatabase.with { database in
                _ = try await BrokerSession.withSession(url: amqp, connectionName: "tests") {
                    try await $0.apply(shards: 16)
                }
                let warnings = Mutex<[String]>([])
                let broker = try RabbitConfiguration(url: amqp, connectionName: "tests")
                let wakes = WakeSender(configuration: broker, shards: 16) { text in
                    warnings.withLock { $0.append(text) }
                }
                let acceptor = database.acceptor(wakes: wakes)
                let jobs = try (0..<20).map { try notice($0, line: $0 % 2 == 0 ? "acme-1" : "other-1") }
                _ = try await acceptor.accept(jobs)
                _ = try await acceptor.accept(jobs)
                _ = try await acceptor.accept([notice(20)])
                await acceptor.close()
                await wakes.shutdown()
                #expect(warnings.withLock { $0 } == [])
                var expected: [String: Int] = [:]
                expected[Topology.shardQueue(shard(ofLane: "line:acme-1", of: 16)), default: 0] += 2
                expected[Topology.shardQueue(shard(ofLane: "line:other-1", of: 16)), default: 0] += 1
                let messages = expected
                try await eventually("the wake-ups lie in their shards' queues") {
                    try await BrokerSession.withSession(url: amqp, connectionName: "tests") { session in
                        for (queue, count) in messages where try await session.messages(in: queue) != count {
                            return false
                        }
                        return true
                    }
                }
            }
        }
    }

    @Test("a broker that cannot deliver wake-ups is one warning, and the jobs are accepted all the same")
    func noBroker() async throws {
        try await TestServers.withVirtualHost { amqp in
            try await AdminDatabase.with { database in
                let warnings = Mutex<[String]>([])
                let broker = try RabbitConfiguration(url: amqp, connectionName: "tests")
                let wakes = WakeSender(configuration: broker, shards: 16) { text in
                    warnings.withLock { $0.append(text) }
                }
                let acceptor = database.acceptor(wakes: wakes)
                // Nothing is declared in this virtual host.
                let verdicts = try await acceptor.accept((0..<10).map { try notice($0) })
                #expect(verdicts.allSatisfy { $0.isNew })
                _ = try await acceptor.accept((10..<20).map { try notice($0) })
                await acceptor.close()
                await wakes.shutdown()
                #expect(warnings.withLock { $0.count } == 1)
                #expect(warnings.withLock { $0.first }?.contains("accepted") == true)
            }
        }
    }

    @Test("person and tags have the forms that other programs rely on")
    func forms() throws {
        let job = try notice(1)
        // printf '%s' '+972501000001' | sha256sum
        #expect(job.orderingName == "+972501000001")
        #expect(job.person == Int64(bitPattern: 0x7b98_8347_dd2c_00d1))
        #expect(try job.person == notice(1, body: "Other").person)
        #expect(try job.person != notice(2).person)
        #expect(TakeBatch.tagsText(job.tags) == #"{"order":"1"}"#)
    }
}
