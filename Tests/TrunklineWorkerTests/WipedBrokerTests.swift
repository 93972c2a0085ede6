import PostgresDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// Queues that somebody deletes, and brokers that forget everything. What PostgreSQL has is not lost; what only the broker
/// had is, so whoever does not know gives it again.
@Suite struct WipedBrokerTests {
    private static let healed = "exchanges and queues are in place again"

    /// Waits until every shard's queue is there and somebody consumes from it.
    private func waitUntilHealed(_ install: TestInstall, shards: Int) async throws {
        try await install.wait(for: "every shard's queue with a consumer", within: .seconds(60)) {
            let queues = try await install.queues()
            return (0..<shards).allSatisfy { (queues["trunkline.shard.0\($0)"]?.consumers ?? 0) > 0 }
                && queues["trunkline.intake"] != nil && queues["trunkline.retry.10m"] != nil
        }
    }

    @Test func aDeletedQueueIsDeclaredAgainUnderLoad() async throws {
        try await TestInstall.with(shards: 2, lines: 2) { install in
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"latency","minMs":20,"maxMs":60}"#)
            let workers = [try install.startWorker(), try install.startWorker()]
            let jobs = try TestInstall.jobs(400)
            try await install.publish(jobs)
            try await install.wait(for: "the first messages") { install.simulator.report().total.messages >= 50 }
            for queue in ["trunkline.shard.00", "trunkline.shard.01", "trunkline.intake"] {
                try await install.broker.deleteQueue(queue, of: install.vhost)
            }
            try await waitUntilHealed(install, shards: 2)
            try await install.publish(jobs)
            try await install.waitUntilSent(400)
            try await install.requireProof(sent: 400)
            #expect(workers.allSatisfy { $0.isRunning })
            #expect(workers.contains { $0.logText.contains(Self.healed) })
        }
    }

    /// Nobody consumes from a tier, so nobody is told when it goes.
    @Test func aDeletedTierAndAnExchangeAreNoticed() async throws {
        try await TestInstall.with(shards: 2, lines: 1) { install in
            let worker = try install.startWorker()
            try await waitUntilHealed(install, shards: 2)
            try await install.broker.deleteQueue("trunkline.retry.10m", of: install.vhost)
            try await install.wait(for: "the tier") { try await install.queues()["trunkline.retry.10m"] != nil }
            try await install.wait(for: "the worker's word") { worker.logText.contains(Self.healed) }
        }
    }

    @Test func aVirtualHostThatIsDeletedAndMadeAgainIsFilledAgain() async throws {
        try await TestInstall.with(shards: 4, lines: 2, pace: "20/s") { install in
            let worker = try install.startWorker()
            let jobs = try TestInstall.jobs(200)
            try await install.publish(jobs)
            try await install.wait(for: "all of it in PostgreSQL, most of it waiting") {
                try await install.number("select count(*) from trunkline.ledger") == 200
            }
            try await install.wipeBroker()
            // What PostgreSQL has goes on without the broker's help.
            try await waitUntilHealed(install, shards: 4)
            try await install.publish(jobs + (try TestInstall.jobs(20, prefix: "after")))
            try await install.waitUntilSent(220)
            try await install.requireProof(sent: 220)
            #expect(worker.isRunning)
        }
    }

    /// Jobs of every kind, a broker that was reset, and no worker: `rehydrate` wakes each where it belongs.
    @Test func rehydrateWakesEveryUnfinishedJob() async throws {
        try await TestInstall.with(shards: 4, lines: 2, ownServers: true) { install in
            // Some wait for a later try, some may have been sent, some are parked.
            try install.simulator.control("POST", "/__sim/faults", #"{"kind":"status","status":503,"count":40}"#)
            let worker = try install.startWorker()
            let jobs = try TestInstall.jobs(40, prefix: "tried", persons: 40)
            try await install.publish(jobs)
            try await install.wait(for: "forty calls that may have been sent") {
                try await install.number("select count(*) from trunkline.jobs where state = 'unknown'") > 0
            }
            worker.kill()
            try await install.wait(for: "the worker's end") { !worker.isRunning }
            let rows = try TestInstall.jobs(300, prefix: "row", persons: 100)
            let text = rows.map { String(decoding: $0.encode(), as: UTF8.self) }.joined(separator: "\n")
            try await install.trunkline(["enqueue", "-"], input: text).requireSuccess()

            try await install.broker.rabbitmqctl("stop_app")
            try await install.broker.rabbitmqctl("reset")
            try await install.broker.rabbitmqctl("start_app")
            try await install.makeVirtualHost()
            let left = try await install.queues()
            #expect(left.isEmpty)

            // As after a long time without an answer.
            try await install.database.script(
                """
                update trunkline.jobs set due_at = now() + interval '3 hours' where id in (
                    select id from trunkline.jobs where state in ('waiting', 'unknown') order by id limit 5);
                update trunkline.jobs set due_at = now() + interval '90 seconds' where id in (
                    select id from trunkline.jobs where state in ('waiting', 'unknown') and due_at < now() + interval '1 hour'
                    order by id limit 3);
                """
            )
            func count(_ condition: String) async throws -> Int {
                Int(try await install.number("select count(*) from trunkline.jobs where \(condition)"))
            }
            let inHours = try await count("state in ('waiting', 'unknown') and due_at > now() + interval '1 hour'")
            let sending = try await count("state = 'sending'")
            let all = try await count("state <> 'parked'")
            #expect(inHours == 5)
            let done = try await install.trunkline(["rehydrate", "--json"]).requireSuccess()
            #expect(done.output.contains(#""jobs" : \#(all)"#) && done.output.contains(#""inAttempt" : \#(sending)"#))
            try await install.wait(for: "a wake-up for each in its place") {
                let queues = try await install.queues()
                // What is due in seconds may be in a tier, or back from it.
                let soon = ["trunkline.retry.5s", "trunkline.retry.30s"].reduce(0) { $0 + (queues[$1]?.ready ?? 0) }
                let now = (0..<4).reduce(0) { $0 + (queues["trunkline.shard.0\($1)"]?.ready ?? 0) }
                return queues["trunkline.retry.10m"]?.ready == 5 && now >= 300 && soon + now + 5 == all - sending
            }
            // To repeat it is safe.
            try await install.trunkline(["rehydrate"]).requireSuccess()

            // So that the test need not wait three hours.
            try await install.database.script("update trunkline.jobs set due_at = now() where due_at > now()")
            _ = try install.startWorker()
            try await install.waitUntilSent(340, within: .seconds(180))
            try await install.requireProof(sent: 340)
        }
    }
}
