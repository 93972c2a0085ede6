import TestKit
import Testing
import TrunklineCore
import TrunklineTesting

/// A worker that is left alone consumes from every shard, each on a channel of one connection.
@Suite struct ManyShardsTests {
    /// One message in each queue: a queue that nobody consumes from would keep its own.
    @Test func oneWorkerConsumesFromThreeHundredShards() async throws {
        let shards = 300
        try await TestInstall.with(shards: shards) { install in
            let jobs = try TestInstall.jobs(shards, persons: shards)
            try await install.publish(raw: jobs.enumerated().map { (Route.shard($0.offset), $0.element.encode()) })
            _ = try install.startWorker()
            try await install.waitUntilSent(shards, within: .seconds(180))
            try await install.requireProof(sent: shards)
        }
    }

    @Test func moreShardsThanWereTestedAreRefused() async throws {
        try await TestInstall.with(shards: 1) { install in
            let refused = try await install.trunkline(["topology", "apply", "--shards", "1025"])
            #expect(refused.status == 3 && refused.errors.contains("1 to 1024 shards, not 1025"), "\(refused.errors)")
            #expect(try await install.trunkline(["topology", "check"]).status == 0)
        }
    }

    /// What the broker allows is known at the login, and refused before a worker would be left without some of its queues.
    @Test func aBrokerThatAllowsTooFewChannelsIsRefusedInWords() async throws {
        try await TestInstall.with(shards: 32, ownServers: true) { install in
            try await install.broker.evaluate("application:set_env(rabbit, channel_max, 40)")
            let check = try await install.trunkline(["topology", "check"])
            #expect(check.status == 3 && check.errors.contains("allows 40 channels"), "\(check.errors)")
            let worker = try install.startWorker()
            try await install.wait(for: "the end of the worker") { !worker.isRunning }
            #expect(worker.exitStatus == 3 && worker.logText.contains("channel_max"))
            try await install.broker.evaluate("application:set_env(rabbit, channel_max, 48)")
            _ = try install.startWorker()
            try await install.publish(try TestInstall.jobs(20))
            try await install.waitUntilSent(20)
        }
    }
}
