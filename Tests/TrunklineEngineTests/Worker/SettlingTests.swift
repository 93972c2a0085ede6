import PostgresDriver
import Testing
import TrunklineCore
import TrunklineLedgerModel

@testable import TrunklineEngine

@Suite struct SettlingTests {
    private func outcome(_ job: Int64, _ outcome: SettleOutcome = .sent, evidence: String? = nil) -> Settlement {
        Settlement(job: job, attempt: 1, outcome: outcome, dueIn: .seconds(7), evidence: evidence)
    }

    @Test func oneStatementAtATimeAndWhatGathersIsTheNext() throws {
        let kit = try PartsKit()
        let settling = kit.parts.settling
        settling.add(outcome(1))
        settling.write(at: kit.here.now)
        settling.add(outcome(2))
        settling.write(at: kit.here.now)
        #expect(kit.settler.names == ["settle"] && !settling.isDone)
        kit.settler.endAll()
        settling.write(at: kit.here.now)
        #expect(kit.settler.names == ["settle"])
        kit.settler.endAll()
        #expect(settling.isDone)
    }

    @Test func aBatchWhoseConnectionWasLostIsWrittenAgainAtOnce() throws {
        let kit = try PartsKit()
        let settling = kit.parts.settling
        settling.add(outcome(1))
        settling.write(at: kit.here.now)
        kit.settler.isConnected = false
        kit.settler.end(connectionLost)
        settling.write(at: kit.here.now)
        #expect(kit.settler.names.isEmpty && !settling.isDone)
        kit.settler.isConnected = true
        settling.connected()
        settling.write(at: kit.here.now)
        #expect(kit.settler.names == ["settle"])
        kit.settler.endAll()
        #expect(settling.isDone)
    }

    /// Of four outcomes one cannot be stored: the others are recorded, and it loses the words that are at fault.
    @Test func aFailedBatchIsHalvedDownToTheOneAtFault() throws {
        let kit = try PartsKit(concurrency: 16)
        kit.own()
        let lane = try #require(kit.openLane(1))
        let settling = kit.parts.settling
        for job in 1...4 as ClosedRange<Int64> {
            try kit.begin(kit.job(job), in: lane)
            settling.add(outcome(job, evidence: job == 3 ? "bad" : nil))
        }
        for _ in 1...20 where !settling.isDone {
            settling.write(at: kit.here.now)
            if kit.settler.names.isEmpty {
                kit.loop.pass(.milliseconds(110))
            } else {
                let isBad = kit.settler.settled.last?.contains { $0.evidence == "bad" } ?? false
                kit.settler.end(isBad ? serverError : nil)
            }
        }
        #expect(settling.isDone && kit.parts.attempts.isEmpty && lane.inAir == 0)
        #expect(kit.settler.settled.map(\.count) == [4, 2, 2, 1, 1, 1])
        #expect(kit.settler.settled.suffix(2).first?.first?.evidence == nil)
    }

    /// Turns for as long as `count` looks take; what has `locked` among its jobs fails on a lock.
    private func settle(_ kit: PartsKit, looks count: Int, locked: Int64? = nil) {
        for _ in 1...count {
            kit.parts.settling.write(at: kit.here.now)
            if kit.settler.names.isEmpty {
                kit.loop.pass(.milliseconds(110))
            } else {
                let fails = kit.settler.settled.last?.contains { $0.job == locked } ?? false
                kit.settler.end(fails ? lockTimeout : nil)
            }
        }
    }

