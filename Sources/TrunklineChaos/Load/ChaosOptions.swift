package import TestKit

/// What a run is asked for.
package struct ChaosOptions: Sendable {
    /// Whether the simulated API remembers keys.
    package enum KeyMemory: String, Sendable, CaseIterable {
        case on
        case off
        /// On in the first half of the load, off in the second.
        case both
    }

    /// Distinct keys.
    package var jobs = 100_000
    /// How long jobs are given and faults happen; nil: as `jobs` needs.
    package var minutes: Double?
    package var seed: UInt64 = 1
    package var lines = 40
    /// Receivers of events, as many of all jobs as of all lanes.
    package var destinations = 8
    /// Whether some lanes have a pace.
    var hasPaces = true
    package var workers = 4
    /// Gateways that take a part of the jobs over HTTP.
    package var gateways = 2
    package var keyMemory = KeyMemory.both
    /// How much of the calls the API fails.
    package var apiFaults = 0.05
    /// Whether there are proxies between the parts. Without them nothing can be harmed on the wire, and nothing is slowed.
    package var hasProxies = true
    /// The drain may take that long before what is unfinished counts as lost.
    package var drainMinutes = 8.0
    /// What was built and is judged, as whoever built it says.
    package var subject = ChaosReport.Subject()
    /// Everything that the run leaves is in here.
    package var folder: String
    /// Whose servers they are, and where `producer.py` lies.
    package var checkout: Checkout
    /// The built program.
    package var program: String

    package init(folder: String, checkout: Checkout, program: String) {
        self.folder = folder
        self.checkout = checkout
        self.program = program
    }

    /// Seconds of load and faults.
    var loadSeconds: Double { minutes.map { $0 * 60 } ?? max(45, Double(jobs) / 90) }
}
