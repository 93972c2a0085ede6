import Testing
import TrunklineCore

private let start = ContinuousClock.now
private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .milliseconds(Int64(seconds * 1_000)) }

@Suite struct GateTests {
    @Test func anOpenAnswerCountsForThirtySecondsFromItsQuestion() {
        var gate = Gate()
        #expect(!gate.isOpen(at: at(0)) && gate.wantsQuestion(at: at(0)))
        gate.asked(at: at(0))
        #expect(!gate.wantsQuestion(at: at(1)))
        gate.answered(.open(note: nil), at: at(5), jitter: 0)
        #expect(gate.isOpen(at: at(29.9)) && !gate.isOpen(at: at(30)))
        #expect(!gate.wantsQuestion(at: at(14)) && gate.wantsQuestion(at: at(15)))
    }

    @Test func silenceExtendsNothing() {
        var gate = Gate()
        gate.asked(at: at(0))
        gate.answered(.open(note: nil), at: at(0), jitter: 0)
        gate.asked(at: at(15))
        gate.answered(.keepLast(reason: .timedOut), at: at(20), jitter: 0)
        #expect(gate.isOpen(at: at(29)))
        gate.asked(at: at(29))
        gate.answered(.keepLast(reason: .timedOut), at: at(31), jitter: 0)
        #expect(gate.hold?.kind == .transient && gate.word(at: at(31)) == "held_transient")
    }

    @Test func aHeldLineIsAskedAgainLaterAndLater() {
        var gate = Gate()
        var clock = 0.0
        var waits: [Double] = []
        for _ in 0..<8 {
            gate.asked(at: at(clock))
            gate.answered(.held(.human, reason: .lineNeedsPerson, detail: "QR"), at: at(clock), jitter: 0.5)
            let next = gate.nextQuestion(after: at(clock))!
            waits.append(Double((next - at(clock)).wholeMilliseconds) / 1_000)
            clock += waits.last!
        }
        #expect(waits == [15, 30, 60, 120, 240, 300, 300, 300])
        gate.asked(at: at(clock))
        gate.answered(.open(note: nil), at: at(clock), jitter: 0.5)
        #expect(gate.isOpen(at: at(clock)) && gate.hold == nil)
    }

    @Test func aFailedSendMakesTheAnswerWorthless() {
        var gate = Gate()
        gate.asked(at: at(0))
        gate.answered(.open(note: nil), at: at(0), jitter: 0)
        gate.sendFailed(at: at(2))
        #expect(!gate.isOpen(at: at(2)) && gate.wantsQuestion(at: at(2)))
    }
}

@Suite struct FleetTests {
    private typealias Members = Fleet<Int>
    private func seen(_ id: Int, _ beat: Int64, stopping: Bool = false, broker: Bool = true) -> Members.Observation {
        .init(id: id, beat: beat, isStopping: stopping, hasBroker: broker)
    }

    @Test func aCounterThatStandsStillForTheLimitIsDead() {
        var fleet = Members(silenceLimit: .seconds(7))
        for second in 0...7 {
            fleet.observed([seen(1, Int64(second)), seen(2, 5)], at: at(Double(second)), isJudgeFit: true)
        }
        #expect(fleet.isDead(2, at: at(7)) && !fleet.isDead(1, at: at(7)))
        #expect(fleet.ranked(at: at(7)) == [1])
    }

    @Test func afterAStallNobodyJudgesAnybody() {
        var fleet = Members(silenceLimit: .seconds(7))
        fleet.observed([seen(2, 5)], at: at(0), isJudgeFit: true)
        fleet.observed([seen(2, 5)], at: at(6), isJudgeFit: false)
        fleet.observed([seen(2, 5)], at: at(8), isJudgeFit: true)
        #expect(!fleet.isDead(2, at: at(8)))
        fleet.observed([seen(2, 5)], at: at(13), isJudgeFit: true)
        #expect(fleet.isDead(2, at: at(13)))
    }

    @Test func shardsAreDividedEvenlyByRank() {
        var fleet = Members(silenceLimit: .seconds(7))
        fleet.observed([seen(30, 1), seen(10, 1), seen(20, 1, stopping: true)], at: at(0), isJudgeFit: true)
        #expect((0..<4).map { fleet.rightfulOwner(ofShard: $0, at: at(0)) } == [10, 30, 10, 30])
    }

