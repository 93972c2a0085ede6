/// What a run is asked for.
public struct ChaosOptions: Sendable {
    /// Whether the simulated API remembers keys.
    public enum KeyMemory: String, Sendable, CaseIterable {
        case on
        case off
        /// On in the first half of the load, off in the second.
        case both
    }

    /// Distinct keys.
    public var jobs = 100_000
    /// How long jobs are given and faults happen; nil: as `jobs` needs.
    public var minutes: Double?
    public var seed: UInt64 = 1
    public var lines = 40
    public var workers = 4
    public var keyMemory = KeyMemory.both
    /// How much of the calls the API fails.
    public var apiFaults = 0.05
    /// Whether there are proxies between the parts. Without them nothing can be harmed on the wire, and nothing is slowed.
    public var hasProxies = true
    /// The drain may take that long before what is unfinished counts as lost.
    public var drainMinutes = 8.0
    /// What was built and is judged, as whoever built it says.
    public var subject = ChaosReport.Subject()
    /// Everything that the run leaves is in here.
    public var folder: String
    /// The script `dev`, which starts the servers.
    public var dev: String
    /// The built program.
    public var program: String

    public init(folder: String, dev: String, program: String) {
        self.folder = folder
        self.dev = dev
        self.program = program
    }

    /// Seconds of load and faults.
    var loadSeconds: Double { minutes.map { $0 * 60 } ?? max(45, Double(jobs) / 90) }
}
