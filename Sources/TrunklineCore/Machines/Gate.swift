/// Whether a line may be sent into, as far as its own health answers and its sends say. No I/O, no clock.
///
/// | state | means | leaves it |
/// | --- | --- | --- |
/// | unknown | no answer that is young enough | an OPEN answer → open (or back to ramping); any other → held |
/// | open | an OPEN answer of the last 30 s | 30 s without a new one, a failed send → unknown; "not sendable" → held |
/// | held | not sendable: it may pass by itself (transient), or a person must act (human) | the next question is due → probing |
/// | probing | held, and one question is under way | OPEN → ramping; anything else → held, for twice as long |
/// | ramping | open, at a part of the pace that grows from a tenth to all of it in a minute | the minute is over → open; as open otherwise |
///
/// An OPEN answer counts for 30 s from when its question was *sent* (contract sheet, 3.1), is asked again from 15 s on
/// while there is work, and is compared again right before the bytes leave. Unknown words fail closed. Only an answer whose
/// question is younger than what closed the gate can open it. A picture is in `docs/gates.md`.
public struct Gate: Sendable, Hashable {
    /// How long an OPEN answer counts, from when its question was sent.
    public static let freshness: Duration = .seconds(30)
    /// From when on an OPEN answer is asked for again while there is work.
    public static let renewal: Duration = .seconds(15)
    /// From the end of a hold to the full pace.
    public static let rampLength: Duration = .seconds(60)
    private static let rampSteps = 10
    private static let shortestProbe: Duration = .seconds(15)
    private static let longestProbe: Duration = .seconds(300)
    private static let silenceProbe: Duration = .seconds(2)
    private static let longestSilenceProbe: Duration = .seconds(6)

    /// Why the gate is closed.
    public struct Hold: Sendable, Hashable {
        public let kind: HoldKind
        public let reason: Reason
        /// State words of the answer, safe to log; nil when a send told us.
        public let detail: String?
        /// Nothing was heard at all: that says something about the wire, and nothing about the line.
        var isSilence: Bool { reason == .unreachable || reason == .timedOut }
        public init(kind: HoldKind, reason: Reason, detail: String?) {
            self.kind = kind
            self.reason = reason
            self.detail = detail
        }
    }

    /// What must survive the owner of a lane.
    public struct Memory: Sendable, Hashable {
        public var hold: Hold?
        /// Questions that found it held, since it was open last.
        public var probes: Int
        /// When a held line is asked next.
        public var nextProbe: ContinuousClock.Instant?
        /// When the ramp began, while it lasts.
        public var rampBegan: ContinuousClock.Instant?
        public init(
            hold: Hold? = nil,
            probes: Int = 0,
            nextProbe: ContinuousClock.Instant? = nil,
            rampBegan: ContinuousClock.Instant? = nil
        ) {
            self.hold = hold
            self.probes = probes
            self.nextProbe = nextProbe
            self.rampBegan = rampBegan
        }
    }

    /// The hold, while there is one.
    public private(set) var hold: Hold?
    private var openSince: ContinuousClock.Instant?
    /// What closed it last is as young as this: an answer to an older question opens nothing.
    private var closedAt: ContinuousClock.Instant?
    private var askedAt: ContinuousClock.Instant?
    private var nextQuestion: ContinuousClock.Instant?
    private var rampBegan: ContinuousClock.Instant?
    private var probes = 0

    public init() {}

    /// A gate that a former owner has known. What it thought open, or could not reach, is asked again.
    public init(_ memory: Memory) {
        hold = memory.hold
        probes = memory.hold == nil ? 0 : max(0, memory.probes)
        nextQuestion = memory.hold.map { $0.isSilence ? nil : memory.nextProbe } ?? nil
        rampBegan = memory.hold == nil ? memory.rampBegan : nil
    }

    /// What a next owner must know.
    public func memory(at now: ContinuousClock.Instant) -> Memory {
        Memory(
            hold: hold,
            probes: probes,
            nextProbe: hold == nil ? nil : nextQuestion,
            rampBegan: isRamping(at: now) ? rampBegan : nil
        )
    }

    /// Until when the last OPEN answer counts; nil when it is closed.
    public var openUntil: ContinuousClock.Instant? { hold == nil ? openSince.map { $0 + Self.freshness } : nil }

    /// Whether a send may begin at `now`.
    public func isOpen(at now: ContinuousClock.Instant) -> Bool { openUntil.map { $0 > now } ?? false }

    /// Whether the pace still grows after a hold.
    public func isRamping(at now: ContinuousClock.Instant) -> Bool {
        guard hold == nil, let rampBegan else { return false }
        return rampBegan + Self.rampLength > now
    }

    /// The part of the pace that may be used at `now`, in tenths: 1…10. Ten when it does not ramp.
    public func rampTenths(at now: ContinuousClock.Instant) -> Int {
        guard isRamping(at: now), let rampBegan else { return Self.rampSteps }
        let step = (now - rampBegan).wholeMilliseconds * Int64(Self.rampSteps) / Self.rampLength.wholeMilliseconds
        return min(Self.rampSteps, max(1, Int(step) + 1))
    }

