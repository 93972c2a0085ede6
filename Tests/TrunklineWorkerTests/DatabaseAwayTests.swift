import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// A database that is away, or has no connection free, when a worker starts or comes back.
@Suite struct DatabaseAwayTests {
    private static let waiting = "the database cannot be used; waiting for it"

    private func count(_ text: String, in worker: TestInstall.WorkerHandle) -> Int {
        worker.logText.split(separator: "\n").count { $0.contains(text) }
    }

    @Test func aWorkerWaitsForADatabaseThatComesLater() async throws {
        try await TestInstall.with(shards: 2, lines: 1, ownServers: true) { install in
            let servers = try #require(install.servers)
            try await servers.database.stop()
            let worker = try install.startWorker()
            let impatient = try install.startWorker()
            for worker in [worker, impatient] {
                try await install.wait(for: "the worker's word") { self.count(Self.waiting, in: worker) == 1 }
            }
            impatient.send(15)
            try await install.wait(for: "the end of the one that was told to stop") { !impatient.isRunning }
            #expect(impatient.exitStatus == 0)
            try await servers.database.start()
            try await install.publish([try TestInstall.job("late")])
            try await install.waitUntilSent(1)
            #expect(worker.isRunning)
            #expect(count("the database can be used again", in: worker) == 1)
            try await install.requireProof(sent: 1)
        }
    }

    /// Waiting helps with nothing of this: the worker ends and says what is wrong.
    @Test func whatOnlyAPersonCanMendEndsTheWorkerInWords() async throws {
        try await TestInstall.with(shards: 2, lines: 1) { install in
            let cases = [
                (install.databaseURL + "_missing", "does not exist", Int32(4)),
                (install.databaseURL.replacing("//postgres:", with: "//nobody:"), "nobody", 4),
                ("postgresql://postgres@127.0.0.1:none/x", "database URL", 2),
            ]
            for (url, words, status) in cases {
                let worker = try install.startWorker(["TRUNKLINE_DATABASE_URL": url])
                try await install.wait(for: "the end of the worker") { !worker.isRunning }
                #expect(worker.exitStatus == status)
                #expect(worker.logText.contains(words), "\(worker.logText)")
            }
        }
    }

    /// Takes every connection that the server has left.
    private func fill(_ url: String) async throws -> [PostgresSession] {
        var sessions: [PostgresSession] = []
        while true {
            do {
                sessions.append(try await PostgresSession.open(url: url, applicationName: "crowd"))
            } catch {
                #expect(error.sqlState == "53300")
                return sessions
            }
        }
    }

    @Test func aFullConnectionTableIsWaitedForAtTheStartAndAfterwards() async throws {
        try await TestInstall.with(shards: 2, lines: 1, ownServers: true) { install in
            let servers = try #require(install.servers)
            try await install.database.script("alter system set max_connections = 20")
            try await servers.database.restart()
            // The install's own session must be there before the table is full.
            _ = try await install.number("select 1")

            var crowd = try await fill(install.databaseURL)
            let worker = try install.startWorker()
            try await install.wait(for: "the worker's word") { self.count(Self.waiting, in: worker) == 1 }
            #expect(worker.logText.contains("53300"))
            for session in crowd { await session.close() }
            try await install.publish([try TestInstall.job("first")])
            try await install.waitUntilSent(1)

            // Its three sessions end while it cannot hurry to get them back, and others take their places.
            worker.freeze()
            try await install.wait(for: "the worker to stop") { worker.isFrozen }
            try await install.database.query(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = (select boot::text from trunkline.workers)"
            )
            try await install.wait(for: "the sessions' end") {
                try await install.number(
                    "select count(*) from pg_stat_activity where application_name = (select boot::text from trunkline.workers)"
                ) == 0
            }
            crowd = try await fill(install.databaseURL)
            worker.thaw()
            try await install.wait(for: "the worker's word again") { self.count(Self.waiting, in: worker) == 2 }
            try await install.publish([try TestInstall.job("second")])
            #expect(worker.isRunning)
            for session in crowd { await session.close() }
            try await install.waitUntilSent(2)
            #expect(count(Self.waiting, in: worker) == 2)
            // With the next heartbeat, which may come after the send.
            try await install.wait(for: "the worker's word that it is over") {
                self.count("the database can be used again", in: worker) == 2
            }
            try await install.requireProof(sent: 2)
        }
    }

    /// The mechanism: a worker renews only while it has every session that taking and settling need. One that got but its
    /// first session would else keep its shards from a worker that can work.
    @Test func aWorkerThatLacksASessionGivesItsShardsAway() async throws {
        try await TestInstall.with(shards: 2, lines: 1, ownServers: true) { install in
            let servers = try #require(install.servers)
            try await install.database.script("alter system set max_connections = 20")
            try await servers.database.restart()
            _ = try await install.number("select 1")
            let first = try install.startWorker()
            try await install.wait(for: "the shards") {
                try await install.number("select count(*) from trunkline.shards where owner is null") == 0
            }
            let boot = try #require(try await install.text("select boot::text from trunkline.workers"))
            let second = try install.startWorker()
            try await install.wait(for: "the second worker's shard") {
                try await install.number("select count(distinct owner) from trunkline.shards") == 2
            }
            // All but the session that renews.
            first.freeze()
            try await install.wait(for: "the worker to stop") { first.isFrozen }
            let others = """
                application_name = '\(boot)' and pid <> (
                    select pid from pg_stat_activity where application_name = '\(boot)' and query ~ '(from|into) trunkline\\.(workers|shards|lines|breakers)' limit 1)
                """
            try await install.database.query("select pg_terminate_backend(pid) from pg_stat_activity where \(others)")
            try await install.wait(for: "the sessions' end") {
                try await install.number("select count(*) from pg_stat_activity where application_name = '\(boot)'")
                    == 1
            }
            let crowd = try await fill(install.databaseURL)
            first.thaw()
            try await install.wait(for: "the second worker to own every shard") {
                try await install.number("select count(*) from trunkline.shards where owner is distinct from '\(boot)'")
                    == 2
            }
            try await install.publish([try TestInstall.job("meanwhile")])
            try await install.waitUntilSent(1)
            for session in crowd { await session.close() }
            // It comes back and has its part again.
            try await install.wait(for: "the first worker's shard") {
                try await install.number("select count(*) from trunkline.shards where owner = '\(boot)'") == 1
            }
            #expect(first.isRunning && second.isRunning)
            try await install.requireProof(sent: 1)
        }
    }
}
