import Testing
import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

@Suite struct ClaimingTests {
    private let kit: PartsKit
    private let lane: Lane

    init() throws {
        kit = try PartsKit(concurrency: 16)
        kit.own()
        lane = try #require(kit.openLane(1))
    }

    private func wait(_ jobs: ClosedRange<Int64>) {
        for job in jobs { lane.add(kit.job(job)) }
        kit.parts.agenda.look(at: 1)
    }

    /// Turns until nothing more is claimed; statements with `locked` among their jobs fail on a lock.
    private func claim(locked: Int64? = nil) {
        repeat {
            kit.parts.board.look(at: kit.here.now)
            kit.parts.claiming.claim(at: kit.here.now)
            while !kit.intake.names.isEmpty {
                let fails = locked.map { kit.intake.claimed.last?.contains($0) ?? false } ?? false
                kit.intake.end(fails ? lockTimeout : nil)
            }
            kit.parts.board.look(at: kit.here.now)
        } while kit.parts.board.isAnyWaiting
    }

    /// What the model does not have is gone, which is an answer.
    @Test func aBatchThatFailsIsHalvedDownToTheOneAtFault() {
        wait(1...4)
        claim(locked: 3)
        #expect(kit.intake.claimed == [[1, 2, 3, 4], [1, 2], [3, 4], [3], [4]])
        #expect(lane.count == 1 && lane.inAir == 0 && kit.parts.caller.freeSlots == 8)
        #expect(!kit.parts.claiming.isUnderWay)
    }

    @Test func aJobThatFailedAloneWaitsAloneAndLonger() {
        wait(1...4)
        claim(locked: 3)
        wait(5...6)
        claim(locked: 3)
        #expect(kit.intake.claimed.last == [5, 6], "it waits by itself")
        wait(7...8)
        kit.loop.pass(.milliseconds(200))
        claim(locked: 3)
        #expect(kit.intake.claimed.suffix(2) == [[7, 8], [3]], "the others are not in its statement")
        kit.loop.pass(.milliseconds(390))
        claim(locked: 3)
        #expect(kit.intake.claimed.last == [3] && kit.intake.claimed.count { $0 == [3] } == 2)
        kit.loop.pass(.milliseconds(20))
        claim()
        #expect(kit.intake.claimed.count { $0 == [3] } == 3 && lane.count == 0)
        #expect(lane.inAir == 0 && kit.parts.caller.freeSlots == 8)
    }

    @Test func aLostConnectionEndsTheWholeChoice() {
        wait(1...4)
        kit.parts.board.look(at: kit.here.now)
        kit.parts.claiming.claim(at: kit.here.now)
        kit.intake.end(lockTimeout)
        kit.intake.end(connectionLost)
        #expect(kit.intake.names.isEmpty && !kit.parts.claiming.isUnderWay)
        #expect(lane.count == 4 && lane.inAir == 0 && kit.parts.caller.freeSlots == 8)
    }

    /// Suspects have one slot of the two. Nobody else tells the second that the first did not use it.
    @Test func aSuspectWhoseClaimDoesNotBeginMakesRoomForTheNext() throws {
        let kit = try PartsKit(lines: ["a", "b"], slots: 2)
        kit.own()
        let (board, now) = (kit.parts.board, kit.here.now)
        for number in 1...2 as ClosedRange<Int32> {
            let lane = try #require(kit.openLane(number))
            let settings = try #require(kit.parts.directory[number])
            for _ in 1...2 { board.noteCall(of: lane, settings, isFailure: true, at: now) }
            lane.add(kit.job(Int64(number)))
            kit.parts.agenda.look(at: number)
        }
        board.look(at: now)
        kit.parts.claiming.claim(at: now)
        #expect(kit.intake.claimed.map(\.count) == [1])
        _ = kit.parts.agenda.takeLanes()
        // The model does not have it.
        kit.intake.endAll()
        #expect(kit.parts.agenda.takeLanes() == [1, 2])
    }

    @Test func aWorkerThatEndsMeanwhileBeginsNothingMore() {
        wait(1...4)
        kit.parts.board.look(at: kit.here.now)
        kit.parts.claiming.claim(at: kit.here.now)
        kit.here.drain()
        kit.intake.end(lockTimeout)
        #expect(kit.intake.names.isEmpty && !kit.parts.claiming.isUnderWay)
        #expect(lane.count == 4 && lane.inAir == 0 && kit.parts.caller.freeSlots == 8)
    }
}
