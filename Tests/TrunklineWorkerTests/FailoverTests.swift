import Foundation
import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// A standby: what it may be, and what happens when the primary dies.
@Suite struct FailoverTests {
    /// The primary is killed under load and its synchronous standby promoted; the workers' URL names both. The simulator
    /// remembers no keys: a call that is asked again after its answer would be a second message.
    @Test func aSynchronousStandbyIsPromotedUnderLoad() async throws {
        try await TestInstall.with(shards: 8, lines: 4, standby: true) { install in
            let servers = try #require(install.servers)
            try await servers.makeStandbySynchronous()
            try install.simulator.control("PUT", "/__sim/settings", #"{"keyMemory":"off"}"#)
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"latency","minMs":20,"maxMs":120}"#)
            let workers = [try install.startWorker(), try install.startWorker()]
            let lines = (1...4).map { "line-0\($0)" }
            // Accepted by PostgreSQL alone: what a failover could lose.
            let rows = try TestInstall.jobs(200, prefix: "row", lines: lines, persons: 100)
            let text = rows.map { String(decoding: $0.encode(), as: UTF8.self) }.joined(separator: "\n")
            let jobs = try TestInstall.jobs(800, lines: lines, persons: 400)
            try await install.publish(jobs)
            try await install.trunkline(["enqueue", "-"], input: text).requireSuccess()
            try await install.wait(for: "the first messages") { install.simulator.report().total.messages >= 100 }
            try #require(
                install.simulator.report().total.messages < 900,
                "nothing is left for the failover to endanger"
            )

            try await servers.database.crash()
            try await servers.promoteStandby()

            try await install.waitUntilSent(1_000, within: .seconds(180))
            try await install.publish(jobs)
            try await install.trunkline(["enqueue", "-"], input: text).requireSuccess()
            try await install.waitUntilSent(1_000)
            try await install.requireProof(sent: 1_000)
            #expect(workers.allSatisfy { $0.isRunning })
        }
    }

    @Test func anAsynchronousStandbyIsRefusedInWords() async throws {
        try await TestInstall.with(shards: 2, lines: 1, standby: true) { install in
            let servers = try #require(install.servers)
            let refused = try install.startWorker()
            try await install.wait(for: "the worker's refusal") { !refused.isRunning }
            #expect(refused.exitStatus == 3)
            #expect(refused.logText.contains("the standby 'standby' is asynchronous"))
            #expect(refused.logText.contains("synchronous_standby_names"))
            #expect(refused.logText.contains("TRUNKLINE_READ_REPLICAS"))
            let doctor = try await install.trunkline(["doctor"])
            #expect(doctor.status == 1)
            #expect(doctor.output.contains("FAILED  replication: asynchronous: standby"))

            // Another name excuses nobody.
            let other = try install.startWorker(["TRUNKLINE_READ_REPLICAS": "reports"])
            try await install.wait(for: "the other worker's refusal") { !other.isRunning }
            #expect(other.exitStatus == 3)

            // The operator's word.
            #expect(try await install.trunkline(["doctor", "--read-replicas", "reports, standby"]).status == 0)
            let excused = try install.startWorker(["TRUNKLINE_READ_REPLICAS": "standby"])
            try await install.publish([try TestInstall.job("excused")])
            try await install.waitUntilSent(1)
            excused.send(15)

            // A role that may not see how the standby streams is told so.
            let password = try #require(URLComponents(string: servers.databaseURL)?.password)
            try await install.database.script(
                "create role watcher login password '\(password)'; grant usage on schema trunkline to watcher; grant select on all tables in schema trunkline to watcher"
            )
            let watching = install.databaseURL.replacing("//postgres:", with: "//watcher:")
            let hidden = try await install.trunkline(["doctor"], environment: ["TRUNKLINE_DATABASE_URL": watching])
            #expect(hidden.output.contains("warning replication: a standby is connected, and this role may not see"))

            try await servers.makeStandbySynchronous()
            let doctorNow = try await install.trunkline(["doctor"])
            #expect(doctorNow.status == 0, "\(doctorNow.output)")
            #expect(doctorNow.output.contains("ok      replication: synchronous: standby"))
            _ = try install.startWorker()
            try await install.publish([try TestInstall.job("synchronous")])
            try await install.waitUntilSent(2)

            // What does not wait for the standby is as asynchronous as before.
            try await install.database.script("alter role postgres set synchronous_commit = 'local'")
            let local = try install.startWorker()
            try await install.wait(for: "the refusal of local commits") { !local.isRunning }
            #expect(local.exitStatus == 3 && local.logText.contains("synchronous_commit is local"))
        }
    }

    /// A worker whose database is a standby waits for its promotion.
    @Test func aWorkerOnAStandbyWaitsForItsPromotion() async throws {
        try await TestInstall.with(shards: 2, lines: 1, standby: true) { install in
            let servers = try #require(install.servers)
            try await servers.makeStandbySynchronous()
            let copy = try #require(servers.standbyURL)
            let standby = copy[..<(try #require(copy.lastIndex(of: "/")))] + "/" + install.vhost
            let worker = try install.startWorker(["TRUNKLINE_DATABASE_URL": standby])
            try await install.wait(for: "the worker's word") { worker.logText.contains("is a standby (in recovery)") }
            let doctor = try await install.trunkline(["doctor"], environment: ["TRUNKLINE_DATABASE_URL": standby])
            #expect(doctor.status == 1 && doctor.output.contains("FAILED  database role: a standby"))
            #expect(worker.isRunning)
            try await servers.database.crash()
            try await servers.promoteStandby()
            try await install.publish([try TestInstall.job("after")])
            try await install.waitUntilSent(1)
            #expect(worker.logText.split(separator: "\n").count { $0.contains("waiting for it") } == 1)
            try await install.requireProof(sent: 1)
        }
    }
}
