import PostgresDriver
import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineLedgerModel

@testable import RabbitDriver
@testable import TrunklineEngine

@Suite struct IntakeTests {
    private let kit: PartsKit
    private let shard: ConsumedQueue
    private let bulk: ConsumedQueue

    init() throws {
        kit = try PartsKit()
        kit.own()
        let broker = AbsentBroker()
        func queue(_ kind: ConsumedQueue.Kind) -> ConsumedQueue {
            ConsumedQueue(
                kind: kind,
                name: kind.via,
                broker: broker,
                newTag: { 0 },
                onDelivery: { _, _ in },
                onFailure: { _, _ in },
                onLeft: { _ in }
            )
        }
        shard = queue(.shard(1))
        bulk = queue(.bulk)
    }

    private var intake: Intake { kit.parts.intake }
    private var now: ContinuousClock.Instant { kit.here.now }

    private func arrive(_ queue: ConsumedQueue, _ tag: UInt64, key: String? = nil, deliveries: Int = 1) {
        arrive(
            queue,
            tag,
            body: """
                {"schema":"trunkline.send.v1","line":"a","key":"\(key ?? "k\(tag)")","to":"+97250123456\(tag % 10)",\
                "body":"Ready.","purpose":"order"}
                """,
            deliveries: deliveries
        )
    }

    private func arrive(_ queue: ConsumedQueue, _ tag: UInt64, body text: String, deliveries: Int = 1) {
        let body = Array(text.utf8)
        intake.arrived(
            queue,
            RabbitDelivery(
                tag: tag,
                redelivered: deliveries > 1,
                exchange: "",
                routingKey: "",
                contentType: nil,
                messageID: nil,
                deliveryCount: deliveries - 1,
                deathCount: 0,
                firstDeathQueue: nil,
                bodySize: UInt64(body.count),
                body: body
            )
        )
    }

    @Test func oneTakeIsUnderWayAndEverySecondOneIsTheShards() {
        for tag in 1...3 as ClosedRange<UInt64> {
            arrive(bulk, tag)
            arrive(shard, tag + 10)
            intake.take(at: now)
        }
        #expect(kit.intake.names == ["take"])
        var taken: [Int] = []
        while !kit.intake.names.isEmpty {
            let before = kit.model.jobs.count
            kit.intake.end()
            taken.append(kit.model.jobs.count - before)
            intake.take(at: now)
        }
        // The shard's first one; then what gathered meanwhile, the others' and the shard's, a batch each.
        #expect(taken == [1, 3, 2] && intake.isDone)
        #expect(kit.here.telemetry.taken == 6)
    }

    @Test func aJobThatMayGoAtOnceBeginsWithItsTake() throws {
        let lane = try #require(kit.openLane(1))
        arrive(shard, 1)
        arrive(shard, 2)
        intake.take(at: now)
        #expect(lane.inAir == 1 && kit.parts.caller.freeSlots == 7, "a slot is promised to the first")
        kit.intake.endAll()
        #expect(kit.http.calls.count == 1 && kit.parts.attempts.count == 1 && kit.parts.caller.freeSlots == 7)
        #expect(lane.count == 1, "the second waits for the lane's one call")
        #expect(kit.here.telemetry.claimed == 1 && kit.here.telemetry.called == 1)
    }

    /// What was looked at while the lane's one call was promised to a duplicate has nobody else to wake it.
    @Test func aDuplicateOnTheFastPathLeavesNobodyStanding() throws {
        arrive(bulk, 1, key: "known")
        intake.take(at: now)
        kit.intake.endAll()
        let lane = try #require(kit.openLane(1))
        arrive(shard, 2, key: "known")
        intake.take(at: now)
        #expect(lane.inAir == 1)
        lane.add(kit.job(99))
        kit.parts.agenda.look(at: 1)
        kit.parts.board.look(at: now)
        _ = kit.parts.agenda.takeLanes()
        kit.intake.endAll()
        #expect(lane.inAir == 0 && kit.parts.agenda.takeLanes() == [1])
    }

