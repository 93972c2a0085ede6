/// Whether a worker counts as one that has the broker, for the division of shards. No I/O, no clock.
///
/// A short break changes nothing; after a long one a connection must last before it counts (design D2: a worker without a
/// broker connection for 10 s gives its shards to those that have had one for 10 s).
package struct BrokerHealth: Sendable, Hashable {
    /// How long a break may last, and how long a connection must after a longer one.
    package static let patience: Duration = .seconds(10)

    private var connectedSince: ContinuousClock.Instant?
    private var lostSince: ContinuousClock.Instant?
    private var mustProve = false

    package init() {}

    /// The worker begins to connect: it counts for as long as a break may last.
    package mutating func started(at now: ContinuousClock.Instant) { lostSince = now }

    /// The connection stands.
    package mutating func connected(at now: ContinuousClock.Instant) {
        mustProve = !isGood(at: now)
        connectedSince = now
        lostSince = nil
    }

    /// The connection is gone. A break begins when the broker was last known to answer: `silentSince`, when it was asked
    /// since then, is when.
    package mutating func lost(at now: ContinuousClock.Instant, silentSince: ContinuousClock.Instant? = nil) {
        // One that had not proven itself yet does not begin a new break.
        lostSince = isGood(at: now) ? min(silentSince ?? now, now) : now - Self.patience
        connectedSince = nil
    }

    /// Whether the worker counts.
    package func isGood(at now: ContinuousClock.Instant) -> Bool {
        if let connectedSince { return !mustProve || now - connectedSince >= Self.patience }
        if let lostSince { return now - lostSince < Self.patience }
        return false
    }
}
