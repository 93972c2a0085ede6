/// The gate of a lane whose own health can be asked.
///
/// | state | means | leaves it |
/// | --- | --- | --- |
/// | unknown | no answer that is young enough | an OPEN answer → open (or back to ramping); any other → held |
/// | open | an OPEN answer of the last 30 s | 30 s without a new one, a failed send → unknown; "not sendable" → held |
/// | held | not sendable: it may pass by itself (transient), or a person must act (human) | the next question is due → probing |
/// | probing | held, and one question is under way | OPEN → ramping; anything else → held, for twice as long |
/// | ramping | open, at a part of the pace that grows from a tenth to all of it | the ramp is over → open; as open otherwise |
///
/// An OPEN answer counts for 30 s from when its question was *sent* (contract sheet, 3.1), is asked again from 15 s on
/// while there is work, and is compared again right before the bytes leave. Unknown words fail closed. Only an answer whose
/// question is younger than what closed the gate can open it.
struct HealthGate: Sendable, Hashable {
    typealias Instant = ContinuousClock.Instant

    /// How long an OPEN answer counts, from when its question was sent.
    static let freshness: Duration = .seconds(30)
    /// From when on an OPEN answer is asked for again while there is work.
    static let renewal: Duration = .seconds(15)
    private static let silenceProbe: Duration = .seconds(2)
    private static let longestSilenceProbe: Duration = .seconds(6)

    /// The ramp goes on while an answer is missing: it is about the line, and the answer about this moment.
    private enum State: Sendable, Hashable {
        /// Becomes open or held by an answer, held by a send.
        case unknown(Ramp?)
        /// Becomes unknown by time alone or by a failed send, held by an answer or a send.
        case open(since: Instant, Ramp?)
        /// Becomes open, and ramps, by an OPEN answer. `probes`: questions that found it held.
        case held(Gate.Hold, probes: Int)
    }

    /// Asked in every state, by the owner and beside it by a job that needs to know.
    private struct Questions: Sendable, Hashable {
        /// When the one was sent that is under way.
        var underWay: Instant?
        /// Nil: at once.
        var next: Instant?
        /// What closed the gate last is as young as this: an answer to an older question opens nothing.
        var oldest: Instant?
    }

    private var state: State
    private var questions: Questions
    private let rampLength: Duration

    init(_ memory: Gate.Memory, rampLength: Duration) {
        self.rampLength = rampLength
        if let hold = memory.hold {
            state = .held(hold, probes: max(0, memory.probes))
            questions = Questions(next: hold.isSilence ? nil : memory.nextProbe)
        } else {
            state = .unknown(memory.rampBegan.map { Ramp(began: $0, length: rampLength) })
            questions = Questions()
        }
    }

    // MARK: What it says

    var hold: Gate.Hold? {
        switch state {
        case .held(let hold, _): hold
        case .unknown, .open: nil
        }
    }

    var ramp: Ramp? {
        switch state {
        case .unknown(let ramp), .open(_, let ramp): ramp
        case .held: nil
        }
    }

    private var probes: Int {
        switch state {
        case .held(_, let probes): probes
        case .unknown, .open: 0
        }
    }

    /// Until when the last OPEN answer counts.
    var openUntil: Instant? {
        switch state {
        case .open(let since, _): since + Self.freshness
        case .unknown, .held: nil
        }
    }

    func isOpen(at now: Instant) -> Bool { openUntil.map { $0 > now } ?? false }

    func word(at now: Instant) -> Gate.Word {
        if let hold { return questions.underWay == nil ? hold.word : .probing }
        guard isOpen(at: now) else { return .unknown }
        return ramp?.lasts(at: now) ?? false ? .ramping : .open
    }

    func memory(at now: Instant) -> Gate.Memory {
        Gate.Memory(
            hold: hold,
            probes: probes,
            nextProbe: hold == nil ? nil : questions.next,
            rampBegan: ramp.flatMap { $0.lasts(at: now) ? $0.began : nil }
        )
    }

    func wantsQuestion(at now: Instant) -> Bool {
        guard questions.underWay == nil else { return false }
        return questions.next.map { $0 <= now } ?? true
    }

    /// When the next question is due; nil while one is under way.
    func nextQuestion(after now: Instant) -> Instant? {
        questions.underWay == nil ? max(questions.next ?? now, now) : nil
    }

    // MARK: What it is told

    mutating func asked(at now: Instant) { questions.underWay = now }

    mutating func unanswered(asked: Instant) {
        if questions.underWay == asked { questions.underWay = nil }
    }

    mutating func answered(_ verdict: HealthVerdict, asked: Instant, at now: Instant, jitter: Double) {
        unanswered(asked: asked)
        let isStale = questions.oldest.map { asked < $0 } ?? false
        switch verdict {
        case .open:
            // What a send, or a younger question, has told since then counts for more.
            guard !isStale else { return }
            switch state {
            case .unknown(let ramp): state = .open(since: asked, ramp)
            case .open(let since, let ramp): state = .open(since: max(since, asked), ramp)
            case .held: state = .open(since: asked, Ramp(began: now, length: rampLength))
            }
            questions.next = asked + Self.renewal
        case .held(let kind, let reason, let detail):
            if isStale, hold != nil { return }
            close(Gate.Hold(kind: kind, reason: reason, detail: detail), asOf: asked, at: now, jitter: jitter)
        case .keepLast(let reason):
            guard !isStale else { return }
            // 429, 5xx and time-outs extend nothing: the last OPEN answer counts until it is 30 s old.
            if isOpen(at: now) {
                questions.next = now + Self.silenceProbe
            } else {
                let kept = hold ?? Gate.Hold(kind: .transient, reason: reason, detail: nil)
                close(kept, asOf: asked, at: now, jitter: jitter)
            }
        }
    }

    mutating func ended(_ outcome: Outcome, at now: Instant, jitter: () -> Double) {
        if case .hold(let kind) = outcome.laneTrouble {
            let reason = outcome.reason ?? .lineNotSendable
            close(Gate.Hold(kind: kind, reason: reason, detail: nil), asOf: now, at: now, jitter: jitter())
        } else if outcome.dropsHealth {
            dropAnswer(at: now)
            if hold == nil { questions.next = now }
        }
    }

    mutating func restarted(at now: Instant) {
        dropAnswer(at: now)
        if case .unknown = state { state = .unknown(Ramp(began: now, length: rampLength)) }
        // A hold of its own stays; its next probe need not wait for what the silence has added.
        questions.next = now
    }

    mutating func forget(at now: Instant) {
        state = .unknown(nil)
        questions = Questions(oldest: now)
    }

    mutating func close(_ hold: Gate.Hold, asOf moment: Instant, at now: Instant, jitter: Double) {
        let probes = probes
        state = .held(hold, probes: probes + 1)
        questions.oldest = max(questions.oldest ?? moment, moment)
        let wait =
            hold.isSilence
            ? GateBackoff.wait(afterProbes: probes, from: Self.silenceProbe, upTo: Self.longestSilenceProbe)
            : GateBackoff.wait(afterProbes: probes, from: GateBackoff.shortest, upTo: GateBackoff.longest)
        questions.next = now + GateBackoff.jittered(wait, jitter)
    }

    /// The cached answer is worth nothing any more, and neither is one to a question that was sent before.
    private mutating func dropAnswer(at now: Instant) {
        if case .open(_, let ramp) = state { state = .unknown(ramp) }
        questions.oldest = now
    }
}
