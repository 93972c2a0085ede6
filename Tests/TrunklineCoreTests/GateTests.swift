import TestKit
import Testing

@testable import TrunklineCore

private let start = ContinuousClock.now
private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .milliseconds(Int64(seconds * 1_000)) }

extension LanePolicy {
    fileprivate static let asked = LanePolicy(
        opening: .health,
        unknownHorizon: .seconds(43_200),
        maximumTries: 8,
        rampLength: .seconds(60),
        reservedSlots: 50,
        pace: .standard
    )
}

extension Gate {
    /// An attempt that began at `begun`, or at this moment, ends.
    @discardableResult
    fileprivate mutating func ends(_ outcome: Outcome, begun: Double? = nil, at now: Double) -> Effects {
        ended(outcome, begun: at(begun ?? now), at: at(now), jitter: 0.5)
    }
}

@Suite struct HealthGateTests {
    @Test func anOpenAnswerCountsForThirtySecondsFromItsQuestion() {
        var gate = Gate(policy: .asked, at: at(0))
        #expect(!gate.isOpen(at: at(0)) && gate.wantsQuestion(at: at(0)))
        _ = gate.asked(at: at(0))
        #expect(!gate.wantsQuestion(at: at(1)))
        _ = gate.answered(.open(note: nil), asked: at(0), at: at(5), jitter: 0)
        #expect(gate.isOpen(at: at(29.9)) && !gate.isOpen(at: at(30)))
        #expect(!gate.wantsQuestion(at: at(14)) && gate.wantsQuestion(at: at(15)))
    }

    @Test func silenceExtendsNothing() {
        var gate = Gate(policy: .asked, at: at(0))
        _ = gate.asked(at: at(0))
        _ = gate.answered(.open(note: nil), asked: at(0), at: at(0), jitter: 0)
        _ = gate.asked(at: at(15))
        _ = gate.answered(.keepLast(reason: .timedOut), asked: at(15), at: at(20), jitter: 0)
        #expect(gate.isOpen(at: at(29)))
        _ = gate.asked(at: at(29))
        _ = gate.answered(.keepLast(reason: .timedOut), asked: at(29), at: at(31), jitter: 0)
        #expect(gate.hold?.kind == .transient && gate.word(at: at(31)) == .heldTransient)
    }

    /// Nobody was reached: that is no word about the line, so the next question comes soon, and a next owner asks at once.
    @Test func aLineThatWasNotReachedIsAskedSoon() {
        var gate = Gate(policy: .asked, at: at(0))
        var clock = 0.0
        var waits: [Double] = []
        for _ in 0..<4 {
            _ = gate.asked(at: at(clock))
            _ = gate.answered(.keepLast(reason: .unreachable), asked: at(clock), at: at(clock), jitter: 0.5)
            waits.append(Double((gate.nextLook(after: at(clock))! - at(clock)).wholeMilliseconds) / 1_000)
            clock += waits.last!
        }
        #expect(waits == [2, 4, 6, 6])
        let next = Gate(policy: .asked, memory: gate.memory(at: at(clock)), at: at(clock))
        #expect(next.hold != nil && next.wantsQuestion(at: at(clock)))
    }

    @Test func aHeldLineIsAskedAgainLaterAndLater() {
        var gate = Gate(policy: .asked, at: at(0))
        var clock = 0.0
        var waits: [Double] = []
        for _ in 0..<8 {
            _ = gate.asked(at: at(clock))
            _ = gate.answered(
                .held(.human, reason: .lineNeedsPerson, detail: "QR"),
                asked: at(clock),
                at: at(clock),
                jitter: 0.5
            )
            let next = gate.nextLook(after: at(clock))!
            waits.append(Double((next - at(clock)).wholeMilliseconds) / 1_000)
            clock += waits.last!
        }
        #expect(waits == [15, 30, 60, 120, 240, 300, 300, 300])
        _ = gate.asked(at: at(clock))
        _ = gate.answered(.open(note: nil), asked: at(clock), at: at(clock), jitter: 0.5)
        #expect(gate.isOpen(at: at(clock)) && gate.hold == nil)
    }

