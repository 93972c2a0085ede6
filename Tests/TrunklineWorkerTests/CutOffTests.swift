import EventLoop
import Foundation
import Synchronization
import TestKit
import Testing
import TrunklineChaos
import TrunklineCore
import TrunklineTesting

/// The mechanisms behind `HalfANetworkTests`, each with and without.
@Suite struct CutOffTests {
    private final class Connections: Sendable {
        private let count = Mutex(0)
        func next() -> Int {
            count.withLock { count in
                count += 1
                return count
            }
        }
    }

    private static let lines = (1...6).map { "line-0\($0)" }

    private func off(_ mechanism: String, unless isOn: Bool) -> [String: String] {
        isOn ? [:] : ["TRUNKLINE_TURN_OFF": mechanism]
    }

    /// Without it the worker that is cut off from the database stays the broker's active consumer, and holds what comes for
    /// as long as its wire is dead.
    @Test(arguments: [true, false])
    func aWorkerThatIsCutOffFromTheDatabaseGivesItsMessagesBack(isOn: Bool) async throws {
        try await WorkerFleet.with(workers: 2, environment: off("give_back", unless: isOn)) { fleet in
            let install = fleet.install
            await fleet.ways[0][.database].block(.both)
            let cut = QuietClock.shared.now
            try await install.wait(for: "every shard with the other worker") {
                try await fleet.owned(by: fleet.workers[1]) == 6
            }
            try await install.publish(try TestInstall.jobs(300, lines: Self.lines))
            try await install.publish(
                try TestInstall.jobs(60, prefix: "intake", lines: Self.lines),
                routingKey: Route.send
            )
            func sent() async throws -> Int64 {
                let direct = try await fleet.sent("job")
                return try await direct + fleet.sent("intake")
            }
            if isOn {
                try await QuietClock.shared.wait(for: "everything", within: .seconds(20), since: cut, install) {
                    try await sent() == 360
                }
            } else {
                // Half as long again. A machine so busy that the broker has missed heartbeats has helped by itself.
                try await Task.sleep(for: .seconds(30))
                let isHeld = try await sent() < 360
                #expect(isHeld || fleet.workers[0].logText.contains("broker connection lost"))
            }
            fleet.ways[0][.database].heal()
            try await install.waitUntilSent(360)
            #expect(fleet.allRun)
            try await install.requireProof(sent: 360)
        }
    }

    @Test(arguments: [true, false])
    func aWorkerThatNeverHadTheDatabaseDoesNotSubscribe(isOn: Bool) async throws {
        let loop = EventLoop(name: "ways")
        loop.start()
        defer {
            loop.stop()
            loop.join()
        }
        try await TestInstall.with(shards: 2, lines: 1) { install in
            let ways = try Ways(install, on: loop)
            // The look that a worker takes at the database before it starts gets through; its own sessions do not.
            let connections = Connections()
            await ways[.database].block(.both) { connections.next() > 1 ? $0 : [] }
            let worker = try install.startWorker(ways.environment.merging(off("give_back", unless: isOn)) { $1 })
            try await install.wait(for: "the broker") { worker.logText.contains("broker connected") }
            func consumers() async throws -> Int { try await install.queues()["trunkline.intake"]?.consumers ?? 0 }
            if isOn {
                // As long as it took to connect, several times over.
                try await Task.sleep(for: .seconds(3))
                #expect(try await consumers() == 0)
            } else {
                try await install.wait(for: "a consumer") { try await consumers() == 1 }
            }
            ways[.database].heal()
            try await install.publish([try TestInstall.job("late")], routingKey: Route.send)
            try await install.waitUntilSent(1)
            try await install.requireProof(sent: 1)
            for proxy in ways.proxies.values { proxy.stop() }
        }
    }

