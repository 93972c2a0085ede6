/// Whether a line may be sent into, as far as its own health answers and its sends say. No I/O, no clock.
///
/// ```
/// unknown ── open answer ──> open ── 30 s without a new one, a failed send, a held answer ──> unknown / held
/// held ── open answer ──> open          held ── asked again after 15 s … 5 min, doubling, jittered
/// ```
/// An OPEN answer counts for 30 s from when its question was *sent* (contract sheet, 3.1), is asked again from 15 s on
/// while there is work, and is compared again right before the bytes leave. Unknown words fail closed.
public struct Gate: Sendable, Hashable {
    /// How long an OPEN answer counts, from when its question was sent.
    public static let freshness: Duration = .seconds(30)
    /// From when on an OPEN answer is asked for again while there is work.
    public static let renewal: Duration = .seconds(15)
    private static let shortestProbe: Duration = .seconds(15)
    private static let longestProbe: Duration = .seconds(300)
    private static let silenceProbe: Duration = .seconds(2)

    /// Why the gate is closed.
    public struct Hold: Sendable, Hashable {
        public let kind: HoldKind
        public let reason: Reason
        /// State words of the answer, safe to log; nil when a send told us.
        public let detail: String?
    }

    /// The hold, while there is one.
    public private(set) var hold: Hold?
    private var openSince: ContinuousClock.Instant?
    private var askedAt: ContinuousClock.Instant?
    private var nextQuestion: ContinuousClock.Instant?
    private var probes = 0

    public init() {}

    /// Whether a send may begin at `now`.
    public func isOpen(at now: ContinuousClock.Instant) -> Bool {
        guard hold == nil, let openSince else { return false }
        return openSince + Self.freshness > now
    }

    /// The word that is stored and shown: `open`, `held_transient`, `held_human` or `unknown`.
    public func word(at now: ContinuousClock.Instant) -> String {
        if let hold { return hold.kind == .human ? "held_human" : "held_transient" }
        return isOpen(at: now) ? "open" : "unknown"
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

    /// The answer came at `now`. `jitter` is 0…1.
    public mutating func answered(_ verdict: HealthVerdict, at now: ContinuousClock.Instant, jitter: Double) {
        let asked = askedAt ?? now
        askedAt = nil
        switch verdict {
        case .open:
            hold = nil
            probes = 0
            openSince = asked
            nextQuestion = asked + Self.renewal
        case .held(let kind, let reason, let detail):
            close(Hold(kind: kind, reason: reason, detail: detail), at: now, jitter: jitter)
        case .keepLast(let reason):
            // 429, 5xx and time-outs extend nothing: the last OPEN answer counts until it is 30 s old.
            if hold != nil || !isOpen(at: now) {
                close(
                    Hold(kind: hold?.kind ?? .transient, reason: hold?.reason ?? reason, detail: hold?.detail),
                    at: now,
                    jitter: jitter
                )
            } else {
                nextQuestion = now + Self.silenceProbe
            }
        }
    }

    /// A send failed otherwise than by the message's fault: the cached answer is worth nothing.
    public mutating func sendFailed(at now: ContinuousClock.Instant) {
        openSince = nil
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
        close(Hold(kind: kind, reason: reason, detail: detail), at: now, jitter: jitter)
    }

    /// The line's settings changed (a new token, another address): what was learned is worth nothing.
    public mutating func forget() {
        let asked = askedAt
        self = Gate()
        askedAt = asked
    }

    private mutating func close(_ hold: Hold, at now: ContinuousClock.Instant, jitter: Double) {
        self.hold = hold
        openSince = nil
        let wait = min(Self.longestProbe, Self.shortestProbe * (1 << min(probes, 6)))
        probes += 1
        nextQuestion = now + wait * (0.8 + 0.4 * min(max(jitter, 0), 1))
    }
}
