import TestKit
import Testing
import TrunklineCore

private let start = ContinuousClock.now
private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .milliseconds(Int64(seconds * 1_000)) }

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

    @Test func whoCannotReachTheAPIHasNoPartWhereOthersCan() {
        var fleet = Members(silenceLimit: .seconds(7))
        func look(_ cutOff: Set<Int>, broker: Set<Int> = [1, 2, 3]) -> [Int] {
            fleet.observed(
                [1, 2, 3].map {
                    .init(
                        id: $0,
                        beat: 1,
                        isStopping: false,
                        hasBroker: broker.contains($0),
                        isCutOff: cutOff.contains($0)
                    )
                },
                at: at(0),
                isJudgeFit: true
            )
            return fleet.ranked(at: at(0))
        }
        #expect(look([]) == [1, 2, 3] && look([1]) == [2, 3] && look([1], broker: [1, 2]) == [2])
        // Whoever can send goes before whoever can only take.
        #expect(look([1], broker: [1]) == [2, 3])
        #expect(look([1, 2, 3]) == [1, 2, 3] && look([1, 2, 3], broker: [3]) == [3])
    }

    private func fleet(_ ids: [Int]) -> Members {
        var fleet = Members(silenceLimit: .seconds(7))
        fleet.observed(ids.map { seen($0, 1) }, at: at(0), isJudgeFit: true)
        return fleet
    }

    @Test func freeShardsGoToThoseWhoTakePart() {
        var fleet = Members(silenceLimit: .seconds(7))
        fleet.observed([seen(30, 1), seen(10, 1), seen(20, 1, stopping: true)], at: at(0), isJudgeFit: true)
        #expect(fleet.division(ofShards: 4, owners: [:], at: at(0)) == [10, 10, 30, 30])
        #expect(fleet.division(ofShards: 4, owners: [0: 20, 1: 20, 2: 20, 3: 20], at: at(0)) == [10, 10, 30, 30])
        #expect(Members(silenceLimit: .seconds(7)).division(ofShards: 4, owners: [:], at: at(0)) == nil)
    }

    @Test(arguments: 0..<200)
    func everyDivisionIsEvenMovesLittleAndIsStable(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let count = Int.random(in: 1...64, using: &random)
        let ids = Array(1...Int.random(in: 1...9, using: &random))
        var owners: [Int: Int] = [:]
        for shard in 0..<count where Int.random(in: 0..<5, using: &random) > 0 {
            owners[shard] = Int.random(in: 1...12, using: &random)
        }
        let division = fleet(ids).division(ofShards: count, owners: owners, at: at(0))!
        var parts: [Int: Int] = [:]
        for owner in division { parts[owner, default: 0] += 1 }
        let sizes = ids.map { parts[$0] ?? 0 }
        #expect(division.count == count && sizes.max()! - sizes.min()! <= 1, "seed \(seed)")
        // Nobody gives up a shard while it owns no more than its part.
        for id in ids {
            let before = owners.values.count { $0 == id }
            let kept = division.indices.count { division[$0] == id && owners[$0] == id }
            #expect(kept == min(before, parts[id] ?? 0), "seed \(seed)")
        }
        let again = fleet(ids).division(
            ofShards: count,
            owners: Dictionary(uniqueKeysWithValues: division.enumerated().map { ($0.offset, $0.element) }),
            at: at(0)
        )
        #expect(again == division, "seed \(seed)")
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
        var random = SeededGenerator(seed: seed)
        for tries in 1...40 as ClosedRange<Int32> {
            let delay = Retry.delay(afterTries: tries, using: &random)
            #expect(delay >= .seconds(2) && delay <= Retry.longestDelay(afterTries: tries), "seed \(seed)")
        }
    }
}

@Suite struct BreakerTests {
    @Test func aLineIsSuspectAfterTwoSilencesInARow() {
        var record = CallRecord()
        record.failed(at: at(0))
        #expect(!record.isSuspect && record.isActive(at: at(30)) && !record.isActive(at: at(31)))
        record.failed(at: at(1))
        #expect(record.isSuspect && record.isFailing(at: at(31)) && !record.isFailing(at: at(32)))
        record.answered(at: at(2))
        #expect(!record.isSuspect)
    }

    @Test func moreThanATenthOfTheActiveLinesSuspectsTheProvider() {
        #expect(!Breaker.suspects([]))
        #expect(!Breaker.suspects([CallCounts(active: 2, failing: 2)]))
        #expect(Breaker.suspects([CallCounts(active: 3, failing: 3)]))
        #expect(!Breaker.suspects([CallCounts(active: 30, failing: 3)]))
        #expect(Breaker.suspects([CallCounts(active: 29, failing: 3)]))
    }

    @Test func oneWorkersBrokenNetworkStopsNobodyElse() {
        let healthy = CallCounts(active: 20, failing: 0)
        let broken = CallCounts(active: 20, failing: 20)
        #expect(!Breaker.suspects([healthy, broken]))
        #expect(Breaker.suspects([broken, broken, healthy]))
        // A worker without calls has no voice.
        #expect(Breaker.suspects([broken, CallCounts(), CallCounts()]))
    }

    @Test func itsProbesComeEverySixSeconds() {
        #expect(
            [0, 1, 2, 3, 4, 99].map { Breaker.wait(afterProbes: $0, jitter: 0.5) }
                == [3, 6, 6, 6, 6, 6].map { .seconds($0) }
        )
    }
}

@Suite struct RetryBudgetTests {
    @Test func repeatedCallsAreAFifthOfTheAnsweredOnesAndOneASecond() {
        var budget = RetryBudget()
        var made = 0
        while budget.spend(at: at(0)) == nil { made += 1 }
        #expect(made == 50)
        #expect(budget.spend(at: at(0)) == .seconds(1))
        #expect(budget.spend(at: at(1)) == nil && budget.spend(at: at(1)) != nil)
        for _ in 0..<50 { budget.answered() }
        made = 0
        while budget.spend(at: at(1)) == nil { made += 1 }
        #expect(made == 10)
    }

