import TestKit
import Testing

@testable import TrunklineCore

private let start = ContinuousClock.now
private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .milliseconds(Int64(seconds * 1_000)) }

private func policy(ramp: Duration = .zero) -> LanePolicy {
    LanePolicy(
        opening: .answers,
        unknownHorizon: .seconds(86_400),
        maximumTries: 8,
        rampLength: ramp,
        reservedSlots: 25,
        pace: .standard
    )
}

private let sent = Outcome.sent(remoteID: nil, note: nil)
private let silence = Outcome.unknown(reason: .timedOut)
private let gone = Outcome.laneUnhealthy(reason: .endpointGone, trouble: .hold(.human))
private let unauthorized = Outcome.laneUnhealthy(reason: .credentialRefused, trouble: .hold(.human))
private let missing = Outcome.laneUnhealthy(reason: .endpointMissing, trouble: .hold(.transient))
private let quiet = Outcome.laneUnhealthy(reason: .slowDown, trouble: .pause(for: .seconds(30)))
private let withdrawn = Outcome.retry(after: nil, reason: .withdrawn, cause: .notSent)

extension Gate {
    /// An attempt that began at `begun`, or at this moment, ends.
    @discardableResult
    fileprivate mutating func ends(_ outcome: Outcome, begun: Double? = nil, at now: Double) -> Effects {
        ended(outcome, begun: at(begun ?? now), at: at(now), jitter: 0.5)
    }

    /// Three failures in a row, at that moment.
    fileprivate static func closed(at moment: Double, ramp: Duration = .zero) -> Gate {
        var gate = Gate(policy: policy(ramp: ramp), at: at(0))
        for _ in 0..<3 { gate.ends(silence, at: moment) }
        return gate
    }
}

@Suite struct AnswersGateTests {
    @Test func itIsOpenWithoutAQuestion() {
        var gate = Gate(policy: policy(), at: at(0))
        #expect(gate.word(at: at(0)) == .open && gate.admits(at: at(0), inAir: 200) && !gate.isRamping(at: at(0)))
        #expect(gate.admission(at: at(0), inAir: 0)! > at(3_600))
        #expect(!gate.wantsQuestion(at: at(0)) && gate.asked(at: at(0)) == .none)
        // Nobody asks it; if somebody did, the answer would change nothing.
        let answer = HealthVerdict.held(.human, reason: .lineNeedsPerson, detail: nil)
        #expect(gate.answered(answer, asked: at(0), at: at(1), jitter: 0.5) == .none && gate.isOpen(at: at(1)))
    }

    @Test(arguments: [
        Outcome.unknown(reason: .timedOut), .unknown(reason: .connectionLost), .unknown(reason: .serverError),
        .unknown(reason: .serverTimeout), .unknown(reason: .tooEarly),
        .retry(after: nil, reason: .unreachable, cause: .notSent),
    ])
    func threeFailuresInARowCloseIt(failure: Outcome) {
        var gate = Gate(policy: policy(), at: at(0))
        gate.ends(failure, at: 0)
        gate.ends(failure, at: 1)
        gate.ends(sent, at: 2)
        gate.ends(failure, at: 3)
        // Neither a success nor a failure.
        gate.ends(withdrawn, at: 4)
        gate.ends(quiet, at: 5)
        gate.ends(failure, at: 6)
        #expect(gate.isOpen(at: at(6)) && gate.admits(at: at(6), inAir: 9))
        let effects = gate.ends(failure, at: 7)
        #expect(effects.change == Gate.Change(before: .open, after: .heldTransient))
        #expect(effects.isToBeWritten && effects.isToBeLookedAt)
        #expect(gate.hold == Gate.Hold(kind: .transient, reason: failure.reason!, detail: nil))
        #expect(!gate.admits(at: at(21.9), inAir: 0) && gate.nextLook(after: at(7)) == at(22))
    }

    @Test(arguments: [Outcome.park(reason: .messageRefused), .park(reason: .conflict), sent])
    func anAnswerThatBlamesOnlyTheMessageIsAnAnswer(answer: Outcome) {
        var gate = Gate.closed(at: 0)
        #expect(gate.admits(at: at(15), inAir: 0))
        let effects = gate.ends(answer, begun: 15, at: 16)
        #expect(effects.change == Gate.Change(before: .probing, after: .open) && effects.isToBeLookedAt)
        #expect(gate.admits(at: at(16), inAir: 100) && gate.rampTenths(at: at(16)) == 10)
    }