    /// When ``rampTenths(at:)`` rises next; nil when it does not.
    public func nextRampStep(after now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        guard isRamping(at: now), let rampBegan else { return nil }
        return rampBegan + Self.rampLength / Self.rampSteps * rampTenths(at: now)
    }

    /// The word that is stored and shown: `open`, `ramping`, `probing`, `held_transient`, `held_human` or `unknown`.
    public func word(at now: ContinuousClock.Instant) -> String {
        if let hold {
            if askedAt != nil { return "probing" }
            return hold.kind == .human ? "held_human" : "held_transient"
        }
        guard isOpen(at: now) else { return "unknown" }
        return isRamping(at: now) ? "ramping" : "open"
    }

    /// Whether to ask the line's health at `now`. Only for lines with work.
    public func wantsQuestion(at now: ContinuousClock.Instant) -> Bool {
        guard askedAt == nil else { return false }
        guard let nextQuestion else { return true }
        return nextQuestion <= now
    }

    /// When the next question is due; nil while one is under way.
    public func nextQuestion(after now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        askedAt == nil ? max(nextQuestion ?? now, now) : nil
    }

    /// A question is sent at `now`.
    public mutating func asked(at now: ContinuousClock.Instant) { askedAt = now }

    /// The answer to the question that was sent at `asked` came at `now`. `jitter` is 0…1.
    public mutating func answered(
        _ verdict: HealthVerdict,
        asked: ContinuousClock.Instant,
        at now: ContinuousClock.Instant,
        jitter: Double
    ) {
        unanswered(asked: asked)
        let isStale = closedAt.map { asked < $0 } ?? false
        switch verdict {
        case .open:
            // What a send, or a younger question, has told since then counts for more.
            guard !isStale else { return }
            if hold != nil { rampBegan = now }
            hold = nil
            probes = 0
            openSince = max(openSince ?? asked, asked)
            nextQuestion = asked + Self.renewal
        case .held(let kind, let reason, let detail):
            if isStale, hold != nil { return }
            close(Hold(kind: kind, reason: reason, detail: detail), asOf: asked, at: now, jitter: jitter)
        case .keepLast(let reason):
            guard !isStale else { return }
            // 429, 5xx and time-outs extend nothing: the last OPEN answer counts until it is 30 s old.
            if hold != nil || !isOpen(at: now) {
                close(
                    Hold(kind: hold?.kind ?? .transient, reason: hold?.reason ?? reason, detail: hold?.detail),
                    asOf: asked,
                    at: now,
                    jitter: jitter
                )
            } else {
                nextQuestion = now + Self.silenceProbe
            }
        }
    }

    /// The question that was sent at `asked` has no answer that says anything of this line as it is now.
    public mutating func unanswered(asked: ContinuousClock.Instant) {
        if askedAt == asked { askedAt = nil }
    }

    /// A send failed otherwise than by the message's fault: the cached answer is worth nothing.
    public mutating func sendFailed(at now: ContinuousClock.Instant) {
        openSince = nil
        closedAt = now
        if hold == nil { nextQuestion = now }
    }

    /// A send said that the line must not be sent into.
    ///
    /// - Parameter detail: what more there is to say, safe to log and to show.
    public mutating func sendHeld(
        _ kind: HoldKind,
        reason: Reason,
        detail: String? = nil,
        at now: ContinuousClock.Instant,
        jitter: Double
    ) {
        close(Hold(kind: kind, reason: reason, detail: detail), asOf: now, at: now, jitter: jitter)
    }

    /// Everybody was silent and is back: the line is asked anew, and goes on by the ramp.
    public mutating func restarted(at now: ContinuousClock.Instant) {
        openSince = nil
        closedAt = now
        rampBegan = now
        // A hold of its own stays; its next probe need not wait for what the silence has added.
        nextQuestion = now
    }

    /// The line's settings changed (a new token, another address): what was learned is worth nothing, and what the old ones
    /// are still answered opens nothing.
    public mutating func forget(at now: ContinuousClock.Instant) {
        self = Gate()
        closedAt = now
    }

    private mutating func close(
        _ hold: Hold,
        asOf moment: ContinuousClock.Instant,
        at now: ContinuousClock.Instant,
        jitter: Double
    ) {
        self.hold = hold
        openSince = nil
        closedAt = max(closedAt ?? moment, moment)
        rampBegan = nil
        let wait =
            hold.isSilence
            ? min(Self.longestSilenceProbe, Self.silenceProbe * (1 << min(probes, 6)))
            : min(Self.longestProbe, Self.shortestProbe * (1 << min(probes, 6)))
        probes += 1
        nextQuestion = now + wait * (0.8 + 0.4 * min(max(jitter, 0), 1))
    }
}
