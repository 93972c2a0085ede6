import PostgresDriver
import RabbitDriver
import TestKit
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklineEngine

/// Deliveries on their way in, and as people look at them.
@Suite struct DeliveriesTests {
    private static func delivery(
        _ number: Int,
        to destination: String = "crm",
        order: Int? = nil,
        orderingKey: String? = nil
    ) throws -> DeliverJob {
        try DeliverJob(
            destination: DestinationID(destination),
            key: IdempotencyKey("event:acme.\(number)"),
            type: "order.ready",
            happenedAt: Timestamp(rfc3339: "2026-11-01T00:00:00Z")!,
            data: .object([.init("order", .number("\(order ?? number)"))]),
            orderingKey: orderingKey
        )
    }

    private static func withInstall<R>(_ body: (AdminDatabase) async throws -> R) async throws -> R {
        try await AdminDatabase.with { database in
            try await database.addDestination("crm", workspace: "acme")
            try await database.addDestination("sheet", workspace: "acme")
            return try await body(database)
        }
    }

    private static func accept(_ works: [CarriedWork], _ database: AdminDatabase) async throws -> [AcceptVerdict] {
        let acceptor = database.acceptor()
        let verdicts = try await acceptor.accept(works)
        await acceptor.close()
        return verdicts
    }

