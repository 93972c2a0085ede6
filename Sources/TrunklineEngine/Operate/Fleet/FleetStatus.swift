package import TrunklineCore

/// An origin (scheme, host and port of the API) to which nothing is sent, because too many of its lines got no answer.
package struct OpenBreaker: Sendable, Hashable {
    package let origin: String
    package let since: Timestamp
    package let reason: String
    /// When it is asked next, or when the question that is under way is given up.
    package let nextProbeAt: Timestamp?
    package let isBeingAsked: Bool
}

/// What an install is doing: its lines, destinations and sources, its workers, its sums. Read in one snapshot.
package struct FleetStatus: Sendable, Hashable {
    /// A line or a destination and its backlog.
    package struct Lane: Sendable, Hashable {
        package let label: LaneLabel
        /// Without the noun.
        package var id: String { label.name?.id ?? label.stored }
        package let workspace: String
        /// The operator's hold, if it counts now.
        package let holdReason: String?
        package let heldSince: Timestamp?
        package let heldUntil: Timestamp?
        /// The automatic gate as its owner last wrote it.
        package let gate: String
        package let gateReason: String?
        package let gateSince: Timestamp?
        /// How long it has been held, while it is.
        package let heldFor: Duration?
        /// When a held one is asked next.
        package let nextProbeAt: Timestamp?
        /// When it began to go on after a hold, while it ramps.
        package let rampBegan: Timestamp?
        /// The origin of its address, when nothing is sent to it.
        package let brokenOrigin: String?
        package let pace: Pace
        package let dailyCap: DailyCap
        package let timeZone: String
        /// Sends that count against the cap today.
        package let capUsed: Int
        /// No send before this, because the API asked to slow down.
        package let pausedUntil: Timestamp?
        package let shard: Int
        /// Whether a worker with a fresh heartbeat owns the line's shard.
        package let isOwned: Bool
        /// Unfinished jobs by state.
        package let backlog: [String: Int64]
        /// Of those: scheduled for a time that has not come.
        package let scheduled: Int64
        /// Of those: waiting for their next try.
        package let retrying: Int64
        /// Messages sent since midnight UTC.
        package let sentToday: Int64
        /// How long the oldest job has waited that could go; nil without one.
        package let oldestWaiting: Duration?

        /// Whether its gate lets nothing through.
        package var isClosed: Bool { Self.isClosed(gate) }
        static func isClosed(_ gate: String) -> Bool { Gate.Word(rawValue: gate)?.isHold ?? false }

        /// Whether it has sent what it may today.
        package var isCapped: Bool {
            if case .sends(let number) = dailyCap { capUsed >= number } else { false }
        }
        package var unfinished: Int64 { backlog.values.reduce(0, +) }
    }

    /// A worker process.
    package struct Worker: Sendable, Hashable {
        package let boot: String
        package let host: String
        package let pid: Int32
        package let version: String
        package let startedAt: Timestamp
        /// Since its last heartbeat, by the database's clock.
        package let heartbeatAge: Duration
        package let shards: Int64
        package let isBrokerConnected: Bool
        package let isStopping: Bool
        /// Whether its heartbeat is fresh: others take its shards over after 7 s.
        package var isAlive: Bool { heartbeatAge < .seconds(7) }
    }

    package let readAt: Timestamp
    /// Lines first.
    package let lanes: [Lane]
    package var lines: [Lane] { lanes.filter { $0.label.line != nil } }
    /// What is neither a line nor a source.
    package var destinations: [Lane] { lanes.filter { $0.label.line == nil && $0.label.source == nil } }
    package var sources: [Lane] { lanes.filter { $0.label.source != nil } }
    package let workers: [Worker]
    package let shards: Int
    /// Shards that no live worker owns.
    package let shardsWithoutOwner: Int
    /// Refusals of the last 24 hours, each counted once.
    package let refusalsToday: Int64
    package let breakers: [OpenBreaker]

    /// Unfinished jobs of all lanes by state.
    package var backlog: [String: Int64] {
        lanes.reduce(into: [:]) { sum, line in sum.merge(line.backlog) { $0 + $1 } }
    }
    /// Notices and deliveries.
    package var sentToday: Int64 { (lines + destinations).reduce(0) { $0 + $1.sentToday } }
    /// Received events that were run.
    package var eventsToday: Int64 { sources.reduce(0) { $0 + $1.sentToday } }
}