    /// The first came before anybody knew the destination, the second right after.
    @Test func whatLiesAsideForANewLaneGoesFirst() throws {
        func arriveForNew(_ tag: UInt64) {
            arrive(
                bulk,
                tag,
                body: """
                    {"schema":"trunkline.deliver.v1","destination":"new","key":"k\(tag)","type":"order.ready",\
                    "timestamp":"2026-12-01T09:00:00Z","orderingKey":"order:1","data":{}}
                    """
            )
        }
        arriveForNew(1)
        intake.take(at: now)
        #expect(intake.isDone && kit.intake.names.isEmpty)

        let name = LaneName.destination(try DestinationID("new"))
        let carrier = try #require(CarrierRegistry.standard["webhook"])
        let secret = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
        var lane = LedgerModel.Lane(
            name: name,
            number: 2,
            hash: 2,
            carrier: carrier.kind.value,
            horizon: carrier.policy.unknownHorizon,
            interval: 0,
            concurrency: 1,
            gap: 0,
            revision: 2
        )
        lane.address = "https://receiver.example/hook"
        lane.secret = try StoredSecret(
            .sealed(Array(secret.utf8), hint: "", PartsKit.masterKey),
            lane: name,
            address: lane.address
        )
        kit.model.lanes.append(lane)
        kit.model.lastRevision = 2
        kit.parts.directory.look(shardCount: PartsKit.shardCount) { changes in
            if changes.contains(where: \.isNew) { intake.laneIsNew() }
        }
        kit.control.endAll()
        arriveForNew(2)
        for _ in 1...2 {
            intake.take(at: now)
            kit.intake.endAll()
        }
        #expect(kit.model.jobs.map(\.key) == ["k1", "k2"])
        kit.loop.pass(.seconds(6))
        #expect(intake.isDone, "it is put back once")
    }

    /// The reply to the commit that placed the first was lost, and the worker's memory was built before that commit.
    @Test func aJobThatStaysBehindOneThatNobodyRemembersHasItsShardReadAnew() throws {
        arrive(shard, 1)
        arrive(shard, 11)
        intake.take(at: now)
        kit.intake.endAll()
        let second = try #require(kit.model.jobs.last)
        #expect(kit.model.jobs.count == 2 && kit.model.jobs[0].person == second.person)
        kit.parts.board.forget([1])
        let lane = try #require(kit.openLane(1))
        lane.add(kit.job(second.id, person: second.person))
        var loads: [Int32] = []
        for _ in 1...60 {
            kit.parts.agenda.look(at: 1)
            kit.parts.board.look(at: now)
            kit.parts.claiming.claim(at: now)
            kit.intake.endAll()
            loads += kit.parts.agenda.takeLoads()
            kit.loop.pass(.milliseconds(200))
            _ = kit.openLane(1)
        }
        #expect(loads == [1])
        #expect(lane.count == 1 && lane.inAir == 0)
    }

    @Test func aTakeThatFailedGivesItsSlotsBack() throws {
        let lane = try #require(kit.openLane(1))
        arrive(shard, 1)
        intake.take(at: now)
        kit.intake.end(connectionLost)
        #expect(lane.inAir == 0 && kit.parts.caller.freeSlots == 8 && !intake.isDone)
        intake.take(at: now)
        #expect(kit.intake.names == ["take"], "what was committed is found by its key")
    }

    /// Of four messages one cannot be stored: it is refused with its bytes, and the others are taken.
    @Test func aFailedBatchIsHalvedDownToTheOneAtFault() {
        for tag in 1...4 as ClosedRange<UInt64> { arrive(bulk, tag, key: tag == 3 ? "bad" : nil) }
        for _ in 1...40 where !intake.isDone {
            intake.take(at: now)
            guard let name = kit.intake.names.first else {
                kit.loop.pass(.milliseconds(10))
                continue
            }
            let isBad = name == "take" && (kit.intake.taken.last?.contains("bad") ?? false)
            kit.intake.end(isBad ? serverError : nil)
        }
        #expect(Set(kit.model.jobs.map(\.key)) == ["k1", "k2", "k4"])
        #expect(kit.model.refusals.count == 1 && kit.here.telemetry.refused == 1)
    }

    @Test func aBatchThatFailedOnALockIsTriedAgainHere() {
        arrive(bulk, 1)
        intake.take(at: now)
        kit.intake.end(PostgresError(code: .server, sqlState: "55P03", message: "locked"))
        intake.take(at: now)
        #expect(kit.intake.names.isEmpty)
        kit.loop.pass(.milliseconds(110))
        intake.take(at: now)
        #expect(kit.intake.names == ["take"])
        kit.intake.endAll()
        #expect(intake.isDone && kit.model.jobs.count == 1)
    }

    /// Nothing may keep a queue from being left: neither what lies aside, nor what fails while it is left.
    @Test(arguments: [nil, serverError, lockTimeout, connectionLost] as [PostgresError?])
    func aQueueIsLeftWhateverBecomesOfItsMessages(error: PostgresError?) throws {
        let broker = OneChannel()
        var hasLeft = false
        let queue = ConsumedQueue(
            kind: .bulk,
            name: "bulk",
            broker: broker,
            newTag: { 0 },
            onDelivery: { [intake] queue, delivery in intake.arrived(queue, delivery) },
            onFailure: { _, _ in },
            onLeft: { _ in hasLeft = true }
        )
        queue.subscribe(prefetch: 10)
        // A delivery for a destination that nobody knows yet lies aside.
        broker.deliver(
            1,
            #"{"schema":"trunkline.deliver.v1","destination":"new","key":"k1","type":"a.b","timestamp":"2026-12-01T09:00:00Z","data":{}}"#
        )
        intake.take(at: now)
        broker.deliver(
            2,
            #"{"schema":"trunkline.send.v1","line":"a","key":"k2","to":"+972501234561","body":"Ready.","purpose":"order"}"#
        )
        intake.take(at: now)
        #expect(kit.intake.names == ["take"])
        queue.leaveGivingBack(from: intake.forget(queue))
        kit.intake.end(error)
        _ = queue.acknowledge()
        kit.loop.pass(.seconds(6))
        #expect(hasLeft && broker.isClosed && intake.isDone)
        #expect(broker.acknowledged == nil, "nothing behind what is given back")
    }

