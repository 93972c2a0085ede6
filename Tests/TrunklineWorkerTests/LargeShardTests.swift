import Foundation
import PostgresDriver
import Synchronization
import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// A shard with very many unfinished jobs.
@Suite struct LargeShardTests {
    /// TRUNKLINE_TEST_ROWS says otherwise; a million is what the documentation tells of.
    private static let rows = ProcessInfo.processInfo.environment["TRUNKLINE_TEST_ROWS"].flatMap { Int($0) } ?? 200_000

    /// Unfinished jobs of a line, a fifth of them of one person.
    private func fill(_ install: TestInstall, line: String) async throws {
        try await install.database.script(
            """
            set statement_timeout = 0;
            with fresh as (
                select nextval('trunkline.job_number') as id, 'large.' || n as key, n,
                       substr(sha256(('large.' || n)::bytea), 1, 16) as digest
                from generate_series(1, \(Self.rows)) n
            ), entered as (
                insert into trunkline.ledger (scope, key_digest, content_digest, job, lane)
                select l.scope, f.digest, f.digest, f.id, l.number from fresh f, trunkline.lanes l where l.name = 'line:\(line)'
            )
            insert into trunkline.jobs (id, lane, scope, key, key_digest, person, recipient, request, purpose, state, place)
            select f.id, l.number, l.scope, f.key, f.digest, case when n % 5 = 0 then 1 else n end, '+972501234567', '{}', 'order',
                   'waiting', f.id
            from fresh f, trunkline.lanes l where l.name = 'line:\(line)';
            analyze trunkline.jobs;
            """
        )
    }

    /// The owner of a large shard on a held line dies: the next one takes it over at once and for good, and the jobs of its
    /// other shard are never late meanwhile.
    @Test func aTakeOverOfALargeShardHoldsNobodyUp() async throws {
        try await TestInstall.with(shards: 2, lines: 20) { install in
            let lines = (1...20).map { String(format: "line-%02d", $0) }
            func shard(_ line: String) throws -> Int { TrunklineCore.shard(ofLane: try LineID(line).laneName, of: 2) }
            let here = try lines.filter { try shard($0) == 0 }
            let (large, small) = (here[0], here[1])
            let other = try #require(try lines.first { try shard($0) == 1 })
            try await install.trunkline(["line", "hold", large, "--reason", "test"]).requireSuccess()
            try await fill(install, line: large)
            let workers = [try install.startWorker(), try install.startWorker()]
            try await install.wait(for: "an owner for each shard") {
                try await install.number(
                    "select count(distinct owner) from trunkline.shards where owner is not null"
                ) == 2
            }
            try await install.publish([
                try TestInstall.job("warm.1", line: small), try TestInstall.job("warm.2", line: other),
            ])
            try await install.wait(for: "both shards to be loaded") {
                try await install.number("select count(*) from trunkline.finished where state = 'sent'") == 2
            }
            let fence = try await install.number("select fence from trunkline.shards where shard = 0")
            let owner = try await install.number(
                "select w.pid from trunkline.workers w join trunkline.shards s on s.owner = w.boot where s.shard = 0"
            )
            let published = Mutex<[String: Double]>([:])
            let stream = Task {
                for number in 1... where !Task.isCancelled {
                    let key = "stream.\(number)"
                    try await install.publish([
                        try TestInstall.job(key, line: other, to: "+97250" + String(1_000_000 + number))
                    ])
                    published.withLock { $0[key] = Date().timeIntervalSince1970 }
                    try await Task.sleep(for: .milliseconds(100))
                }
            }
            // How late they are on this machine anyway.
            try await install.wait(for: "the stream") {
                try await install.number("select count(*) from trunkline.finished where key like 'stream.%'") >= 20
            }
            let killed = Date().timeIntervalSince1970
            workers.first { $0.pid == Int32(owner) }!.kill()
            try await install.publish([try TestInstall.job("after", line: small)])
            try await install.wait(for: "the take-over") {
                try await install.number(
                    "select count(*) from trunkline.finished where key = 'after' and state = 'sent'"
                ) == 1
            }
            stream.cancel()
            _ = await stream.result
            let given = published.withLock { $0 }
            try await install.wait(for: "the stream to be sent") {
                try await install.number("select count(*) from trunkline.finished where key like 'stream.%'")
                    >= given.count
            }
            let ended = try await install.database.query(
                "select key, extract(epoch from claimed_at)::float8::text from trunkline.finished where state = 'sent'",
                []
            )
            var late = 0.0
            var usual = 0.0
            var taken = 0.0
            for row in 0..<ended.count {
                guard let key = ended.text(row, 0), let at = ended.text(row, 1).flatMap({ Double($0) }) else {
                    continue
                }
                if let published = given[key] {
                    if published < killed {
                        usual = max(usual, at - published)
                    } else {
                        late = max(late, at - published)
                    }
                }
                if key == "after" { taken = at - killed }
            }
            print("\(Self.rows) rows: taken over after \(taken) s, another job late by \(late) s, before by \(usual) s")
            // How late is a figure of this machine; that they go on while the shard is loaded is the promise.
            let meanwhile = try await install.number(
                """
                select count(*) from trunkline.finished f, trunkline.finished a, trunkline.shards s
                where a.key = 'after' and s.shard = 0 and f.key like 'stream.%'
                  and f.claimed_at > s.changed_at and f.claimed_at < a.claimed_at
                """
            )
            #expect(meanwhile > 0)
            #expect(try await install.number("select fence from trunkline.shards where shard = 0") == fence + 1)
            #expect(
                try await install.number("select count(*) from trunkline.jobs where state = 'waiting' and attempt = 0")
                    == Int64(Self.rows)
            )
        }
    }

    /// What is read in many slices is known whole: every job of a line goes out, those of one person in order.
    @Test func whatIsReadInSlicesIsSentWholeAndInOrder() async throws {
        try await TestInstall.with(shards: 1, lines: 2, journal: true) { install in
            let first = try install.startWorker()
            try await install.trunkline(["line", "hold", "line-01", "--reason", "test"]).requireSuccess()
            try await install.publish(try TestInstall.jobs(6_000, lines: ["line-01"], persons: 3_000))
            try await install.wait(for: "the jobs to be taken") {
                try await install.number("select count(*) from trunkline.jobs where place > 0") == 6_000
            }
            first.kill()
            _ = try install.startWorker()
            try await install.trunkline(["line", "resume", "line-01"]).requireSuccess()
            try await install.waitUntilSent(6_000, within: .seconds(180))
            try await install.requireProof(sent: 6_000)
            #expect(
                try await install.number(
                    """
                    select count(*) from trunkline.finished a join trunkline.finished b
                      on a.person = b.person and a.id < b.id and a.claimed_at > b.claimed_at
                    """
                ) == 0
            )
        }
    }
}
