package import TrunklineCore

/// The conservation proof: ledger, jobs, finished rows, tallies of dropped days and attempts are written at different
/// steps, so that what one of them lost, doubled or changed, the others show. All of it is read in one snapshot; nothing is
/// written or locked.
package struct CheckReport: Sendable, Hashable {
    /// What does not add up.
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        /// A key was accepted, and its job is nowhere: neither unfinished nor finished nor in the tally of a dropped day.
        case lost
        /// A job stands twice: unfinished and finished, finished twice, or one key with two jobs.
        case doubled
        /// Ledger and row tell different stories of one job: its end, lane, key or content.
        case flipped
        /// A row or an attempt whose job no ledger entry knows.
        case orphan
        /// Attempts are missing, doubled, or more than the row says.
        case attempts
        /// A row that no step can have written.
        case impossible
        /// The tally of a dropped day counts more than the ledger remembers.
        case tally
    }

    /// One fault.
    package struct Finding: Sendable, Hashable {
        package let kind: Kind
        /// Nil when the fault is one of numbers only.
        package let job: JobID?
        /// Nil when unknown.
        package let lane: LaneLabel?
        /// One phrase, without customers' data.
        package let detail: String
    }

    /// How the counts of one lane stand: `ledger` is what was accepted and must be the sum of the others.
    package struct Lane: Sendable, Hashable {
        package let lane: LaneLabel
        package let ledger: Int64
        /// Unfinished jobs by state.
        package let unfinished: [String: Int64]
        /// Finished rows by state.
        package let finished: [String: Int64]
        /// Finished jobs of dropped days.
        package let tallied: Int64
        /// Rows in `attempts`.
        package let attempts: Int64

        package var unfinishedCount: Int64 { unfinished.values.reduce(0, +) }
        package var finishedCount: Int64 { finished.values.reduce(0, +) }
        package var addsUp: Bool { ledger == unfinishedCount + finishedCount + tallied }
    }

    /// The snapshot's time, by the database's clock.
    package let readAt: Timestamp
    package let lanes: [Lane]
    /// At most `Check.listed` per question asked; `counts` has them all.
    package let findings: [Finding]
    /// How many findings there are of each kind.
    package let counts: [Kind: Int64]

    package var addsUp: Bool { counts.isEmpty && lanes.allSatisfy(\.addsUp) }
}