    @Test func whenItIsDueOneJobIsTheProbe() {
        let gate = Gate.closed(at: 0)
        #expect(gate.word(at: at(14)) == .heldTransient && gate.word(at: at(15)) == .probing)
        #expect(gate.admits(at: at(15), inAir: 0) && !gate.admits(at: at(15), inAir: 1))
        #expect(gate.began(at: at(15)).isToBeWritten)
        // While it is in the air only its end changes anything.
        #expect(gate.nextLook(after: at(16)) == nil)
        #expect(gate.mayLeave(begun: at(15), at: at(16)) && !gate.mayLeave(begun: at(14.9), at: at(16)))
    }

    @Test func aProbeThatFailsClosesItForTwiceAsLong() {
        var gate = Gate.closed(at: 0)
        var clock = 0.0
        var waits: [Double] = []
        for _ in 0..<7 {
            let next = gate.nextLook(after: at(clock))!
            waits.append(Double((next - at(clock)).wholeMilliseconds) / 1_000)
            clock += waits.last!
            gate.ends(silence, at: clock)
        }
        #expect(waits == [15, 30, 60, 120, 240, 300, 300])
        let next = gate.nextLook(after: at(clock))!
        _ = gate.ended(sent, begun: next, at: next, jitter: 0.5)
        // One success, and it begins anew.
        for _ in 0..<3 { _ = gate.ended(silence, begun: next, at: next, jitter: 0.5) }
        #expect(gate.nextLook(after: next) == next + .seconds(15))
    }

    @Test func anAnswerWithoutARuleOpensAndClosesNothing() {
        let odd = Outcome.unknown(reason: .unexpectedStatus)
        var gate = Gate(policy: policy(), at: at(0))
        for second in 0..<9 { gate.ends(odd, at: Double(second)) }
        #expect(gate.isOpen(at: at(9)))
        gate = .closed(at: 0)
        gate.ends(odd, begun: 15, at: 16)
        #expect(gate.hold?.reason == .unexpectedStatus && gate.nextLook(after: at(16)) == at(46))
    }

    @Test func aProbeThatNeverHappenedKeepsNothingClosed() {
        var gate = Gate.closed(at: 0)
        // Called off before anything left; refused by its claim, of which the gate hears nothing; answered with "slow down".
        gate.ends(withdrawn, begun: 15, at: 16)
        #expect(gate.admits(at: at(16), inAir: 0) && gate.word(at: at(16)) == .probing)
        gate.ends(quiet, begun: 16, at: 17)
        #expect(gate.admits(at: at(17), inAir: 0) && !gate.admits(at: at(17), inAir: 1))
    }

    @Test func callsThatFailTogetherAreOneFailure() {
        var gate = Gate.closed(at: 10)
        gate.ends(silence, begun: 5, at: 11)
        gate.ends(.unknown(reason: .serverError), begun: 9, at: 24)
        #expect(gate.nextLook(after: at(11)) == at(25) && gate.hold?.reason == .timedOut)
        // A success of that time does not open it either: whoever answered then did not answer three times since.
        gate.ends(sent, begun: 5, at: 24.5)
        #expect(gate.hold != nil && !gate.admits(at: at(24.5), inAir: 0))
        // And after the probe has opened it, what came before closes nothing.
        gate.ends(sent, begun: 25, at: 26)
        for _ in 0..<5 { gate.ends(silence, begun: 9, at: 27) }
        #expect(gate.isOpen(at: at(27)))
    }

    @Test func anAnswerThatNamesTheLaneClosesItAtOnce() {
        var gate = Gate(policy: policy(), at: at(0))
        gate.ends(missing, at: 1)
        #expect(gate.word(at: at(1)) == .heldTransient && gate.nextLook(after: at(1)) == at(16))
        // What is worse counts whenever it is heard, and what is not, does not.
        gate.ends(unauthorized, begun: 0, at: 2)
        #expect(gate.word(at: at(2)) == .heldHuman && gate.hold?.reason == .credentialRefused)
        gate.ends(missing, begun: 0, at: 3)
        #expect(gate.hold?.reason == .credentialRefused)
    }

    @Test func whatAPersonMustMendIsProbedAtTheLongestInterval() {
        var gate = Gate(policy: policy(), at: at(0))
        gate.ends(unauthorized, at: 0)
        #expect(gate.nextLook(after: at(0)) == at(300) && !gate.admits(at: at(299), inAir: 0))
        gate.ends(unauthorized, begun: 300, at: 301)
        #expect(gate.nextLook(after: at(301)) == at(601))
        gate.ends(sent, begun: 601, at: 602)
        #expect(gate.word(at: at(602)) == .open)
    }

