import EventLoop
import Foundation
import TestKit
import Testing
import TrunklineChaos
import TrunklineTesting

/// The servers that a worker reaches.
enum WorkerServer: String, CaseIterable, Sendable { case database, broker, api }

/// Proxies of one worker's own, between it and each server.
final class Ways: Sendable {
    let proxies: [WorkerServer: FaultProxy]
    let environment: [String: String]

    init(_ install: TestInstall, on loop: EventLoop) throws {
        func port(_ url: String) throws -> UInt16 { UInt16(try #require(URLComponents(string: url)?.port)) }
        let (database, broker, api) = (
            try port(install.databaseURL), try port(install.amqpURL), try port(install.lineURL)
        )
        let proxies: [WorkerServer: FaultProxy] = [
            .database: try FaultProxy(to: database, speech: .postgres, on: loop),
            .broker: try FaultProxy(to: broker, speech: .amqp, on: loop),
            .api: try FaultProxy(to: api, speech: .http, on: loop),
        ]
        self.proxies = proxies
        environment = [
            "TRUNKLINE_DATABASE_URL": install.databaseURL.replacing(
                ":\(database)/",
                with: ":\(proxies[.database]!.port)/"
            ),
            "TRUNKLINE_AMQP_URL": install.amqpURL.replacing(":\(broker)/", with: ":\(proxies[.broker]!.port)/"),
            "TRUNKLINE_CONNECT_TO": "127.0.0.1:\(api):127.0.0.1:\(proxies[.api]!.port)",
        ]
    }

    subscript(server: WorkerServer) -> FaultProxy { proxies[server]! }
}

/// An install with workers that each have ways of their own.
final class WorkerFleet: Sendable {
    let install: TestInstall
    let ways: [Ways]
    let workers: [TestInstall.WorkerHandle]

    private init(_ install: TestInstall, _ ways: [Ways], _ workers: [TestInstall.WorkerHandle]) {
        self.install = install
        self.ways = ways
        self.workers = workers
    }

    /// Runs `body` when every shard has its owner and every worker its part, and all of them listen.
    static func with(
        workers count: Int,
        shards: Int = 6,
        lines: Int = 6,
        journal: Bool = false,
        environment: [String: String] = [:],
        _ body: (WorkerFleet) async throws -> Void
    ) async throws {
        let loop = EventLoop(name: "ways")
        loop.start()
        defer {
            loop.stop()
            loop.join()
        }
        try await TestInstall.with(shards: shards, lines: lines, journal: journal) { install in
            let ways = try (0..<count).map { _ in try Ways(install, on: loop) }
            defer { for way in ways { for proxy in way.proxies.values { proxy.stop() } } }
            let workers = try ways.map { try install.startWorker($0.environment.merging(environment) { $1 }) }
            let fleet = WorkerFleet(install, ways, workers)
            try await fleet.install.wait(for: "an even division of the shards") {
                for worker in workers where try await fleet.owned(by: worker) != Int64(shards / count) { return false }
                return true
            }
            // A worker that had not subscribed yet would have nothing of the broker's when its wire is cut.
            try await fleet.install.wait(for: "a consumer of every queue") {
                let queues = try await install.queues()
                return queues["trunkline.intake"]?.consumers == count
                    && (0..<shards).allSatisfy { (queues["trunkline.shard.0\($0)"]?.consumers ?? 0) > 0 }
            }
            try await body(fleet)
        }
    }

    /// Whether no worker has ended.
    var allRun: Bool { workers.allSatisfy(\.isRunning) }

    func owned(by worker: TestInstall.WorkerHandle) async throws -> Int64 {
        try await install.number(
            "select count(*) from trunkline.shards s join trunkline.workers w on w.boot = s.owner where w.pid = \(worker.pid)"
        )
    }

    func boot(of worker: TestInstall.WorkerHandle) async throws -> String {
        try #require(try await install.text("select boot::text from trunkline.workers where pid = \(worker.pid)"))
    }

    /// Sent jobs whose keys begin with `prefix`.
    func sent(_ prefix: String) async throws -> Int64 {
        try await install.number(
            "select count(*) from trunkline.finished where state = 'sent' and key like '\(prefix).%'"
        )
    }
}

extension QuietClock {
    /// Asks until `condition` holds; throws when `limit` of quiet time has passed first.
    func wait(
        for what: String,
        within limit: Duration,
        since start: Duration? = nil,
        _ install: TestInstall,
        _ condition: () async throws -> Bool
    ) async throws {
        let deadline = (start ?? now) + limit
        try await install.wait(for: what, within: .seconds(600)) {
            if try await condition() { return true }
            guard self.now < deadline else {
                throw TestInstall.Failure("not within \(limit) of quiet time: \(what)\n\(await install.situation())")
            }
            return false
        }
    }
}
