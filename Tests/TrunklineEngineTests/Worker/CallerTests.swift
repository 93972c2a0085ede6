import CurlDriver
import RabbitDriver
import Testing
import TrunklineCore

@testable import TrunklineEngine

@Suite struct CallerTests {
    @Test func promisedSlotsAndWaitingCallsAreNotFree() throws {
        let kit = try PartsKit(slots: 3)
        kit.own()
        let caller = kit.parts.caller
        caller.promise(to: "ezwhatsapp")
        caller.wait(7)
        #expect(caller.freeSlots == 1 && caller.canCall)
        #expect(caller.nextWaiting() == 7 && caller.nextWaiting() == nil)
        caller.promiseEnded(to: "ezwhatsapp")
        #expect(caller.freeSlots == 3)
    }

    @Test func aClaimedCallThatFindsNoSlotGoesAsSoonAsOneIsFree() throws {
        let kit = try PartsKit(slots: 1)
        kit.own()
        let lane = try #require(kit.openLane(1))
        let settings = try #require(kit.parts.directory["a"])
        try kit.begin(kit.job(1), in: lane)
        // A question took the slot between the claim and its answer.
        kit.parts.health.ask(settings) { _ in }
        kit.parts.calls.carry(1)
        kit.parts.calls.carryWaiting()
        #expect(kit.http.calls.count == 1)
        kit.http.end(.success(HTTPResponse(status: 200)))
        kit.parts.calls.carryWaiting()
        #expect(kit.http.calls.first?.request.method == .post)
    }

    @Test func anAnswerEndsTheAttemptOnce() throws {
        let kit = try PartsKit()
        kit.own()
        let lane = try #require(kit.openLane(1))
        try kit.begin(kit.job(1), in: lane)
        kit.parts.calls.carry(1)
        kit.http.end(.success(HTTPResponse(status: 202)))
        #expect(kit.parts.attempts.gotOutcome(1) == nil && kit.parts.attempts.has(1), "until it is recorded")
        kit.parts.settling.write(at: kit.here.now)
        #expect(kit.settler.settled.map { $0.map(\.outcome) } == [[.sent]])
        kit.settler.endAll()
        #expect(kit.parts.attempts.isEmpty && lane.inAir == 0)
    }

    @Test func aTierWakesTheLaneAndTheNextTierTakesOver() throws {
        let kit = try PartsKit()
        kit.own()
        let lane = try #require(kit.openLane(1))
        var job = kit.job(1, due: kit.here.now + .seconds(100))
        job.attempt = 2
        lane.add(job)
        kit.parts.retries.waits(1, lane: 1, person: 1, attempt: 2)
        _ = kit.parts.agenda.takeLanes()
        kit.parts.retries.rang(WakeUp(job: JobID(1), attempt: AttemptNumber(2)), shard: 1, at: kit.here.now)
        #expect(kit.parts.agenda.takeLanes() == [1])
        #expect(kit.wakeUps.messages.map(\.exchange) == [Topology.tier(atMost: .seconds(100))?.exchange])
        kit.parts.retries.rang(WakeUp(job: JobID(1), attempt: AttemptNumber(1)), shard: 1, at: kit.here.now)
        #expect(kit.wakeUps.messages.count == 1, "an older attempt's wake-up goes no further")
        kit.parts.retries.vanished(1)
        #expect(lane.count == 0, "what stands behind it must not wait for a try that never comes")
    }
}