    @Test func whatIsGoneIsOnlyTriedForAPerson() {
        var gate = Gate(policy: policy(), at: at(0))
        gate.ends(gone, at: 0)
        #expect(gate.word(at: at(1_000_000)) == .heldHuman && !gate.admits(at: at(1_000_000), inAir: 0))
        #expect(gate.nextLook(after: at(1)) == nil)
        // Neither a next owner nor the end of an outage changes that.
        _ = gate.restarted(at: at(10))
        #expect(!gate.admits(at: at(10), inAir: 0))
        var next = Gate(policy: policy(), memory: gate.memory(at: at(20)), at: at(20))
        #expect(next.hold == gate.hold && !next.admits(at: at(30), inAir: 0))
        let effects = next.resumed(at: at(40))
        #expect(effects.isToBeWritten && effects.isToBeLookedAt && next.word(at: at(40)) == .probing)
        // Resumed, and its worker lost before the probe: the next one makes it.
        var third = Gate(policy: policy(), memory: next.memory(at: at(41)), at: at(42))
        #expect(third.admits(at: at(42), inAir: 0) && !third.admits(at: at(42), inAir: 1))
        third.ends(gone, begun: 42, at: 43)
        #expect(!third.admits(at: at(1_000_000), inAir: 0))
    }

    @Test func aPersonsChangeIsWorthAProbeAndNoMore() {
        var gate = Gate.closed(at: 0)
        _ = gate.resumed(at: at(1))
        #expect(gate.admits(at: at(1), inAir: 0) && !gate.admits(at: at(1), inAir: 1))
        // One that is in the air already stays the probe.
        _ = gate.resumed(at: at(2))
        gate.ends(sent, begun: 1, at: 3)
        #expect(gate.isOpen(at: at(3)) && gate.resumed(at: at(4)) == .none)
    }

    @Test func newSettingsForgetWhatTheOldOnesAreStillAnswered() {
        var gate = Gate(policy: policy(), at: at(0))
        gate.ends(gone, at: 0)
        let effects = gate.forget(at: at(10))
        #expect(effects.isToBeWritten && gate.word(at: at(10)) == .open && gate.admits(at: at(10), inAir: 5))
        gate.ends(gone, begun: 9, at: 11)
        for _ in 0..<3 { gate.ends(silence, begun: 9, at: 12) }
        #expect(gate.isOpen(at: at(12)) && !gate.mayLeave(begun: at(9), at: at(12)))
        #expect(gate.mayLeave(begun: at(10), at: at(12)))
        _ = gate.unusable("no secret", at: at(20))
        #expect(gate.hold?.kind == .human && !gate.admits(at: at(20), inAir: 0))
    }

    @Test func anOwnerGoesOnWhereTheLastOneWas() {
        var first = Gate.closed(at: 0)
        first.ends(silence, begun: 15, at: 16)
        var second = Gate(policy: policy(), memory: first.memory(at: at(20)), at: at(20))
        #expect(second.hold == first.hold && second.nextLook(after: at(20)) == at(46))
        second.ends(silence, begun: 46, at: 47)
        #expect(second.nextLook(after: at(47)) == at(107))
        // Half-open, and perhaps with a probe in the air of which nobody will hear: the new owner makes one, and what began before
        // it came is none.
        var third = Gate(policy: policy(), memory: second.memory(at: at(110)), at: at(120))
        #expect(third.admits(at: at(120), inAir: 0) && !third.mayLeave(begun: at(108), at: at(120)))
        third.ends(sent, begun: 108, at: 121)
        #expect(third.hold != nil)
        third.ends(sent, begun: 120, at: 121)
        #expect(third.isOpen(at: at(121)) && third.memory(at: at(121)) == Gate.Memory())
        // A row without a time is probed at once.
        let hold = Gate.Hold(kind: .human, reason: .credentialRefused, detail: nil)
        #expect(Gate(policy: policy(), memory: .init(hold: hold), at: at(0)).admits(at: at(0), inAir: 0))
    }

    @Test func itRampsWhereItsPolicySaysSo() {
        var gate = Gate.closed(at: 0, ramp: .seconds(60))
        gate.ends(sent, begun: 15, at: 15)
        #expect(gate.word(at: at(15)) == .ramping && gate.rampTenths(at: at(15)) == 1)
        #expect(gate.rampTenths(at: at(21)) == 2 && gate.nextRampStep(after: at(15)) == at(21))
        let next = Gate(policy: policy(ramp: .seconds(60)), memory: gate.memory(at: at(16)), at: at(16))
        #expect(next.word(at: at(16)) == .ramping && next.word(at: at(75)) == .open)
        // Where it does not, what another policy has left is nothing.
        let other = Gate(policy: policy(), memory: gate.memory(at: at(16)), at: at(16))
        #expect(other.word(at: at(16)) == .open && other.rampTenths(at: at(16)) == 10)
    }