    @Test func anAnsweredRepetitionCostsNothing() {
        var budget = RetryBudget()
        for _ in 0..<500 {
            #expect(budget.spend(at: at(0)) == nil)
            budget.answered(wasRepeated: true)
        }
    }
}

@Suite struct PaceTests {
    @Test func aRampingLineHasAPartOfItsPace() {
        let pace = Pace(interval: .seconds(3), concurrency: 16, recipientGap: .seconds(10))
        #expect(
            pace.limited(toTenths: 1, onlyOne: false)
                == Pace(interval: .seconds(30), concurrency: 1, recipientGap: .seconds(10))
        )
        #expect(pace.limited(toTenths: 5, onlyOne: false).concurrency == 8)
        #expect(pace.limited(toTenths: 10, onlyOne: false) == pace)
        #expect(pace.limited(toTenths: 10, onlyOne: true).concurrency == 1)
        #expect(
            Pace(interval: .zero, concurrency: 16, recipientGap: .zero).limited(toTenths: 2, onlyOne: false).interval
                == .zero
        )
    }

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
        state.sendTakenBack(begunAt: at(0))
        #expect(!state.allows(at: at(29), quick) && state.allows(at: at(30), quick))
    }

    @Test func takingBackASendForgetsNoLaterOne() {
        var state = PaceState()
        state.sendBegan(at: at(0))
        state.sendBegan(at: at(20))
        // The first one's reply was slow.
        state.sendTakenBack(begunAt: at(0))
        #expect(state.nextSend(quick) == at(21))
        state.sendTakenBack(begunAt: at(20))
        #expect(state.allows(at: at(1), quick))
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
        // A break begins with the question that was not answered.
        health.connected(at: at(130))
        #expect(health.isGood(at: at(140)))
        health.lost(at: at(148), silentSince: at(142))
        #expect(health.isGood(at: at(151)) && !health.isGood(at: at(152)))
    }
}

@Suite struct ReachTests {
    /// Calls that hang, then a question of its own that is not answered either.
    private func silent(from start: Double = 0) -> Reach {
        var reach = Reach()
        reach.began(at: at(start))
        #expect(!reach.wantsQuestion(at: at(start + 3.9)) && reach.wantsQuestion(at: at(start + 4)))
        reach.asked(at: at(start + 4))
        reach.began(at: at(start + 4))
        reach.failed(at: at(start + 9), isQuestion: true)
        return reach
    }

    @Test func callsAndAQuestionWithoutAnAnswerAreSilence() {
        #expect(silent().word(at: at(9)) == .silent)
        // One answer in between, whatever it says, and it is none.
        var reach = Reach()
        reach.began(at: at(0))
        reach.asked(at: at(4))
        reach.began(at: at(4))
        reach.answered(at: at(5))
        #expect(reach.word(at: at(6)) == .answers)
        reach.failed(at: at(15), isQuestion: false)
        #expect(reach.word(at: at(15)) != .silent)
    }

    @Test func oneHangingCallIsNoSilence() {
        var reach = Reach()
        reach.began(at: at(0))
        reach.failed(at: at(15), isQuestion: false)
        #expect(reach.word(at: at(15)) == nil && reach.wantsQuestion(at: at(15)))
    }

    @Test func anOldAnswerSaysNothing() {
        var reach = Reach()
        reach.began(at: at(0))
        reach.answered(at: at(1))
        #expect(reach.word(at: at(6)) == .answers && reach.word(at: at(6.1)) == nil)
        #expect(!reach.wantsQuestion(at: at(100)))
    }

    @Test func whoWasSilentMustProveItself() {
        var reach = silent()
        for (second, word) in [(12.0, Reach.Word.silent), (15, .silent), (17.5, .answers)] {
            #expect(reach.wantsQuestion(at: at(second)))
            reach.asked(at: at(second))
            reach.began(at: at(second))
            reach.answered(at: at(second))
            #expect(reach.word(at: at(second)) == word)
        }
        // A failure in between begins the proof anew.
        reach = silent()
        for second in [12.0, 18] {
            reach.began(at: at(second))
            reach.answered(at: at(second))
            reach.began(at: at(second + 1))
            reach.failed(at: at(second + 1), isQuestion: false)
        }
        #expect(reach.word(at: at(19)) == .silent)
    }

    @Test func onlyWhoIsSilentEverywhereWhileAnotherIsAnsweredIsCutOff() {
        #expect(Reach.cutOff([1: ["a": .silent], 2: ["a": .answers], 3: [:]]) == [1])
        #expect(Reach.cutOff([1: ["a": .silent], 2: ["a": .silent], 3: [:]]).isEmpty)
        // A witness that says nothing for a moment changes nothing; when it is silent itself, nobody is cut off.
        #expect(Reach.cutOff([1: ["a": .silent], 2: [:]], before: [1]) == [1])
        #expect(Reach.cutOff([1: ["a": .silent], 2: ["a": .silent]], before: [1]).isEmpty)
        #expect(Reach.cutOff([1: ["a": .answers], 2: [:]], before: [1]).isEmpty)
        // Another origin proves nothing, and one that answers is reason enough to stay.
        #expect(Reach.cutOff([1: ["a": .silent], 2: ["b": .answers]]).isEmpty)
        #expect(Reach.cutOff([1: ["a": .silent, "b": .answers], 2: ["a": .answers]]).isEmpty)
        #expect(Reach.cutOff([1: ["a": .silent, "b": .silent], 2: ["a": .answers]]) == [1])
    }
}