    @Test func oneKeyIsOneDeliveryPerDestination() async throws {
        try await Self.withInstall { database in
            let send = CarriedWork.send(
                try SendJob(
                    line: LineID("acme-1"),
                    key: IdempotencyKey("event:acme.1"),
                    to: PhoneNumber("+972501234567"),
                    body: "Ready.",
                    purpose: .order
                )
            )
            let verdicts = try await Self.accept(
                [
                    .deliver(Self.delivery(1)), .deliver(Self.delivery(1, to: "sheet")), send,
                    .deliver(Self.delivery(1)), .deliver(Self.delivery(1, order: 2)),
                    .deliver(Self.delivery(2, to: "nobody")), .deliver(Self.delivery(3, to: "acme-1")),
                ],
                database
            )
            #expect(verdicts.map(\.word) == ["new", "new", "new", "repeat", "conflict", "refused", "refused"])
            #expect(Set(verdicts[..<3].compactMap(\.job)).count == 3)
            let crm = LaneName.destination(try DestinationID("crm"))
            #expect(verdicts[3] == .repeat(try #require(verdicts[0].job), lane: crm, finalState: nil))
            let conflict = verdicts[4].refusal(of: .deliver(try Self.delivery(1)))
            #expect(conflict?.reason.contains("another delivery already") == true)
            #expect(conflict?.reason.hasSuffix("on destination crm") == true)
            #expect(verdicts[5] == .unknownLane && verdicts[6] == .unknownLane)
            #expect(
                verdicts[5].complaint(about: .deliver(try Self.delivery(2, to: "nobody")))?.reason
                    == "there is no destination nobody"
            )
            // The stored request is what the carrier made of it, and what a repeated look compares.
            let stored = try await database.session.query(
                "select j.request, j.recipient, j.purpose from trunkline.jobs j where j.id = $1",
                [.int8(try #require(verdicts[0].job).value)]
            )
            #expect(stored.bytes(0, 0) == (try Self.delivery(1).content))
            #expect(stored.text(0, 1) == nil && stored.text(0, 2) == nil)
            let refusals = try await database.install.refusals(kind: "unknown_destination", limit: 10)
            #expect(Set(refusals.map(\.lane?.destination)) == ["nobody", "acme-1"])
            let crmOnly = try await database.install.refusals(lane: crm, limit: 10)
            #expect(crmOnly.map(\.kind) == ["conflict"])
            #expect(try await Check.run(database.session).addsUp)
        }
    }

    @Test func aKindThatThisProgramDoesNotKnowIsRefused() async throws {
        try await Self.withInstall { database in
            try await database.session.query(
                "update trunkline.lanes set carrier = 'fax' where name = 'destination:crm'"
            )
            let verdicts = try await Self.accept(
                [.deliver(Self.delivery(1)), .deliver(Self.delivery(1, to: "sheet"))],
                database
            )
            guard case .refused(let refusal) = verdicts[0] else {
                Issue.record("\(verdicts[0])")
                return
            }
            #expect(refusal.field == "destination" && refusal.reason.contains("kind fax"))
            #expect(verdicts[1].isNew)
        }
    }

    @Test func oneOrderingKeyGoesInOrderAndOthersWaitForNobody() async throws {
        try await Self.withInstall { database in
            let ids = try await Self.accept(
                [
                    .deliver(Self.delivery(1, orderingKey: "order:1")),
                    .deliver(Self.delivery(2, orderingKey: "order:1")),
                    .deliver(Self.delivery(3)), .deliver(Self.delivery(4)),
                ],
                database
            ).compactMap(\.job)
            try await database.run(ids, outcome: "none")
            let rows = try await database.session.query(
                "select id from trunkline.jobs where state = 'sending' order by id"
            )
            #expect((0..<rows.count).map { rows.int8($0, 0) } == [ids[0], ids[2], ids[3]].map(\.value))
        }
    }

    /// The horizon is the lane's own: what a line parks after half a day, a destination asks about for a day.
    @Test func eachLaneHasItsOwnHorizon() async throws {
        try await Self.withInstall { database in
            let ids = try await Self.accept([.deliver(Self.delivery(1)), .send(notice(1))], database).compactMap(\.job)
            try await database.run(ids, outcome: "unknown", reason: "timed_out", mayHaveLeft: true)
            try await database.session.query("update trunkline.jobs set maybe_sent_since = now() - interval '13 hours'")
            let owner: [PostgresParameter] = [
                .uuid([UInt8](repeating: 7, count: 16)), .int4(16), .int4Array((0..<16).map { $0 }),
                .int8Array([Int64?](repeating: 1, count: 16)),
            ]
            func expired() async throws -> [Int64?] {
                let rows = try await database.session.query(Statements.expire.sql, owner + [.int4(500)])
                return (0..<rows.count).map { rows.int8($0, 0) }
            }
            #expect(try await expired() == [ids[1].value])
            #expect(try await expired() == [])
            try await database.session.query("update trunkline.jobs set maybe_sent_since = now() - interval '25 hours'")
            #expect(try await expired() == [ids[0].value])
            let parked = try await database.install.parkedJobs(limit: 10)
            #expect(parked.map(\.reason) == ["unknown_horizon", "unknown_horizon"])
            #expect(parked.map(\.recipient).filter { $0 == nil }.count == 1)
            let crm = LaneName.destination(try DestinationID("crm"))
            #expect(try await database.install.parkedJobs(lane: crm, limit: 10).map(\.id) == [ids[0]])
        }
    }

    @Test func peopleReadOfADestinationAsOfALine() async throws {
        try await Self.withInstall { database in
            let ids = try await Self.accept(
                [.deliver(Self.delivery(1)), .deliver(Self.delivery(2)), .send(notice(1))],
                database
            ).compactMap(\.job)
            try await database.run([ids[0]])
            let status = try await database.install.fleetStatus()
            #expect(status.lines.map(\.id) == ["acme-1", "acme-2", "other-1"])
            #expect(status.destinations.map(\.id) == ["crm", "sheet"])
            #expect(status.destinations[0].sentToday == 1 && status.destinations[0].backlog == ["waiting": 1])
            #expect(status.sentToday == 1 && status.backlog.values.reduce(0, +) == 2)

            try await database.session.script(
                "update trunkline.lanes set hold_reason = 'they move', held_at = now() where name = 'destination:crm'"
            )
            let waiting = try #require(try await database.install.stories("event:acme.2").first)
            #expect(waiting.lane.label.destination == "crm" && waiting.recipient == nil && waiting.purpose == nil)
            #expect(
                waiting.sentence.contains("the destination crm is held by hand")
                    && waiting.sentence.contains("'trunkline destination resume crm'")
            )
            #expect(try await database.install.stories("\(ids[0])").first?.state == "sent")

            let check = try await Check.run(database.session)
            #expect(check.addsUp && check.lanes.map(\.lane.description) == ["acme-1", "destination crm"])
        }
    }

