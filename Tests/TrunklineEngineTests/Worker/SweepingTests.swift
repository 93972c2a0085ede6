import Testing
import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

@Suite struct SweepingTests {
    private let kit: PartsKit
    private var sweeping: Sweeping { kit.parts.sweeping }

    init() throws {
        kit = try PartsKit()
        kit.own()
    }

    @Test func aLookForUnseenRowsThatFailedIsRepeatedAfterAPause() {
        kit.parts.agenda.adopt()
        sweeping.adoptIfWanted(at: kit.here.now)
        kit.intake.end(lockTimeout)
        sweeping.adoptIfWanted(at: kit.here.now)
        kit.loop.pass(.milliseconds(900))
        sweeping.adoptIfWanted(at: kit.here.now)
        #expect(kit.intake.names.isEmpty && kit.parts.agenda.wantsAdoption)
        kit.loop.pass(.milliseconds(100))
        sweeping.adoptIfWanted(at: kit.here.now)
        #expect(kit.intake.names == ["adopt"])
        kit.intake.endAll()
        #expect(!kit.parts.agenda.wantsAdoption)
    }

    @Test func aPlacingThatFailedForgetsNothing() throws {
        let lane = try #require(kit.openLane(1))
        var job = kit.job(1)
        job.place = -1
        lane.wait(job)
        kit.parts.agenda.look(at: 1)
        kit.parts.board.look(at: kit.here.now)
        sweeping.place(at: kit.here.now)
        #expect(kit.intake.names == ["place_due"])
        kit.intake.end(lockTimeout)
        #expect(!kit.parts.agenda.takeReload() && kit.intake.names == ["watch"])
        #expect(kit.parts.board.lane(1) === lane)
    }

    /// The database says that its time has come, and gave it no place: somebody has a row of its person locked.
    @Test func whatIsDueAndGotNoPlaceWaits() throws {
        let lane = try #require(kit.openLane(1))
        func know(dueIn: Duration) {
            let row = SeenJob(
                id: 1,
                lane: 1,
                person: 1,
                jobClass: .single,
                state: .waiting,
                place: -1,
                dueIn: dueIn,
                attempt: 0,
                tries: 0,
                isStamped: false,
                claimedBy: nil,
                leaseLeft: nil,
                isSuspect: false,
                claimedAgo: nil
            )
            kit.parts.rows.know(row, kit.here.now, unplacedWait: .seconds(1))
        }
        know(dueIn: .zero)
        #expect(lane.nextScheduled == kit.here.now + .seconds(1))
        know(dueIn: .milliseconds(3))
        #expect(lane.nextScheduled == kit.here.now + .milliseconds(3), "the database's clock is behind ours")
    }
}