    @Test func afterAHoldThePaceGrowsFromATenth() {
        var gate = Gate(policy: .asked, at: at(0))
        gate.ends(.laneUnhealthy(reason: .lineLocked, trouble: .hold(.transient)), at: 0)
        #expect(gate.word(at: at(1)) == .heldTransient && !gate.wantsQuestion(at: at(14)))
        _ = gate.asked(at: at(15))
        #expect(gate.word(at: at(15)) == .probing)
        _ = gate.answered(.open(note: nil), asked: at(15), at: at(15), jitter: 0.5)
        #expect(gate.word(at: at(15)) == .ramping)
        #expect([15, 20.9, 21, 45, 74.9, 75].map { gate.rampTenths(at: at($0)) } == [1, 1, 2, 6, 10, 10])
        #expect(gate.nextRampStep(after: at(15)) == at(21) && gate.nextRampStep(after: at(75)) == nil)
        _ = gate.asked(at: at(60))
        _ = gate.answered(.open(note: nil), asked: at(60), at: at(60), jitter: 0.5)
        #expect(gate.word(at: at(74)) == .ramping && gate.word(at: at(75)) == .open)
    }

    @Test func aFirstOpenAnswerNeedsNoRamp() {
        var gate = Gate(policy: .asked, at: at(0))
        _ = gate.asked(at: at(0))
        _ = gate.answered(.open(note: nil), asked: at(0), at: at(0), jitter: 0)
        #expect(gate.word(at: at(0)) == .open && gate.rampTenths(at: at(0)) == 10)
    }

    @Test func anOwnerGoesOnWhereTheLastOneWas() {
        var first = Gate(policy: .asked, at: at(0))
        for second in [0, 20, 60] as [Double] {
            _ = first.asked(at: at(second))
            _ = first.answered(
                .held(.transient, reason: .lineNotSendable, detail: "x"),
                asked: at(second),
                at: at(second),
                jitter: 0.5
            )
        }
        var second = Gate(policy: .asked, memory: first.memory(at: at(61)), at: at(61))
        #expect(second.hold == first.hold && !second.wantsQuestion(at: at(119)) && second.wantsQuestion(at: at(120)))
        _ = second.asked(at: at(120))
        _ = second.answered(.keepLast(reason: .timedOut), asked: at(120), at: at(121), jitter: 0.5)
        #expect(second.nextLook(after: at(121)) == at(241))
        _ = second.asked(at: at(241))
        _ = second.answered(.open(note: nil), asked: at(241), at: at(241), jitter: 0.5)
        let third = Gate(policy: .asked, memory: second.memory(at: at(251)), at: at(251))
        #expect(!third.isOpen(at: at(251)) && third.wantsQuestion(at: at(251)) && third.rampTenths(at: at(251)) == 2)
    }

    @Test func anAnswerOlderThanAHoldOpensNothing() {
        var gate = Gate(policy: .asked, at: at(0))
        _ = gate.asked(at: at(0))
        _ = gate.answered(.open(note: nil), asked: at(0), at: at(0), jitter: 0)
        _ = gate.asked(at: at(15))
        gate.ends(.laneUnhealthy(reason: .lineLocked, trouble: .hold(.transient)), at: 16)
        let held = gate.hold
        _ = gate.answered(.open(note: nil), asked: at(15), at: at(17), jitter: 0.5)
        #expect(gate.hold == held && held != nil && !gate.isOpen(at: at(17)))
        // It is no probe either: the next one is not later for it, and only that one opens.
        #expect(gate.nextLook(after: at(17)) == at(31))
        _ = gate.asked(at: at(31))
        _ = gate.answered(.open(note: nil), asked: at(31), at: at(32), jitter: 0.5)
        #expect(gate.isOpen(at: at(32)) && gate.isRamping(at: at(32)))
    }

    @Test func anAnswerOlderThanAFailedSendOpensNothing() {
        var gate = Gate(policy: .asked, at: at(0))
        _ = gate.asked(at: at(0))
        gate.ends(.unknown(reason: .serverError), at: 1)
        _ = gate.answered(.open(note: nil), asked: at(0), at: at(2), jitter: 0)
        #expect(!gate.isOpen(at: at(2)) && gate.hold == nil && gate.wantsQuestion(at: at(2)))
        // A line that is not sendable is not, whoever spoke in between.
        _ = gate.asked(at: at(2))
        gate.ends(.unknown(reason: .serverError), at: 3)
        _ = gate.answered(.held(.human, reason: .lineNeedsPerson, detail: "QR"), asked: at(2), at: at(4), jitter: 0)
        #expect(gate.hold?.kind == .human)
    }

