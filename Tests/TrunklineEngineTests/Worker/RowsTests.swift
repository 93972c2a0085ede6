import Testing
import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

/// Attempts of other workers, as rows tell of them.
@Suite struct RowsTests {
    private static let other = BootID(bytes: Array(repeating: 9, count: 16))

    private func attempt(_ job: Int64, in lane: Lane, of owner: BootID) -> SeenJob {
        SeenJob(
            id: job,
            lane: lane.number,
            person: job,
            jobClass: .single,
            state: .sending,
            place: job,
            dueIn: .zero,
            attempt: 1,
            tries: 1,
            isStamped: false,
            claimedBy: owner,
            leaseLeft: .seconds(20),
            isSuspect: false,
            claimedAgo: .seconds(1)
        )
    }

    /// A worker gives a shard away while a call is in the air. The lane's concurrency is one. Without the mechanism the next
    /// owner begins another call.
    @Test(arguments: [true, false])
    func whatALivingFormerOwnerHasInTheAirLeavesNoRoom(isOn: Bool) throws {
        let kit = try PartsKit(lines: ["a", "b"], turnedOff: isOn ? [] : [.othersInAir])
        kit.beat(Self.other)
        // One of the two shards, and its one lane.
        kit.own()
        let lane = try #require(kit.openLane(1) ?? kit.openLane(2))
        kit.parts.rows.know(attempt(7, in: lane, of: Self.other), kit.here.now)
        lane.add(kit.job(8))
        #expect(lane.mayBegin(at: kit.here.now) == !isOn)

        // It falls silent, and what it had is left to its lease.
        for _ in 0..<9 {
            kit.loop.pass(.seconds(1))
            kit.parts.membership.renew(at: kit.here.now)
            kit.control.endAll()
            kit.parts.membership.look(at: kit.here.now)
            kit.control.endAll()
        }
        kit.parts.rows.watch(at: kit.here.now)
        _ = kit.openLane(lane.number)
        #expect(lane.mayBegin(at: kit.here.now))
    }

    @Test func whatALostWorkerHadHoldsUpItsPersonOnly() throws {
        let kit = try PartsKit()
        kit.own()
        let lane = try #require(kit.openLane(1))
        kit.parts.rows.know(attempt(7, in: lane, of: Self.other), kit.here.now)
        lane.add(kit.job(9, person: 7))
        #expect(!lane.mayBegin(at: kit.here.now))
        lane.add(kit.job(8))
        #expect(lane.mayBegin(at: kit.here.now))
    }

    /// An attempt whose lease began anew is as good as a new one: the patience before a take-over begins anew, too.
    @Test func aLeaseThatBeginsAnewBeginsThePatienceAnew() throws {
        let kit = try PartsKit()
        kit.own()
        let row = try #require(try kit.takeNotice(fast: true).row)
        row.claimedBy = Self.other
        for seen in kit.model.watch([row.id]) { kit.parts.rows.know(seen, kit.here.now) }

        /// Whether the attempt is taken over when its lease is this much longer.
        func isTakenOver(lease seconds: Int64, after pause: Duration) -> Bool {
            kit.loop.pass(pause)
            row.leaseUntil = kit.model.now + seconds * 1_000_000
            kit.parts.rows.watch(at: kit.here.now)
            kit.intake.end()
            return kit.intake.names == ["abandon"]
        }
        #expect(!isTakenOver(lease: -1, after: .zero))
        #expect(!isTakenOver(lease: 30, after: .seconds(6)))
        #expect(!isTakenOver(lease: -1, after: .seconds(1)))
        #expect(!isTakenOver(lease: -1, after: .seconds(6)))
        #expect(isTakenOver(lease: -1, after: .seconds(6)))
    }
}
