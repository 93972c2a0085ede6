/// How fast a line may send.
package struct Pace: Sendable, Hashable {
    /// Between two sends of the line; zero is unlimited.
    package var interval: Duration
    /// Sends in the air at once, 1…256.
    package var concurrency: Int
    /// Between two messages to one person; zero is none.
    package var recipientGap: Duration

    /// One send per 3 s, one at a time, ten seconds between two messages to one person (the contract sheet, section 7).
    package static let standard = Pace(interval: .seconds(3), concurrency: 1, recipientGap: .seconds(10))

    package init(interval: Duration, concurrency: Int, recipientGap: Duration) {
        self.interval = interval
        self.concurrency = concurrency
        self.recipientGap = recipientGap
    }

    package var isUnlimited: Bool { interval == .zero }

    /// The pace while the line ramps or is suspect.
    ///
    /// - Parameters:
    ///   - tenths: 1…10; the interval grows and the concurrency shrinks accordingly, never below one call.
    ///   - onlyOne: one call at a time, whatever the settings.
    package func limited(toTenths tenths: Int, onlyOne: Bool) -> Pace {
        let tenths = min(10, max(1, tenths))
        return Pace(
            interval: interval * 10 / tenths,
            concurrency: onlyOne ? 1 : max(1, concurrency * tenths / 10),
            recipientGap: recipientGap
        )
    }

    /// Parses `unlimited`, `20/min` (that many per unit) or `1/3s` (that many per span). Units: ms, s, min, h.
    ///
    /// - Throws: ``Refusal`` when the text is not a pace, or one slower than a send a day.
    package static func interval(parsing text: String) throws(Refusal) -> Duration {
        if text == "unlimited" { return .zero }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let count = Int64(parts[0]), (1...1_000_000).contains(count),
            let span = milliseconds(parts[1])
        else {
            throw Refusal(kind: .invalid, field: "pace", reason: "a pace is 'unlimited', or like '20/min' or '1/3s'")
        }
        let interval = span / count
        guard (1...86_400_000).contains(interval) else {
            throw Refusal(
                kind: .invalid,
                field: "pace",
                reason: "a pace lies between 1,000 sends a second and one send a day; more is 'unlimited'"
            )
        }
        return .milliseconds(interval)
    }

    /// Parses a span of time such as `10s`, `500ms`, `2min`, `1h`; `0` is none.
    ///
    /// - Throws: ``Refusal`` when the text is not one.
    package static func span(parsing text: String, field: String) throws(Refusal) -> Duration {
        if text == "0" { return .zero }
        guard let value = milliseconds(text[...]), value <= 86_400_000 else {
            throw Refusal(
                kind: .invalid,
                field: field,
                reason: "a span of time is like '10s', '500ms', '2min' or '1h', at most a day"
            )
        }
        return .milliseconds(value)
    }

    private static func milliseconds(_ text: Substring) -> Int64? {
        for (unit, factor) in [("ms", 1), ("min", 60_000), ("m", 60_000), ("s", 1_000), ("h", 3_600_000)]
            as [(String, Int64)]
        where text.hasSuffix(unit) {
            let digits = text.dropLast(unit.count)
            if digits.isEmpty { return factor }
            guard let value = Int64(digits), (0...86_400_000).contains(value) else { return nil }
            return value * factor
        }
        return nil
    }
}

/// The bucket of one line, one token deep: after a send the next waits for the interval. No clock inside.
///
/// It remembers when it sent, not when it may send again, so that a changed pace works at once.
package struct PaceState: Sendable, Hashable {
    private var lastSend: ContinuousClock.Instant?
    private var sendBefore: ContinuousClock.Instant?
    private var pausedUntil: ContinuousClock.Instant?

    package init() {}

    /// No send begins before this; nil: at once.
    package func nextSend(_ pace: Pace) -> ContinuousClock.Instant? {
        let spaced = pace.isUnlimited ? nil : lastSend.map { $0 + pace.interval }
        guard let spaced, let pausedUntil else { return spaced ?? pausedUntil }
        return max(spaced, pausedUntil)
    }

    /// Whether a send may begin at `now`.
    package func allows(at now: ContinuousClock.Instant, _ pace: Pace) -> Bool {
        nextSend(pace).map { $0 <= now } ?? true
    }

    /// A send begins at `now`.
    package mutating func sendBegan(at now: ContinuousClock.Instant) {
        sendBefore = lastSend
        lastSend = now
    }

    /// The bytes of a send leave at `instant`, later than it was counted: the next one waits from here.
    package mutating func sendLeft(at instant: ContinuousClock.Instant) {
        lastSend = max(lastSend ?? instant, instant)
    }

    /// The send that was counted at `instant` did not begin after all. One that another was counted behind stays: what is
    /// forgotten would let a third go at once.
    package mutating func sendTakenBack(begunAt instant: ContinuousClock.Instant) {
        if lastSend == instant { lastSend = sendBefore }
    }

    /// A former owner may send again at `instant` by the pace it had; never later than one interval from `now`.
    package mutating func resume(
        nextSend instant: ContinuousClock.Instant,
        at now: ContinuousClock.Instant,
        _ pace: Pace
    ) {
        lastSend = min(instant, now + pace.interval) - pace.interval
    }

    /// The party asked for quiet until `instant`; never shortens a longer wait.
    package mutating func paused(until instant: ContinuousClock.Instant) {
        pausedUntil = max(pausedUntil ?? instant, instant)
    }
}