    @Test func afterAnOutageItIsProbedAtOnce() {
        var gate = Gate.closed(at: 0)
        _ = gate.restarted(at: at(1))
        #expect(gate.admits(at: at(1), inAir: 0) && !gate.admits(at: at(1), inAir: 1))
        gate = Gate(policy: policy(ramp: .seconds(60)), at: at(0))
        gate.ends(silence, at: 0)
        gate.ends(silence, at: 0)
        _ = gate.restarted(at: at(1))
        gate.ends(silence, at: 2)
        #expect(gate.word(at: at(2)) == .ramping)
    }
}

/// A lane with its calls in the air, and whatever may happen to it.
private struct LaneOfCalls {
    struct Call {
        let begun: Double
        let isProbe: Bool
    }

    var gate = Gate(policy: policy(), at: at(0))
    var clock = 0.0
    var calls: [Call] = []
    var faults: [String] = []

    mutating func expect(_ condition: Bool, _ what: String) { if !condition { faults.append("\(what) at \(clock)") } }

    /// As an owner does: begins a job when the gate lets it.
    mutating func begin() {
        guard gate.admits(at: at(clock), inAir: calls.count) else { return }
        _ = gate.began(at: at(clock))
        calls.append(Call(begun: clock, isProbe: gate.hold != nil))
    }

    mutating func step(_ random: inout SeededGenerator) {
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<6: begin()
        case 6..<14:
            guard let index = calls.indices.randomElement(using: &random) else { break }
            let call = calls.remove(at: index)
            let outcomes = [sent, silence, silence, silence, missing, unauthorized, gone, quiet, withdrawn]
            let jitter = Double.random(in: 0...1, using: &random)
            let outcome = outcomes.randomElement(using: &random)!
            _ = gate.ended(outcome, begun: at(call.begun), at: at(clock), jitter: jitter)
        case 14..<16:
            // Its claim was refused: the gate hears nothing.
            if let index = calls.indices.randomElement(using: &random) { calls.remove(at: index) }
        case 16:
            // Its worker is lost, and the row is all that is left.
            gate = Gate(policy: policy(), memory: gate.memory(at: at(clock)), at: at(clock))
            calls = []
        case 17: _ = gate.resumed(at: at(clock))
        case 18: _ = gate.restarted(at: at(clock))
        default: _ = gate.forget(at: at(clock))
        }
        clock += [0.001, 0.1, 1, 20, 400].randomElement(using: &random)!
    }

    /// What holds at every moment.
    mutating func look() {
        expect(!gate.wantsQuestion(at: at(clock)), "a question")
        guard gate.hold != nil else {
            return expect(gate.admits(at: at(clock), inAir: calls.count), "an open gate that admits nothing")
        }
        let probes = calls.filter { $0.isProbe && gate.mayLeave(begun: at($0.begun), at: at(clock)) }
        expect(probes.count <= 1, "two probes")
        expect(probes.isEmpty || !gate.admits(at: at(clock), inAir: calls.count), "room for a second probe")
        expect(
            gate.word(at: at(clock)) == .probing || !gate.admits(at: at(clock), inAir: 0),
            "a closed gate that admits something"
        )
        expect(
            calls.allSatisfy { $0.isProbe || !gate.mayLeave(begun: at($0.begun), at: at(clock)) },
            "something left through a closed gate"
        )
    }

    /// Everything in the air ends, and one call succeeds.
    mutating func recover() {
        calls = []
        if gate.hold?.reason == .endpointGone { _ = gate.resumed(at: at(clock)) }
        while gate.hold != nil, let next = gate.nextLook(after: at(clock)) {
            clock = Double((next - start).wholeMilliseconds + 2) / 1_000
        }
        begin()
        expect(calls.count == 1, "no probe")
        _ = gate.ended(sent, begun: at(clock), at: at(clock + 1), jitter: 0.5)
        expect(gate.isOpen(at: at(clock + 1)) && gate.admits(at: at(clock + 1), inAir: 99), "no recovery")
    }
}

@Suite struct AnswersGatePropertyTests {
    /// Never two probes at once; a closed gate admits nothing; after whatever has happened one success opens it.
    @Test func whateverHappens() {
        var closed = 0
        withSeeds { seed, random in
            for run in 0..<300 {
                var lane = LaneOfCalls()
                for _ in 0..<Int.random(in: 1...80, using: &random) {
                    lane.step(&random)
                    lane.look()
                }
                if lane.gate.hold != nil { closed += 1 }
                lane.recover()
                #expect(lane.faults.isEmpty, "seed \(seed), run \(run): \(lane.faults.prefix(3))")
            }
        }
        #expect(closed > 50, "the runs close the gate")
    }
}