    @Test func aChangedRequestOfADeliveryIsFound() async throws {
        try await Self.withInstall { database in
            let ids = try await Self.accept([.deliver(Self.delivery(1)), .deliver(Self.delivery(2))], database)
                .compactMap(\.job)
            try await database.session.query(
                "update trunkline.jobs set request = $2 where id = $1",
                [.int8(ids[0].value), .bytes(try Self.delivery(2).content)]
            )
            try await database.session.query(
                "update trunkline.jobs set request = '\\x7b' where id = $1",
                [.int8(ids[1].value)]
            )
            let check = try await Check.run(database.session)
            #expect(check.counts == [.flipped: 2])
            #expect(check.findings.allSatisfy { $0.lane?.destination == "crm" })
        }
    }

    @Test func aCancelMeansOneScope() async throws {
        try await Self.withInstall { database in
            let ids = try await Self.accept(
                [.deliver(Self.delivery(1)), .deliver(Self.delivery(1, to: "sheet"))],
                database
            ).compactMap(\.job)
            let key = try KeyPattern("event:acme.1")
            await #expect(throws: KeyScopeError.self) { try await database.install.cancel(key) { _ in } }
            var told: [Cancellation.Item] = []
            let report = try await database.install.cancel(key, in: .destination(DestinationID("sheet"))) { told += $0 }
            #expect(report.cancelled == 1 && told.map(\.job) == [ids[1]])
            #expect(told.map(\.lane.description) == ["destination sheet"])
            #expect(try await database.count("jobs") == 1)
            // Where a notice has the key, who names nobody means the notice.
            let send = try SendJob(
                line: LineID("acme-1"),
                key: IdempotencyKey("event:acme.1"),
                to: PhoneNumber("+972501234567"),
                body: "Ready.",
                purpose: .order
            )
            let notice = try #require(try await database.accept([send]).first?.job)
            told = []
            _ = try await database.install.cancel(key) { told += $0 }
            #expect(told.filter { $0.verdict == .cancelled }.map(\.job) == [notice])
        }
    }

    @Test func brokerFirstGoesToTheShardOfTheDestination() async throws {
        try await TestServers.withVirtualHost { amqp in
            try await Self.withInstall { database in
                _ = try await BrokerSession.withSession(url: amqp, connectionName: "tests") {
                    try await $0.apply(shards: 16)
                }
                let acceptor = try BrokerAcceptor(amqpURL: amqp, shards: 16, connectionName: "tests")
                #expect(await acceptor.submit([.deliver(try Self.delivery(1))]).verdicts() == [.confirmed])
                await acceptor.close()
                let ready = try await BrokerSession.withSession(url: amqp, connectionName: "tests") { session in
                    try await session.messages(in: Topology.shardQueue(shard(ofLane: "destination:crm", of: 16)))
                }
                #expect(ready == 1)
            }
        }
    }

    @Test func aRefusedDeliveryIsGivenAgain() async throws {
        try await Self.withInstall { database in
            _ = try await Self.accept([.deliver(Self.delivery(1, to: "new"))], database)
            try await database.addDestination("new", workspace: "acme")
            let id = try #require(try await database.install.refusals(limit: 1).first?.id)
            var verdicts: [RefusalReplay.Verdict] = []
            _ = try await database.install.replayRefusals(
                .named([id]),
                by: "anna@desk",
                why: nil,
                isDryRun: false,
                carriers: .standard,
                events: .standard
            ) { verdicts.append($0.verdict) }
            guard case .accepted(let job?) = verdicts.first else {
                Issue.record("\(verdicts)")
                return
            }
            #expect(try await database.install.stories("\(job)").first?.lane.label.destination == "new")
        }
    }
}