    /// Its row is not locked: something else that the statement needs is.
    @Test func anOutcomeThatFailsAloneStandsInNobodysWay() throws {
        let kit = try PartsKit(concurrency: 16)
        kit.own()
        let lane = try #require(kit.openLane(1))
        for job in 1...6 as ClosedRange<Int64> {
            try kit.begin(kit.job(job), in: lane)
            kit.parts.settling.add(outcome(job))
        }
        settle(kit, looks: 40, locked: 1)
        #expect(kit.parts.attempts.count == 1 && kit.parts.attempts.has(1) && !kit.parts.settling.isDone)
        // What comes later is not in its statement.
        let before = kit.settler.settled.count
        for job in 7...9 as ClosedRange<Int64> {
            try kit.begin(kit.job(job), in: lane)
            kit.parts.settling.add(outcome(job))
        }
        settle(kit, looks: 20, locked: 1)
        #expect(kit.parts.attempts.count == 1 && kit.parts.attempts.has(1))
        #expect(kit.settler.settled.dropFirst(before).allSatisfy { $0.count == 1 || !$0.contains { $0.job == 1 } })
        settle(kit, looks: 200)
        #expect(kit.parts.attempts.isEmpty && kit.parts.settling.isDone && lane.inAir == 0)
    }

    @Test func anOutcomeWhoseRowIsLockedIsGivenAgain() throws {
        let kit = try PartsKit(concurrency: 16)
        kit.own()
        let lane = try #require(kit.openLane(1))
        for job in 1...4 as ClosedRange<Int64> {
            try kit.begin(kit.job(job), in: lane)
            kit.parts.settling.add(outcome(job))
        }
        kit.model.lockedJobs = [2]
        settle(kit, looks: 40)
        #expect(kit.settler.settled.first?.count == 4 && kit.settler.settled.dropFirst().allSatisfy { $0.count == 1 })
        #expect(kit.parts.attempts.count == 1 && kit.parts.attempts.has(2) && !kit.parts.settling.isDone)
        kit.model.lockedJobs = []
        settle(kit, looks: 40)
        #expect(kit.parts.attempts.isEmpty && kit.parts.settling.isDone && lane.inAir == 0)
    }

    @Test func aPauseIsWrittenBeforeTheOutcomeThatItCameWith() throws {
        let kit = try PartsKit()
        kit.parts.settling.add(outcome(1, .givenBack))
        kit.parts.settling.keepPause(of: 1, until: kit.here.now + .seconds(60))
        kit.parts.settling.write(at: kit.here.now)
        #expect(kit.settler.names == ["pause", "settle"])
        kit.settler.end(serverError)
        kit.settler.endAll()
        kit.loop.pass(.milliseconds(200))
        kit.parts.settling.write(at: kit.here.now)
        #expect(kit.settler.names == ["pause"], "one that was not written is written again")
    }

    @Test func anAttemptThatSomebodyTookOverHoldsItsPersonUntilItsRowIsRead() throws {
        let kit = try PartsKit()
        kit.own()
        let lane = try #require(kit.openLane(1))
        try kit.begin(kit.job(1), in: lane)
        lane.add(kit.job(2, person: 1))
        kit.parts.settling.add(outcome(1, .unknown))
        kit.parts.settling.write(at: kit.here.now)
        // The model knows no such attempt: somebody else's it is.
        kit.settler.endAll()
        #expect(kit.parts.attempts.isEmpty && lane.inAir == 0)
        #expect(!lane.mayBegin(at: kit.here.now))
        let looks = kit.parts.agenda.takeLooks()
        #expect(looks.map(\.jobs) == [[1]] && looks.first?.held == [LanePerson(lane: 1, person: 1)])
        kit.parts.rows.look(at: [1], held: [LanePerson(lane: 1, person: 1)])
        kit.intake.endAll()
        #expect(lane.mayBegin(at: kit.here.now))
    }

    @Test func whatIsRecordedIsCounted() {
        var telemetry = Telemetry()
        telemetry.recorded(.sent, .sent)
        telemetry.recorded(.waiting, .retry)
        telemetry.recorded(.waiting, .givenBack)
        telemetry.recorded(.unknown, .unknown)
        telemetry.recorded(.parked, .park)
        telemetry.recorded(.lateSent, .sent)
        var expected = Telemetry()
        (expected.sent, expected.retried, expected.givenBack) = (1, 1, 1)
        (expected.unknown, expected.parked, expected.late) = (1, 1, 1)
        #expect(telemetry == expected)
    }
}