    /// One session is silent while the others work: libpq would wait for ever. Its wire is blocked, and the server's process
    /// left alone: stopped, it may hold a lock that every other test's sessions need.
    @Test(arguments: ["(adopt|expire|take)", "(settle|gate)"])
    func aSilentSessionIsMadeAnew(_ statement: String) async throws {
        try await WorkerFleet.with(workers: 2) { fleet in
            let install = fleet.install
            try await install.publish(try TestInstall.jobs(30, prefix: "before", lines: Self.lines))
            try await install.waitUntilSent(30)
            let boot = try await fleet.boot(of: fleet.workers[0])
            let way = fleet.ways[0][.database]
            var session: FaultProxy.OpenFlow?
            try await install.wait(for: "the session that was used last for \(statement)") {
                // What the server takes for the client's port is the proxy's own.
                let port = try await install.number(
                    "select client_port from pg_stat_activity where application_name = '\(boot)' and query ~ 'trunkline\\.\(statement)'"
                )
                session = await way.openFlows().first { Int64($0.serverPort) == port }
                return session != nil
            }
            let port = try #require(session).clientPort
            #expect(await way.block(.both) { $0.intersection([port]) }.hits == 1)
            try await install.publish(try TestInstall.jobs(60, lines: Self.lines))
            try await install.wait(for: "the end of the silent session") {
                fleet.workers[0].logText.contains("answers nothing, and the server waits for it")
            }
            try await install.waitUntilSent(90)
            #expect(fleet.allRun)
            try await install.requireProof(sent: 90)
        }
    }

    /// One of two workers drains while it takes slowly from a shared queue. Cancelled only, the queue would give the next
    /// worker what comes after the messages that this one still takes.
    @Test(arguments: [true, false])
    func aDrainKeepsEveryPersonsOrder(isOn: Bool) async throws {
        let loop = EventLoop(name: "ways")
        loop.start()
        defer {
            loop.stop()
            loop.join()
        }
        try await TestInstall.with(shards: 4, lines: 4, journal: true) { install in
            let ways = try Ways(install, on: loop)
            defer { for proxy in ways.proxies.values { proxy.stop() } }
            let environment = off("drain_gives_back", unless: isOn)
            let first = try install.startWorker(ways.environment.merging(environment) { $1 })
            try await install.wait(for: "the first worker's subscriptions") {
                try await install.queues()["trunkline.intake"]?.consumers == 1
            }
            let second = try install.startWorker(environment)
            try await install.wait(for: "the second worker's shards") {
                try await install.number("select count(distinct owner) from trunkline.shards") == 2
            }
            await ways[.database].slow(by: .milliseconds(300))
            // More than one consumer may hold, each person's in the order of the numbers.
            let count = 700
            let persons = 20
            try await install.publish(
                try (0..<count).map { number in
                    try TestInstall.job(
                        "drain.\(number)",
                        line: "line-0\(number % 4 + 1)",
                        to: "+97250" + String(1_000_000 + number % persons)
                    )
                },
                routingKey: Route.send
            )
            try await install.wait(for: "the first take") {
                try await install.number("select count(*) from trunkline.ledger") > 0
            }
            first.send(SIGTERM)
            try await install.waitUntilSent(count)
            try await install.wait(for: "the end of the drained worker") { !first.isRunning }
            #expect(first.exitStatus == 0 && second.isRunning)
            try await install.requireProof(sent: count)
            let inversions = try Self.inversions(install)
            #expect(isOn ? inversions == 0 : inversions > 0)
        }
    }

    /// Effects that came after a later one of their person.
    private static func inversions(_ install: TestInstall) throws -> Int {
        struct Record: Decodable {
            let kind: String
            let key: String?
            let to: String?
        }
        let journal = try String(contentsOf: install.folder.appendingPathComponent("journal.ndjson"), encoding: .utf8)
        var last: [String: Int] = [:]
        var inversions = 0
        for line in journal.split(separator: "\n") {
            let record = try JSONDecoder().decode(Record.self, from: Data(line.utf8))
            guard record.kind == "effect", let to = record.to,
                let number = record.key.flatMap({ $0.split(separator: ".").last }).flatMap({ Int($0) })
            else { continue }
            if let before = last[to], number < before { inversions += 1 }
            last[to] = max(last[to] ?? 0, number)
        }
        return inversions
    }