    @Test func aMessageThatFailsOnALockHoldsUpItsOwnWayOnly() {
        arrive(bulk, 1, key: "locked")
        intake.take(at: now)
        kit.intake.end(lockTimeout)
        for tag in 11...13 as ClosedRange<UInt64> { arrive(shard, tag) }
        intake.take(at: now)
        #expect(kit.intake.taken.last == ["k11", "k12", "k13"])
        kit.intake.endAll()
        // Its tries come at longer and longer distances, up to 4 s.
        var tries: [Int] = []
        for tick in 1...200 {
            kit.loop.pass(.milliseconds(100))
            intake.take(at: now)
            if !kit.intake.names.isEmpty {
                tries.append(tick)
                kit.intake.end(lockTimeout)
            }
        }
        #expect(tries == [1, 3, 7, 15, 31, 63, 103, 143, 183] && !intake.isDone)
        kit.loop.pass(.seconds(4))
        arrive(bulk, 2)
        intake.take(at: now)
        kit.intake.endAll()
        intake.take(at: now)
        kit.intake.endAll()
        #expect(intake.isDone && kit.model.jobs.map(\.key).suffix(2) == ["locked", "k2"])
    }

    @Test func aMessageThatCameBackOftenIsNotedBeforeItIsRead() {
        arrive(bulk, 1, deliveries: 3)
        arrive(bulk, 2)
        intake.take(at: now)
        #expect(kit.intake.names == ["suspect"])
        kit.intake.endAll()
        intake.take(at: now)
        #expect(kit.intake.names == ["take"] && kit.intake.taken.last == ["k1"], "alone")
        kit.intake.endAll()
        #expect(kit.model.suspects.isEmpty, "it was read to its end")
        intake.take(at: now)
        kit.intake.endAll()
        #expect(intake.isDone && kit.model.jobs.count == 2)
    }

    @Test func aMessageOverWhichThreeWorkersWereLostIsPutAside() throws {
        arrive(bulk, 1, deliveries: 3)
        intake.take(at: now)
        let message = try #require(kit.intake.suspected.first)
        for reader in 2...4 as ClosedRange<UInt8> {
            _ = kit.model.suspect(message, by: BootID(bytes: Array(repeating: reader, count: 16)))
        }
        kit.intake.endAll()
        #expect(kit.model.jobs.isEmpty && kit.model.refusals.values.map(\.kind) == ["poison"] && intake.isDone)
    }
}

/// A broker with one channel, on which a test says what comes.
private final class OneChannel: BrokerLink, ConsumerChannel {
    var onConnect: (() -> Void)?
    var onDisconnect: ((RabbitError) -> Void)?
    var onConnectFailed: ((RabbitError) -> Void)?
    var onClose: ((RabbitError) -> Void)?
    let isConnected = true
    let serverVersion: String? = nil
    private(set) var isClosed = false
    private(set) var acknowledged: UInt64?
    private var onDelivery: ((RabbitDelivery) -> Void)?

    func deliver(_ tag: UInt64, _ body: String) {
        onDelivery?(
            RabbitDelivery(
                tag: tag,
                redelivered: false,
                exchange: "",
                routingKey: "",
                contentType: nil,
                messageID: nil,
                deliveryCount: 0,
                deathCount: 0,
                firstDeathQueue: nil,
                bodySize: UInt64(body.utf8.count),
                body: Array(body.utf8)
            )
        )
    }

    func open() {}
    func openConsumerChannel(_ done: @escaping (Result<any ConsumerChannel, RabbitError>) -> Void) {
        done(.success(self))
    }
    func close(done: @escaping () -> Void) {}
    func consume(
        queue: String,
        tag: String,
        prefetch: UInt16,
        onDelivery: @escaping (RabbitDelivery) -> Void,
        onCancel: @escaping () -> Void,
        done: @escaping (Result<Void, RabbitError>) -> Void
    ) { self.onDelivery = onDelivery }
    func cancel(tag: String, done: @escaping (Result<Void, RabbitError>) -> Void) {}
    func ack(through tag: UInt64) { acknowledged = tag }
    func close(done: @escaping (Result<Void, RabbitError>) -> Void) { isClosed = true }
}
