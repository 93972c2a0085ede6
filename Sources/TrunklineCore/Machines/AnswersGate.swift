/// The gate of a lane that has no health to ask: the answers to its jobs open and close it.
///
/// | state | means | leaves it |
/// | --- | --- | --- |
/// | open | nothing is known against it | three failures in a row, or an answer that names the lane → held |
/// | held | nothing begins: it may pass by itself (transient), or a person must act (human) | the next probe is due → probing |
/// | probing | half-open: one job may begin, and it is the probe | an answer that does not blame the lane → open (or ramping); anything else → held, for twice as long |
/// | ramping | open, at a part of the pace that grows to all of it, where the policy wants that | as open |
///
/// Which job is the probe is not written down anywhere: it is whatever began when the probe was due and nothing else of the lane
/// was in the air. So one whose claim was refused, whose call was called off or whose worker was lost keeps nothing closed: when
/// it is not in the air any more, the next job is the probe.
struct AnswersGate: Sendable, Hashable {
    typealias Instant = ContinuousClock.Instant

    /// One failure is the network of a moment, and two are two jobs that a restart of the other side met in the air. Two make the
    /// lane suspect (``CallRecord``), which leaves it one call at a time; when that does not help either, each further call would
    /// only be one more job of which nobody knows whether it arrived.
    static let failuresToClose = 3
    /// Longer than any lease, and so than any attempt.
    private static let unlimited: Duration = .seconds(86_400)

    private enum State: Sendable, Hashable {
        /// Becomes held. `since`: what began before says nothing; nil: there is nothing before. `failures`: in a row.
        case open(since: Instant?, failures: Int, Ramp?)
        /// Becomes open by a probe. `probes`: how often it closed since it was open last. Half-open from `nextProbe` on; nil:
        /// only a person opens it.
        case held(Gate.Hold, probes: Int, nextProbe: Instant?)
    }

    /// What the outcome of one attempt says about the lane.
    private enum Sign {
        /// It answers, and has nothing against the lane.
        case well
        /// No answer, or one that nobody could use.
        case failure(Reason)
        case trouble(Gate.Hold)
        /// An answer without a rule: no reason to close, and none to open.
        case unclear(Reason)
        /// Nothing left us, or the other side only asked for quiet.
        case none

        init(_ outcome: Outcome) {
            guard let reason = outcome.reason else {
                self = .well
                return
            }
            if case .hold(let kind) = outcome.laneTrouble {
                self = .trouble(Gate.Hold(kind: kind, reason: reason, detail: nil))
            } else if reason.isOurOwn {
                self = .none
            } else if outcome.isProviderFailure || reason == .tooEarly {
                self = .failure(reason)
            } else if reason == .messageRefused || reason == .conflict {
                self = .well
            } else if case .pause = outcome.laneTrouble {
                self = .none
            } else {
                self = .unclear(reason)
            }
        }
    }

    private var state: State
    private let rampLength: Duration

    init(_ memory: Gate.Memory, rampLength: Duration, at now: Instant) {
        self.rampLength = rampLength
        if let hold = memory.hold {
            // Not before now: what is in the air already is no probe.
            let next = memory.nextProbe.map { max($0, now) } ?? (hold.isFinal ? nil : now)
            state = .held(hold, probes: max(0, memory.probes), nextProbe: next)
        } else {
            state = .open(
                since: nil,
                failures: 0,
                memory.rampBegan.flatMap { rampLength > .zero ? Ramp(began: $0, length: rampLength) : nil }
            )
        }
    }

    // MARK: What it says

    var hold: Gate.Hold? {
        switch state {
        case .held(let hold, _, _): hold
        case .open: nil
        }
    }

    var ramp: Ramp? {
        switch state {
        case .open(_, _, let ramp): ramp
        case .held: nil
        }
    }

    func word(at now: Instant) -> Gate.Word {
        switch state {
        case .open(_, _, let ramp): ramp?.lasts(at: now) ?? false ? .ramping : .open
        case .held(let hold, _, let nextProbe): nextProbe.map { $0 <= now } ?? false ? .probing : hold.word
        }
    }

