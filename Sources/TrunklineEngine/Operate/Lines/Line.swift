internal import PostgresDriver
package import TrunklineCore

/// A line as the database has it. Holds no secret: of the token only what may be shown.
package struct Line: Sendable, Hashable {
    /// Where the token is.
    package enum TokenPlace: Sendable, Hashable {
        /// In the database, sealed under a master key of this version.
        case sealed(keyVersion: Int32)
        /// Outside, read by the worker: the text of a ``SecretReference``, as the row has it.
        case reference(String)
    }

    /// What a person said about a line.
    package struct Hold: Sendable, Hashable {
        package let reason: String
        package let since: Timestamp
        /// Nil: until somebody resumes it.
        package let until: Timestamp?
    }

    package let id: LineID
    package let workspace: WorkspaceID
    package let baseURL: String
    package let tokenPlace: TokenPlace
    /// `…abcd`, or empty when the token was not at hand.
    package let tokenHint: String
    package let pace: Pace
    package let dailyCap: DailyCap
    /// Whose midnight ends a day of the cap: a name of the database's `pg_timezone_names`.
    package let timeZone: String
    /// Sends that count against the cap today.
    package let capUsed: Int
    /// The operator's hold, also one whose time is over; see ``isHeld(at:)``.
    package let hold: Hold?
    /// The automatic gate as its owner last wrote it, and why.
    package let gate: String
    package let gateReason: String?
    package let gateSince: Timestamp
    /// When a held line is asked next.
    package let nextProbeAt: Timestamp?
    package let createdAt: Timestamp
    package let removedAt: Timestamp?
    /// The number of the line's lane, which its jobs name.
    package let lane: Int32
    /// Unfinished jobs by state.
    package let unfinished: [String: Int64]
    /// The database's clock when this was read.
    package let readAt: Timestamp

    /// Whether the operator's hold counts at `now`.
    package func isHeld(at now: Timestamp) -> Bool {
        guard let hold else { return false }
        return hold.until.map { $0 > now } ?? true
    }
}

/// How many sends a line may have in a day.
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
