/// Whether jobs of a lane may begin, as far as the other side's answers say. No I/O, no clock.
///
/// There are two kinds (``LanePolicy/Opening``), each a machine of its own with the same words: ``HealthGate`` opens only by an
/// OPEN answer to the lane's own health question, ``AnswersGate`` is open until calls fail. Pictures are in `docs/gates.md`.
///
/// Whoever tells a gate something does what the returned ``Effects`` say; there is nothing else to remember.
package struct Gate: Sendable, Hashable {
    package typealias Instant = ContinuousClock.Instant

    private enum Machine: Sendable, Hashable {
        case health(HealthGate)
        case answers(AnswersGate)
    }

    /// From the end of a line's hold to its full pace.
    package static let rampLength: Duration = .seconds(60)

    private var machine: Machine

    /// A gate of which nothing is known, or that a former owner has known: what it thought open, or could not reach, is asked
    /// again, and a probe that it may have begun is made again.
    package init(policy: LanePolicy, memory: Memory = Memory(), at now: Instant) {
        machine =
            switch policy.opening {
            case .health: .health(HealthGate(memory, rampLength: policy.rampLength))
            case .answers: .answers(AnswersGate(memory, rampLength: policy.rampLength, at: now))
            }
    }

    // MARK: What it says

    /// Until when a job that begins at `now` may go on, as far as the gate knows; nil: none may begin.
    ///
    /// - Parameter inAir: calls of the lane that have begun and not ended. A half-open gate lets one begin when there are none:
    ///   that one is its probe.
    package func admission(at now: Instant, inAir: Int) -> Instant? {
        switch machine {
        case .health(let gate): gate.isOpen(at: now) ? gate.openUntil : nil
        case .answers(let gate): gate.admission(at: now, inAir: inAir)
        }
    }

    /// Whether a job may begin at `now`; see ``admission(at:inAir:)``.
    package func admits(at now: Instant, inAir: Int) -> Bool { admission(at: now, inAir: inAir) != nil }

    /// The last look: whether the bytes of a job that began at `begun` may still leave at `now`.
    package func mayLeave(begun: Instant, at now: Instant) -> Bool {
        switch machine {
        case .health(let gate): gate.isOpen(at: now)
        case .answers(let gate): gate.mayLeave(begun: begun)
        }
    }

    /// When time alone may let a job begin or a question be asked; nil: only an event can.
    package func nextLook(after now: Instant) -> Instant? {
        switch machine {
        case .health(let gate): gate.nextQuestion(after: now)
        case .answers(let gate): gate.nextProbe(after: now)
        }
    }

    /// Whether to ask the lane's health at `now`. Only for lanes with work.
    package func wantsQuestion(at now: Instant) -> Bool {
        switch machine {
        case .health(let gate): gate.wantsQuestion(at: now)
        case .answers: false
        }
    }

    /// The hold, while there is one.
    package var hold: Hold? {
        switch machine {
        case .health(let gate): gate.hold
        case .answers(let gate): gate.hold
        }
    }

    /// Whether it is known to be open at `now`, and no probe is needed.
    package func isOpen(at now: Instant) -> Bool {
        switch machine {
        case .health(let gate): gate.isOpen(at: now)
        case .answers(let gate): gate.hold == nil
        }
    }

    /// The word that is stored and shown.
    package func word(at now: Instant) -> Word {
        switch machine {
        case .health(let gate): gate.word(at: now)
        case .answers(let gate): gate.word(at: now)
        }
    }

    /// What a next owner must know.
    package func memory(at now: Instant) -> Memory {
        switch machine {
        case .health(let gate): gate.memory(at: now)
        case .answers(let gate): gate.memory(at: now)
        }
    }

    // MARK: The ramp

    private var ramp: Ramp? {
        switch machine {
        case .health(let gate): gate.ramp
        case .answers(let gate): gate.ramp
        }
    }

    /// Whether the pace still grows after a hold.
    package func isRamping(at now: Instant) -> Bool { ramp?.lasts(at: now) ?? false }

    /// The part of the pace that may be used at `now`, in tenths: 1…10. Ten when it does not ramp.
    package func rampTenths(at now: Instant) -> Int { ramp?.tenths(at: now) ?? Ramp.steps }

    /// When ``rampTenths(at:)`` rises next; nil when it does not.
    package func nextRampStep(after now: Instant) -> Instant? { ramp?.nextStep(after: now) }

    // MARK: What it is told

    /// A health question is sent at `now`.
    package mutating func asked(at now: Instant) -> Effects {
        guard case .health(var gate) = machine else { return .none }
        gate.asked(at: now)
        machine = .health(gate)
        return Effects(isToBeWritten: gate.hold != nil)
    }

    /// The answer to the question that was sent at `asked` came at `now`.
    ///
    /// - Parameter jitter: 0…1.
    package mutating func answered(
        _ verdict: HealthVerdict,
        asked: Instant,
        at now: Instant,
        jitter: Double
    ) -> Effects {
        guard case .health(var gate) = machine else { return .none }
        let before = gate.word(at: now)
        gate.answered(verdict, asked: asked, at: now, jitter: jitter)
        machine = .health(gate)
        let change = Change(before: before, after: gate.word(at: now))
        // A line that is asked for the first time, or again after some quiet, is no news while it can send.
        let isNews = change.isOne && (before != .unknown || change.after != .open)
        return Effects(isToBeWritten: true, isToBeLookedAt: true, change: isNews ? change : nil)
    }

    /// The question that was sent at `asked` has no answer that says anything of this lane as it is now.
    package mutating func unanswered(asked: Instant) {
        guard case .health(var gate) = machine else { return }
        gate.unanswered(asked: asked)
        machine = .health(gate)
    }

    /// A job begins at `now`, by ``admission(at:inAir:)``.
    package func began(at now: Instant) -> Effects {
        guard case .answers(let gate) = machine else { return .none }
        // The probe is shown, and the next owner makes it again.
        return Effects(isToBeWritten: gate.hold != nil)
    }

    /// An attempt that began at `begun` ended at `now`.
    ///
    /// - Parameter jitter: 0…1; only asked for when the gate closes.
    package mutating func ended(
        _ outcome: Outcome,
        begun: Instant,
        at now: Instant,
        jitter: @autoclosure () -> Double
    ) -> Effects {
        var change: Change?
        switch machine {
        case .health(var gate):
            // A hold is logged by whoever heard the outcome, also of a lane that was given up meanwhile.
            gate.ended(outcome, at: now, jitter: jitter)
            machine = .health(gate)
        case .answers(var gate):
            let before = gate.word(at: now)
            gate.ended(outcome, begun: begun, at: now, jitter: jitter)
            machine = .answers(gate)
            change = Change(before: before, after: gate.word(at: now))
        }
        return Effects(
            isToBeWritten: true,
            isToBeLookedAt: true,
            change: change.flatMap { $0.isOne ? $0 : nil }
        )
    }

    /// The lane's stored address or secret cannot be used. May be told again and again, until ``forget(at:)``.
    ///
    /// - Parameter detail: what is wrong, safe to log and to show.
    package mutating func unusable(_ detail: String, at now: Instant) -> Effects {
        let hold = Hold(kind: .human, reason: .lineUnusable, detail: detail)
        switch machine {
        case .health(var gate):
            gate.close(hold, asOf: now, at: now, jitter: 0)
            machine = .health(gate)
        case .answers(var gate):
            gate.close(hold, at: now, jitter: 0)
            machine = .answers(gate)
        }
        // Nothing to look at: whoever found it looks again by itself.
        return Effects(isToBeWritten: true)
    }

    /// Everybody was silent and is back: the lane is asked or probed anew, and goes on by the ramp.
    package mutating func restarted(at now: Instant) -> Effects {
        switch machine {
        case .health(var gate):
            gate.restarted(at: now)
            machine = .health(gate)
        case .answers(var gate):
            gate.restarted(at: now)
            machine = .answers(gate)
        }
        return Effects(isToBeLookedAt: true)
    }

    /// A person has changed something about the lane, or resumed it: a gate that answers open is worth a probe at once, also
    /// when only a person may open it. A health gate stays as it is.
    package mutating func resumed(at now: Instant) -> Effects {
        guard case .answers(var gate) = machine, gate.hold != nil else { return .none }
        gate.resumed(at: now)
        machine = .answers(gate)
        return Effects(isToBeWritten: true, isToBeLookedAt: true)
    }

    /// The lane's settings changed (a new secret, another address): what was learned is worth nothing, and what the old ones are
    /// still answered opens and closes nothing.
    package mutating func forget(at now: Instant) -> Effects {
        switch machine {
        case .health(var gate):
            gate.forget(at: now)
            machine = .health(gate)
        case .answers(var gate):
            gate.forget(at: now)
            machine = .answers(gate)
        }
        return Effects(isToBeWritten: true, isToBeLookedAt: true)
    }
}
