/// When a job is tried again. Values of the contract sheet, section 7, and of the design, D6.
///
/// | after definite refusal number | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 |
/// | --- | --- | --- | --- | --- | --- | --- | --- | --- |
/// | at most | 4 s | 8 s | 16 s | 32 s | 64 s | 128 s | 256 s | parked |
///
/// Full jitter: uniformly between 2 s and the value, so that a thousand jobs that failed together do not come back together.
package enum Retry {
    /// Definite refusals after which a job is parked.
    package static let maximumTries: Int32 = 8
    /// Times that a slow-down answer (429) gives its try back; from then on it counts.
    package static let maximumGivenBack: Int32 = 20

    private static let base: Duration = .seconds(2)
    private static let refusalCap: Duration = .seconds(300)
    private static let unknownCap: Duration = .seconds(1_800)

    /// The longest wait after `tries` definite refusals (1…).
    package static func longestDelay(afterTries tries: Int32) -> Duration {
        capped(doublings: tries, cap: refusalCap)
    }

    /// The wait after `tries` definite refusals (1…): 2 s … ``longestDelay(afterTries:)``.
    package static func delay(afterTries tries: Int32, using random: inout some RandomNumberGenerator) -> Duration {
        jittered(upTo: longestDelay(afterTries: tries), using: &random)
    }

    /// The longest wait after attempt number `attempt` (1…) got no answer.
    package static func longestUnknownDelay(afterAttempt attempt: Int32) -> Duration {
        capped(doublings: attempt, cap: unknownCap)
    }

    /// The wait after attempt number `attempt` (1…) got no answer: 2 s … 30 min.
    package static func unknownDelay(afterAttempt attempt: Int32, using random: inout some RandomNumberGenerator)
        -> Duration
    {
        jittered(upTo: longestUnknownDelay(afterAttempt: attempt), using: &random)
    }

    private static func capped(doublings: Int32, cap: Duration) -> Duration {
        // Capped before it is shifted: 2^31 seconds would be a fine number and a poor wait.
        doublings >= 20 ? cap : min(cap, base * (1 << max(0, Int(doublings))))
    }

    private static func jittered(upTo longest: Duration, using random: inout some RandomNumberGenerator) -> Duration {
        let low = base.wholeMilliseconds
        let high = max(low, longest.wholeMilliseconds)
        return .milliseconds(Int64.random(in: low...high, using: &random))
    }
}

/// How many repeated calls one worker may make to one origin: a fifth of what was answered, and one a second at least; one
/// that is answered costs nothing. A struggling API is not hammered with everything that it failed to answer, and one that
/// is well again gets it quickly. No clock inside.
package struct RetryBudget: Sendable, Hashable {
    // In thousandths of a call.
    private static let capacity: Int64 = 50_000
    private static let perCall: Int64 = 1_000
    private static let perAnswer: Int64 = 200
    private static let perMillisecond: Int64 = 1

    private var left = Self.capacity
    private var filledAt: ContinuousClock.Instant?

    package init() {}

    /// A call was answered; a repeated one gets back what it cost.
    package mutating func answered(wasRepeated: Bool = false) {
        left = min(Self.capacity, left + Self.perAnswer + (wasRepeated ? Self.perCall : 0))
    }

    /// Takes what one repeated call costs. When there is not enough: how long until there is, and nothing is taken.
    package mutating func spend(at now: ContinuousClock.Instant) -> Duration? {
        if let filledAt, now > filledAt {
            left = min(Self.capacity, left + (now - filledAt).wholeMilliseconds * Self.perMillisecond)
        }
        filledAt = now
        guard left >= Self.perCall else {
            return .milliseconds((Self.perCall - left) / Self.perMillisecond)
        }
        left -= Self.perCall
        return nil
    }
}

extension Duration {
    /// Whole milliseconds, rounded towards zero.
    package var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }
}
