import EventLoop
import Foundation
import TestKit
import Testing
import TrunklineChaos
import TrunklineCore
import TrunklineSimulator
import TrunklineTesting

/// Workers that cannot reach the broker while others can, or while nobody can.
@Suite struct BrokerlessTests {
    /// A way to the broker of one worker's own, that a test can close.
    private final class Way: Sendable {
        let url: String
        private let broker: UInt16
        private let loop: EventLoop
        let proxy: FaultProxy

        init(_ install: TestInstall, on loop: EventLoop) throws {
            let components = try #require(URLComponents(string: install.amqpURL))
            broker = UInt16(try #require(components.port))
            self.loop = loop
            proxy = try FaultProxy(to: broker, speech: .amqp, on: loop)
            url = install.amqpURL.replacing(":\(broker)/", with: ":\(proxy.port)/")
        }
    }

    @Test func aWorkerWithoutABrokerGivesItsShardsToOneThatHasOneAndKeepsThemWhenNoneHas() async throws {
        let loop = EventLoop(name: "ways")
        loop.start()
        defer {
            loop.stop()
            loop.join()
        }
        try await TestInstall.with(shards: 4, lines: 4) { install in
            let ways = [try Way(install, on: loop), try Way(install, on: loop)]
            let workers = try ways.map { try install.startWorker(["TRUNKLINE_AMQP_URL": $0.url]) }
            func owned(by worker: TestInstall.WorkerHandle) async throws -> Int64 {
                try await install.number(
                    "select count(*) from trunkline.shards s join trunkline.workers w on w.boot = s.owner where w.pid = \(worker.pid)"
                )
            }
            try await install.wait(for: "two shards each") {
                let first = try await owned(by: workers[0])
                let second = try await owned(by: workers[1])
                return first == 2 && second == 2
            }
            // One of them loses the broker for good, and gives away what it has: without being dead or stopping.
            ways[0].proxy.stop()
            try await install.wait(for: "every shard with the one that has a broker") {
                try await owned(by: workers[1]) == 4
            }
            let lines = (1...4).map { "line-0\($0)" }
            try await install.publish(try TestInstall.jobs(40, lines: lines))
            try await install.waitUntilSent(40)
            #expect(workers[0].isRunning && !workers[1].logText.contains("from_silent_workers=1"))

            // Now nobody has: they divide the shards again, and send what PostgreSQL has.
            ways[1].proxy.stop()
            try await install.wait(for: "two shards each, without a broker") {
                let first = try await owned(by: workers[0])
                let second = try await owned(by: workers[1])
                return first == 2 && second == 2
            }
            let rows = try TestInstall.jobs(40, prefix: "row", lines: lines).map {
                String(decoding: $0.encode(), as: UTF8.self)
            }
            try await install.trunkline(["enqueue", "-"], input: rows.joined(separator: "\n")).requireSuccess()
            try await install.waitUntilSent(80)
            try await install.requireProof(sent: 80)
        }
    }
}