    @Test func twoQuestionsAtOnceAreToldApart() {
        var gate = Gate(policy: .asked, at: at(0))
        _ = gate.asked(at: at(0))
        // A conflict's own question, asked and answered while the other is under way.
        _ = gate.answered(.held(.human, reason: .lineNeedsPerson, detail: "QR"), asked: at(1), at: at(2), jitter: 0.5)
        #expect(!gate.wantsQuestion(at: at(60)) && gate.word(at: at(2)) == .probing)
        _ = gate.answered(.open(note: nil), asked: at(0), at: at(3), jitter: 0.5)
        #expect(gate.hold?.kind == .human && gate.wantsQuestion(at: at(17)))
    }

    @Test func anOpenAnswerNeverCountsFromItsArrival() {
        var gate = Gate(policy: .asked, at: at(0))
        _ = gate.answered(.open(note: nil), asked: at(0), at: at(10), jitter: 0)
        #expect(gate.admission(at: at(11), inAir: 7) == at(30))
        // An older one that comes later takes nothing back.
        _ = gate.answered(.open(note: nil), asked: at(-5), at: at(11), jitter: 0)
        #expect(gate.admission(at: at(11), inAir: 7) == at(30))
    }

    @Test func newSettingsForgetWhatTheOldOnesAreStillAnswered() {
        var gate = Gate(policy: .asked, at: at(0))
        _ = gate.asked(at: at(0))
        _ = gate.forget(at: at(1))
        #expect(gate.wantsQuestion(at: at(1)))
        _ = gate.asked(at: at(2))
        _ = gate.answered(.open(note: nil), asked: at(0), at: at(3), jitter: 0)
        #expect(!gate.isOpen(at: at(3)) && !gate.wantsQuestion(at: at(3)))
        _ = gate.answered(.open(note: nil), asked: at(2), at: at(4), jitter: 0)
        #expect(gate.isOpen(at: at(4)))
    }

    @Test func aFailedSendMakesTheAnswerWorthless() {
        var gate = Gate(policy: .asked, at: at(0))
        _ = gate.asked(at: at(0))
        _ = gate.answered(.open(note: nil), asked: at(0), at: at(0), jitter: 0)
        gate.ends(.unknown(reason: .serverError), at: 2)
        #expect(!gate.isOpen(at: at(2)) && gate.wantsQuestion(at: at(2)))
    }

    @Test func whatIsToBeDoneComesWithWhatIsTold() {
        var gate = Gate(policy: .asked, at: at(0))
        #expect(gate.asked(at: at(0)) == .none)
        // The first OPEN answer of a lane is no news.
        var effects = gate.answered(.open(note: nil), asked: at(0), at: at(1), jitter: 0.5)
        #expect(effects == Gate.Effects(isToBeWritten: true, isToBeLookedAt: true))
        effects = gate.ends(.laneUnhealthy(reason: .lineLocked, trouble: .hold(.transient)), at: 2)
        #expect(effects.isToBeWritten && effects.isToBeLookedAt)
        #expect(gate.asked(at: at(17)) == Gate.Effects(isToBeWritten: true))
        effects = gate.answered(.open(note: nil), asked: at(17), at: at(18), jitter: 0.5)
        #expect(effects.change == Gate.Change(before: .probing, after: .ramping))
        #expect(gate.restarted(at: at(19)).isToBeLookedAt && gate.resumed(at: at(19)) == .none)
        #expect(gate.unusable("no token", at: at(20)) == Gate.Effects(isToBeWritten: true))
        #expect(gate.hold?.kind == .human && gate.hold?.detail == "no token")
    }

    @Test func whatBeganUnderAnAnswerMayLeaveAsLongAsItCounts() {
        var gate = Gate(policy: .asked, at: at(0))
        _ = gate.answered(.open(note: nil), asked: at(0), at: at(1), jitter: 0)
        #expect(gate.mayLeave(begun: at(1), at: at(29)) && !gate.mayLeave(begun: at(1), at: at(30)))
        #expect(gate.admits(at: at(1), inAir: 255) && gate.began(at: at(1)) == .none)
        gate.ends(.unknown(reason: .timedOut), at: 2)
        #expect(!gate.mayLeave(begun: at(1), at: at(3)) && !gate.admits(at: at(3), inAir: 0))
    }
}