    /// A worker whose own wire to the API is dead while the others' are not. It gets its part back when it has proven that it
    /// is answered.
    @Test(arguments: [true, false])
    func aWorkerThatCannotReachTheAPIGivesItsShardsAway(isOn: Bool) async throws {
        try await WorkerFleet.with(workers: 2, environment: off("reach", unless: isOn)) { fleet in
            let install = fleet.install
            await fleet.ways[0][.api].refuse()
            let cut = QuietClock.shared.now
            try await install.publish(try TestInstall.jobs(60, lines: Self.lines))
            if isOn {
                try await QuietClock.shared.wait(for: "the shards to move", within: .seconds(20), since: cut, install) {
                    try await fleet.owned(by: fleet.workers[1]) == 6
                }
                try await install.waitUntilSent(60)
            } else {
                // Half as long again.
                try await Task.sleep(for: .seconds(30))
                #expect(try await fleet.owned(by: fleet.workers[0]) == 3)
                #expect(try await fleet.sent("job") < 60)
            }
            fleet.ways[0][.api].heal()
            try await install.waitUntilSent(60)
            try await install.wait(for: "an even division again") {
                try await fleet.owned(by: fleet.workers[0]) == 3
            }
            #expect(fleet.allRun)
            try await install.requireProof(sent: 60)
        }
    }

    /// All the work there is lies with the worker whose wire to the API is dead: by the calls that are made at all the API is
    /// away, and nobody who could ask it has a reason to.
    @Test func aWorkerThatCannotReachTheAPIWithAllTheWorkStopsNobody() async throws {
        try await WorkerFleet.with(workers: 3, lines: 24) { fleet in
            let install = fleet.install
            let lines =
                try await install.text(
                    """
                    select string_agg(substr(l.name, 6), ',') from trunkline.lanes l
                    join trunkline.shards s on s.shard = l.shard_hash % 6 join trunkline.workers w on w.boot = s.owner
                    where w.pid = \(fleet.workers[0].pid)
                    """
                )?.split(separator: ",").map(String.init) ?? []
            try #require(lines.count >= 3, "enough for an alarm")
            await fleet.ways[0][.api].refuse()
            let cut = QuietClock.shared.now
            try await install.publish(try TestInstall.jobs(60, lines: lines))
            try await QuietClock.shared.wait(for: "everything", within: .seconds(20), since: cut, install) {
                try await fleet.sent("job") == 60
            }
            fleet.ways[0][.api].heal()
            #expect(fleet.allRun)
            try await install.requireProof(sent: 60)
        }
    }

    /// Most of the workers reach nobody, and have all the say that numbers give. The one that is answered is not stopped for
    /// them, and keeps what it got from them.
    @Test func mostWorkersCutOffFromTheAPIStopNobody() async throws {
        try await WorkerFleet.with(workers: 3, lines: 24) { fleet in
            let install = fleet.install
            let lines = (1...24).map { String(format: "line-%02d", $0) }
            for way in fleet.ways.prefix(2) { await way[.api].refuse() }
            let clock = QuietClock.shared
            let cut = clock.now
            var given = 0
            func give() async throws {
                try await install.publish(try TestInstall.jobs(24, prefix: "batch\(given)", lines: lines))
                given += 24
            }
            try await give()
            try await clock.wait(
                for: "every shard with the one that is answered",
                within: .seconds(30),
                since: cut,
                install
            ) {
                try await give()
                return try await fleet.owned(by: fleet.workers[2]) == 6
            }
            let began = clock.now
            try await clock.wait(for: "30 s of the cut", within: .seconds(60), install) {
                try await give()
                try await Task.sleep(for: .milliseconds(500))
                #expect(try await fleet.owned(by: fleet.workers[2]) == 6)
                return clock.now - began > .seconds(30)
            }
            try await install.waitUntilSent(given)
            let openings = fleet.workers[2].logText.split(separator: "\n").count { $0.contains("breaker open") }
            #expect(openings <= 2, "\(openings) openings")
            for way in fleet.ways.prefix(2) { way[.api].heal() }
            #expect(fleet.allRun)
            try await install.requireProof(sent: given)
        }
    }
}
