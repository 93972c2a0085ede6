internal import PostgresDriver
package import TrunklineCore

/// A lane as the database has it: what is the same for lines and destinations. Holds no secret: of it only what may be
/// shown.
package struct LaneRecord: Sendable, Hashable {
    /// Where the secret is.
    package enum SecretPlace: Sendable, Hashable {
        /// In the database, sealed under a master key of this version.
        case sealed(keyVersion: Int32)
        /// Outside, read by the worker: the text of a ``SecretReference``, as the row has it.
        case reference(String)
    }

    /// What a person said about a lane.
    package struct Hold: Sendable, Hashable {
        package let reason: String
        package let since: Timestamp
        /// Nil: until somebody resumes it.
        package let until: Timestamp?
    }

    package let name: LaneName
    /// The number of the lane, which its jobs have.
    package let number: Int32
    package let workspace: WorkspaceID
    /// The kind of its carrier, which this program may not know.
    package let carrier: String
    /// May hold a secret; what may be shown of it the carrier says.
    package let address: String
    package let mayBePrivate: Bool
    package let secretPlace: SecretPlace
    /// `…abcd`, or empty when the secret was not at hand.
    package let secretHint: String
    package let pace: Pace
    package let dailyCap: DailyCap
    /// Whose midnight ends a day of the cap: a name of the database's `pg_timezone_names`.
    package let timeZone: String
    /// Jobs that count against the cap today.
    package let capUsed: Int
    /// How long after its first attempt that may have taken effect a job is asked about again.
    package let unknownHorizon: Duration
    /// The operator's hold, also one whose time is over; see ``isHeld(at:)``.
    package let hold: Hold?
    /// The automatic gate as its owner last wrote it, and why.
    package let gate: String
    package let gateReason: String?
    package let gateSince: Timestamp
    /// When a held lane is asked next.
    package let nextProbeAt: Timestamp?
    package let createdAt: Timestamp
    package let removedAt: Timestamp?
    /// Unfinished jobs by state.
    package let unfinished: [String: Int64]
    /// The database's clock when this was read.
    package let readAt: Timestamp

    /// Whether the operator's hold counts at `now`.
    package func isHeld(at now: Timestamp) -> Bool {
        guard let hold else { return false }
        return hold.until.map { $0 > now } ?? true
    }

    /// In one or two words: `removed`, `held by hand`, or what the gate is.
    package var state: String {
        if removedAt != nil { return "removed" }
        return isHeld(at: readAt) ? "held by hand" : gate
    }
}

/// How many jobs a lane may carry in a day.
package enum DailyCap: Sendable, Hashable, CustomStringConvertible {
    case unlimited
    case sends(Int)

    /// Reads a number from 1 to 1,000,000, or `none`.
    package init(parsing text: String) throws(Refusal) {
        if text == "none" {
            self = .unlimited
        } else if let number = Int(text), (1...1_000_000).contains(number) {
            self = .sends(number)
        } else {
            throw Refusal(
                kind: .invalid,
                field: "daily-cap",
                reason: "a daily cap is a number of sends from 1 to 1000000, or none"
            )
        }
    }

    package var description: String {
        switch self {
        case .unlimited: "none"
        case .sends(let number): String(number)
        }
    }

    /// Nil when there is none.
    package var number: Int? {
        if case .sends(let number) = self { number } else { nil }
    }

    init(stored number: Int32?) { self = number.map { .sends(Int($0)) } ?? .unlimited }

    var parameter: PostgresParameter {
        switch self {
        case .unlimited: .null
        case .sends(let number): .int4(Int32(clamping: number))
        }
    }
}
