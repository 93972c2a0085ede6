import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// Broker and database go away under load and come back: nothing lost, nothing twice.
@Suite struct ServerFaultTests {
    private func underLoad(adds more: Int = 0, _ fault: @Sendable (PrivateServers, TestInstall) async throws -> Void)
        async throws
    {
        try await TestInstall.with(shards: 8, lines: 4, ownServers: true) { install in
            let servers = try #require(install.servers)
            try await install.wait(for: "the broker to know its queues") { servers.brokerKnowsItsQueues() }
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"latency","minMs":20,"maxMs":120}"#)
            _ = try install.startWorker()
            _ = try install.startWorker()
            let lines = (1...4).map { "line-0\($0)" }
            let jobs = try TestInstall.jobs(800, lines: lines, persons: 400)
            try await install.publish(jobs)
            try await install.wait(for: "the first messages") { install.simulator.report().total.messages >= 100 }
            try await fault(servers, install)
            try await install.waitUntilSent(800 + more, within: .seconds(180))
            // Whoever does not know whether a job was accepted gives it again; the key makes it one.
            try await install.wait(for: "the broker to take messages", within: .seconds(60)) {
                do {
                    try await install.publish(jobs)
                    return true
                } catch is TestInstall.Failure {
                    return false
                }
            }
            try await install.waitUntilSent(800 + more)
            try await install.requireProof(sent: 800 + more)
        }
    }

    @Test func theDatabaseCrashesTwice() async throws {
        try await underLoad { servers, install in
            for count in [100, 350] {
                try await install.wait(for: "\(count) messages") { install.simulator.report().total.messages >= count }
                try await servers.database.crash()
                try await servers.database.start()
            }
        }
    }

    @Test func theDatabaseIsRestarted() async throws {
        try await underLoad { servers, _ in try await servers.database.restart() }
    }

    @Test func theBrokerIsKilledAndStarted() async throws {
        try await underLoad { servers, _ in
            try await servers.broker.kill()
            try await servers.broker.start()
        }
    }

    @Test func theBrokerIsRestarted() async throws {
        try await underLoad { servers, _ in try await servers.broker.restart() }
    }

    /// RabbitMQ writes the names of new quorum queues later than their messages: when 'topology apply' says that they are in
    /// place, they outlive a SIGKILL, and so does what they were given at once.
    @Test func whatWasDeclaredOutlivesAKillRightAfterwards() async throws {
        try await TestInstall.with(shards: 8, lines: 2, ownServers: true) { install in
            let servers = try #require(install.servers)
            try await install.wipeBroker()
            try await install.trunkline(["topology", "apply"]).requireSuccess()
            try await install.publish(try TestInstall.jobs(100))
            try await servers.broker.kill()
            try await servers.broker.start()
            _ = try install.startWorker()
            try await install.waitUntilSent(100)
            try await install.requireProof(sent: 100)
        }
    }

    /// What is in PostgreSQL goes on being sent while the broker is away, and accepting rows goes on too.
    @Test func withoutABrokerTheRowsAreSent() async throws {
        try await underLoad(adds: 20) { servers, install in
            try await servers.broker.kill()
            let more = try TestInstall.jobs(20, prefix: "row", lines: ["line-01"]).map {
                String(decoding: $0.encode(), as: UTF8.self)
            }
            try await install.trunkline(["enqueue", "-"], input: more.joined(separator: "\n")).requireSuccess()
            try await install.wait(for: "the rows of the time without a broker") {
                try await install.number(
                    "select count(*) from trunkline.finished where key like 'row.%' and state = 'sent'"
                ) == 20
            }
            try await servers.broker.start()
        }
    }
}