    @Test func whoHasNoBrokerGivesWayToThoseWhoHaveOne() {
        var fleet = Members(silenceLimit: .seconds(7))
        fleet.observed([seen(1, 1, broker: false), seen(2, 1)], at: at(0), isJudgeFit: true)
        #expect(fleet.ranked(at: at(0)) == [2])
        fleet.observed([seen(1, 1, broker: false), seen(2, 1, broker: false)], at: at(1), isJudgeFit: true)
        #expect(fleet.ranked(at: at(1)) == [1, 2])
    }
}

@Suite struct RetryTests {
    @Test func refusalsBackOffToFiveMinutesAndSilenceToThirty() {
        let refusals = (1...8).map { Retry.longestDelay(afterTries: $0) }
        #expect(refusals == [4, 8, 16, 32, 64, 128, 256, 300].map { .seconds($0) })
        #expect(Retry.longestUnknownDelay(afterAttempt: 1) == .seconds(4))
        #expect(Retry.longestUnknownDelay(afterAttempt: .max) == .seconds(1_800))
    }

    @Test(arguments: [1, 7, 42] as [UInt64])
    func jitterStaysInItsBounds(seed: UInt64) {
        var random = SplitMix(state: seed)
        for tries in 1...40 as ClosedRange<Int32> {
            let delay = Retry.delay(afterTries: tries, using: &random)
            #expect(delay >= .seconds(2) && delay <= Retry.longestDelay(afterTries: tries), "seed \(seed)")
        }
    }
}

@Suite struct PaceTests {
    @Test(arguments: [
        ("unlimited", 0), ("20/min", 3_000), ("1/3s", 3_000), ("5/s", 200), ("1/500ms", 500), ("1/24h", 86_400_000),
    ])
    func itReadsAPace(text: String, milliseconds: Int64) throws {
        #expect(try Pace.interval(parsing: text) == .milliseconds(milliseconds))
    }

    @Test(arguments: ["", "fast", "0/min", "-1/s", "1/", "/s", "1/25h", "10000/s", "1/2/s", "1.5/s"])
    func itRefusesWhatIsNone(text: String) {
        #expect(throws: Refusal.self) { try Pace.interval(parsing: text) }
    }

    @Test func itReadsASpan() throws {
        #expect(try Pace.span(parsing: "10s", field: "gap") == .seconds(10))
        #expect(try Pace.span(parsing: "0", field: "gap") == .zero)
        #expect(throws: Refusal.self) { try Pace.span(parsing: "ten", field: "gap") }
    }
}

@Suite struct PaceStateTests {
    private let slow = Pace(interval: .seconds(3_600), concurrency: 1, recipientGap: .zero)
    private let quick = Pace(interval: .seconds(1), concurrency: 1, recipientGap: .zero)

    @Test func aChangedPaceWorksAtOnce() {
        var state = PaceState()
        state.sendBegan(at: at(0))
        #expect(!state.allows(at: at(10), slow))
        #expect(state.allows(at: at(10), quick))
    }

    @Test func takingBackASendLeavesAPauseAlone() {
        var state = PaceState()
        state.paused(until: at(30))
        state.sendBegan(at: at(0))
        state.sendTakenBack()
        #expect(!state.allows(at: at(29), quick) && state.allows(at: at(30), quick))
    }

    @Test func aFormerOwnersNextSendIsKeptAndNeverLongerThanTheInterval() {
        var state = PaceState()
        state.resume(nextSend: at(50), at: at(0), quick)
        #expect(state.nextSend(quick) == at(1))
        state.resume(nextSend: at(50), at: at(0), slow)
        #expect(state.nextSend(slow) == at(50))
    }
}

@Suite struct BrokerHealthTests {
    @Test func aShortBreakChangesNothingAndALongOneMustBeMadeUpFor() {
        var health = BrokerHealth()
        health.started(at: at(0))
        #expect(health.isGood(at: at(9)) && !health.isGood(at: at(10)))
        health.connected(at: at(5))
        #expect(health.isGood(at: at(100)))
        health.lost(at: at(100))
        #expect(health.isGood(at: at(109)) && !health.isGood(at: at(110)))
        health.connected(at: at(120))
        #expect(!health.isGood(at: at(129)) && health.isGood(at: at(130)))
        health.lost(at: at(125))
        #expect(!health.isGood(at: at(126)))
    }
}