    func memory(at now: Instant) -> Gate.Memory {
        switch state {
        case .open(_, _, let ramp):
            Gate.Memory(rampBegan: ramp.flatMap { $0.lasts(at: now) ? $0.began : nil })
        case .held(let hold, let probes, let nextProbe):
            Gate.Memory(hold: hold, probes: probes, nextProbe: nextProbe)
        }
    }

    func admission(at now: Instant, inAir: Int) -> Instant? {
        switch state {
        case .open: now + Self.unlimited
        case .held(_, _, let nextProbe?): nextProbe <= now && inAir == 0 ? now + Self.unlimited : nil
        case .held(_, _, nil): nil
        }
    }

    func mayLeave(begun: Instant) -> Bool {
        switch state {
        case .open(let since, _, _): since.map { $0 <= begun } ?? true
        case .held(_, _, let nextProbe): isProbe(begun, nextProbe)
        }
    }

    /// When the probe falls due; nil when it is, since then only the end of a call changes anything.
    func nextProbe(after now: Instant) -> Instant? {
        switch state {
        case .open: nil
        case .held(_, _, let nextProbe): nextProbe.flatMap { $0 > now ? $0 : nil }
        }
    }

    private func isProbe(_ begun: Instant, _ due: Instant?) -> Bool { due.map { $0 <= begun } ?? false }

    // MARK: What it is told

    mutating func ended(_ outcome: Outcome, begun: Instant, at now: Instant, jitter: () -> Double) {
        let sign = Sign(outcome)
        switch state {
        case .open(let since, let failures, let ramp):
            if let since, begun < since { return }
            switch sign {
            case .well: state = .open(since: since, failures: 0, ramp)
            case .failure(let reason):
                if failures + 1 < Self.failuresToClose {
                    state = .open(since: since, failures: failures + 1, ramp)
                } else {
                    close(Gate.Hold(kind: .transient, reason: reason, detail: nil), at: now, jitter: jitter())
                }
            case .trouble(let hold): close(hold, at: now, jitter: jitter())
            case .unclear, .none: break
            }
        case .held(let held, _, let nextProbe):
            guard isProbe(begun, nextProbe) else {
                // It was in the air when the gate closed: five calls that fail together are one failure. Only what is worse than
                // what is known counts.
                if case .trouble(let hold) = sign, Self.rank(hold) > Self.rank(held) {
                    close(hold, at: now, jitter: jitter())
                }
                return
            }
            switch sign {
            case .well: open(at: now)
            case .failure(let reason), .unclear(let reason):
                close(Gate.Hold(kind: .transient, reason: reason, detail: nil), at: now, jitter: jitter())
            case .trouble(let hold): close(hold, at: now, jitter: jitter())
            case .none: break
            }
        }
    }

    mutating func restarted(at now: Instant) {
        switch state {
        case .open(let since, _, _): state = .open(since: since, failures: 0, newRamp(at: now))
        case .held(let hold, _, _): if !hold.isFinal { resumed(at: now) }
        }
    }

    /// A probe is due at once; one that is due already, and may be in the air, stays the probe.
    mutating func resumed(at now: Instant) {
        guard case .held(let hold, let probes, let nextProbe) = state else { return }
        state = .held(hold, probes: probes, nextProbe: min(nextProbe ?? now, now))
    }

    mutating func forget(at now: Instant) { state = .open(since: now, failures: 0, nil) }

    mutating func close(_ hold: Gate.Hold, at now: Instant, jitter: Double) {
        let probes =
            switch state {
            case .open: 0
            case .held(_, let probes, _): probes
            }
        // What a person must mend is seldom mended within seconds, and each probe is somebody's job.
        let wait =
            hold.kind == .human
            ? GateBackoff.longest
            : GateBackoff.wait(afterProbes: probes, from: GateBackoff.shortest, upTo: GateBackoff.longest)
        state = .held(
            hold,
            probes: probes + 1,
            nextProbe: hold.isFinal ? nil : now + GateBackoff.jittered(wait, jitter)
        )
    }

    private mutating func open(at now: Instant) { state = .open(since: now, failures: 0, newRamp(at: now)) }

    private func newRamp(at now: Instant) -> Ramp? {
        rampLength > .zero ? Ramp(began: now, length: rampLength) : nil
    }

    private static func rank(_ hold: Gate.Hold) -> Int { hold.isFinal ? 2 : hold.kind == .human ? 1 : 0 }
}
