import Testing
import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

@Suite struct LaneBoardTests {
    @Test func aLaneWithReadyWorkBehindAnOpenGateWaitsForItsTurn() throws {
        let kit = try PartsKit()
        kit.own()
        let lane = try #require(kit.openLane(1))
        lane.add(kit.job(1))
        kit.parts.agenda.look(at: 1)
        kit.parts.board.look(at: kit.here.now)
        #expect(kit.parts.board.next(mayCall: true, mayRun: true) == 1)
        #expect(kit.parts.board.next(mayCall: true, mayRun: true) == nil)
    }

    @Test func aLaneOfAnotherWorkerIsOnNobodysBoard() throws {
        let kit = try PartsKit()
        kit.join()
        #expect(kit.parts.board.ownedLane(1) == nil)
    }

    @Test func lanesTakeTurns() throws {
        let kit = try PartsKit(lines: ["a", "b", "c"], concurrency: 16)
        kit.own()
        let lanes = try (1...3).map { try #require(kit.openLane($0)) }
        for (index, lane) in lanes.enumerated() { for job in 0..<3 { lane.add(kit.job(Int64(10 * index + job + 1))) } }
        kit.parts.agenda.look(at: [3, 1, 2])
        kit.parts.board.look(at: kit.here.now)
        var served: [Int32] = []
        while served.count < 6, let number = kit.parts.board.next(mayCall: true, mayRun: true) {
            served.append(number)
            kit.parts.board.join(lanes[Int(number) - 1])
        }
        #expect(served == [1, 2, 3, 1, 2, 3])
        #expect(
            kit.parts.board.leavesOne(of: 4) && !kit.parts.board.leavesOne(of: 3),
            "who waits comes before who arrives"
        )
    }

    @Test func aTimerMakesALaneDueWhenTimeAloneChangesSomething() throws {
        let kit = try PartsKit()
        kit.own()
        let lane = try #require(kit.openLane(1))
        lane.add(kit.job(1, due: kit.here.now + .seconds(3)))
        kit.parts.agenda.look(at: 1)
        kit.parts.board.look(at: kit.here.now)
        #expect(!kit.parts.board.isAnyWaiting)
        kit.loop.pass(.milliseconds(2_900))
        #expect(kit.parts.agenda.takeLanes().isEmpty)
        kit.loop.pass(.milliseconds(200))
        #expect(kit.parts.agenda.takeLanes() == [1])
    }

    @Test func aHeldLaneWaitsAndIsLookedAtWhenItsHoldEnds() throws {
        let kit = try PartsKit()
        kit.model.lanes[0].isHeld = true
        kit.model.lanes[0].holdUntil = kit.model.now + 60_000_000
        kit.own()
        let lane = try #require(kit.openLane(1))
        lane.add(kit.job(1))
        kit.parts.agenda.look(at: 1)
        kit.parts.board.look(at: kit.here.now)
        #expect(!kit.parts.board.isAnyWaiting)
        kit.loop.pass(.seconds(61))
        #expect(kit.parts.agenda.takeLanes() == [1])
    }

    @Test func aLaneThatCannotBeUsedIsHeldForAPersonAndReadAgain() throws {
        let kit = try PartsKit()
        kit.model.lanes[0].secret = StoredSecret(sealed: [], reference: nil, keyVersion: MasterKey.version)
        kit.own()
        let lane = try #require(kit.parts.board.ownedLane(1))
        lane.add(kit.job(1))
        kit.parts.agenda.look(at: 1)
        kit.parts.board.look(at: kit.here.now)
        #expect(!kit.parts.board.isAnyWaiting && lane.hold?.reason == .lineUnusable)
        var gates: [Int32] = []
        kit.parts.agenda.takeGates { gates.append($0) }
        #expect(gates == [1])
    }

    @Test func scheduledJobsAreTakenForTheirPlaces() throws {
        let kit = try PartsKit()
        kit.own()
        let lane = try #require(kit.parts.board.ownedLane(1))
        var job = kit.job(1, due: kit.here.now + .seconds(5))
        job.place = 0
        lane.wait(job)
        kit.parts.agenda.look(at: 1)
        kit.parts.board.look(at: kit.here.now)
        #expect(!kit.parts.board.hasJobsToPlace)
        kit.loop.pass(.seconds(5))
        kit.parts.board.look(at: kit.here.now)
        #expect(kit.parts.board.jobsToPlace(at: kit.here.now, limit: 10) == [1])
        #expect(!kit.parts.board.hasJobsToPlace && lane.count == 0)
    }

    @Test func aSuspectWaitsForRoomUntilAnotherOnesCallEnds() throws {
        let kit = try PartsKit(lines: ["a", "b"])
        kit.own()
        let (board, now) = (kit.parts.board, kit.here.now)
        let lanes = try [1, 2].map { try #require(kit.openLane($0)) }
        let settings = try #require(kit.parts.directory["a"])
        for lane in lanes { for _ in 1...2 { board.noteCall(of: lane, settings, isFailure: true, at: now) } }
        #expect(lanes.map(\.isSuspect) == [true, true])
        board.waitForRoom(lanes[1])
        _ = kit.parts.agenda.takeLanes()
        board.callEnded(of: lanes[0])
        #expect(kit.parts.agenda.takeLanes() == [2])

        board.waitForRoom(lanes[1])
        board.noteCall(of: lanes[0], settings, isFailure: false, at: now)
        #expect(kit.parts.agenda.takeLanes() == [2], "one that is answered again makes room too")
    }

    @Test func whatIsForgottenIsNotAsked() throws {
        let kit = try PartsKit()
        kit.own()
        let lane = try #require(kit.openLane(1))
        lane.add(kit.job(1, due: kit.here.now + .seconds(1)))
        kit.parts.agenda.look(at: 1)
        kit.parts.board.look(at: kit.here.now)
        kit.parts.board.forget([1])
        #expect(!kit.parts.board.isCurrent(lane) && kit.parts.board.lane(1) == nil)
        kit.loop.pass(.seconds(2))
        #expect(kit.parts.agenda.takeLanes().isEmpty, "its timer has nobody to wake")
    }
}
