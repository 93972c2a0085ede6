/// How the calls of one line went lately: what makes it suspect, and what the breaker counts. No I/O, no clock.
///
/// Only calls without a usable answer count (unreachable, time-out, reset, 5xx): they say something about the provider or
/// the network. A clear "not sendable" is the line's own matter.
package struct CallRecord: Sendable, Hashable {
    /// How far back a call counts.
    package static let window: Duration = .seconds(30)
    private static let suspectFailures = 2

    private var failures = 0
    private var lastCall: ContinuousClock.Instant?

    package init() {}

    /// A call got an answer, whatever it said.
    package mutating func answered(at now: ContinuousClock.Instant) {
        failures = 0
        lastCall = now
    }

    /// A call got none, or a 5xx.
    package mutating func failed(at now: ContinuousClock.Instant) {
        failures += 1
        lastCall = now
    }

    /// What was learned is over.
    package mutating func forget() { self = CallRecord() }

    /// Failed twice and more since its last answer: it gets one call at a time.
    package var isSuspect: Bool { failures >= Self.suspectFailures }

    /// Whether it called within the window.
    package func isActive(at now: ContinuousClock.Instant) -> Bool {
        lastCall.map { now - $0 <= Self.window } ?? false
    }

    /// Whether it is suspect by a call within the window.
    package func isFailing(at now: ContinuousClock.Instant) -> Bool { isSuspect && isActive(at: now) }
}

/// How many lines of one worker called one origin lately, and how many of them failed.
package struct CallCounts: Sendable, Hashable {
    package var active: Int
    package var failing: Int
    package init(active: Int = 0, failing: Int = 0) {
        self.active = active
        self.failing = failing
    }

    /// More than a tenth fail, and more than bad luck with a few.
    package var isAlarming: Bool { failing >= 3 && failing * 10 > active }
}

/// One breaker for all lines of an origin (scheme, host and port of the API), in the whole fleet. No I/O, no clock.
///
/// ```
/// closed ── more than a tenth of the active lines fail ──> open ── one probe in the fleet, after 3 s, then every 6 s
///    ^                                                        │
///    └────────────── the probe got an answer; every line goes on by the ramp
/// ```
/// While it is open nothing is sent and nothing else is asked. Its state is a row in the database (`trunkline.breakers`),
/// so that every worker stops and one of them asks.
package enum Breaker {
    private static let shortestProbe: Duration = .seconds(3)
    /// One question for the whole fleet costs nothing, and an API that is there again must be found within seconds.
    private static let longestProbe: Duration = .seconds(6)

    /// Whether the provider or the network is to be suspected, by what every living worker counted.
    ///
    /// One worker whose own network is broken must not stop the others: most of those that call must see it.
    package static func suspects(_ counts: [CallCounts]) -> Bool {
        let calling = counts.filter { $0.active > 0 }
        let alarmed = calling.filter { $0.failing * 10 > $0.active }
        let sum = CallCounts(
            active: calling.reduce(0) { $0 + $1.active },
            failing: calling.reduce(0) { $0 + $1.failing }
        )
        return sum.isAlarming && alarmed.count * 2 > calling.count
    }

    /// From the end of probe number `probes` (0: from the opening) to the next. `jitter` is 0…1.
    package static func wait(afterProbes probes: Int, jitter: Double) -> Duration {
        let wait = min(longestProbe, shortestProbe * (1 << min(max(probes, 0), 6)))
        return wait * (0.8 + 0.4 * min(max(jitter, 0), 1))
    }
}
