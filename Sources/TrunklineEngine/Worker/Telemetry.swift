/// What a worker has counted since its start, for metrics. Numbers that only rise; what there is at the moment is asked of the
/// parts (``Worker/telemetry``).
package struct Telemetry: Sendable, Hashable {
    /// Messages that a take wrote to its end, refused ones apart.
    package internal(set) var taken = 0
    package internal(set) var refused = 0
    /// Attempts that were begun: with the take of their job, or by a claim.
    package internal(set) var claimed = 0
    /// Calls of attempts that went out.
    package internal(set) var called = 0
    /// Outcomes, as they were recorded.
    package internal(set) var sent = 0
    package internal(set) var retried = 0
    package internal(set) var givenBack = 0
    package internal(set) var parked = 0
    package internal(set) var unknown = 0
    /// Outcomes of attempts that somebody else had ended.
    package internal(set) var late = 0
    /// Questions for the health of a lane.
    package internal(set) var questions = 0
    /// Gates that were written down because their word changed.
    package internal(set) var gateChanges = 0
    /// Attempts whose outcome is not recorded yet.
    package internal(set) var callsInTheAir = 0

    package init() {}

    /// An outcome was recorded, and `verdict` became of it.
    mutating func recorded(_ verdict: SettleVerdict, _ outcome: SettleOutcome) {
        switch verdict {
        case .sent: sent += 1
        case .waiting where outcome == .givenBack: givenBack += 1
        case .waiting: retried += 1
        case .parked: parked += 1
        case .unknown: unknown += 1
        case .lateSent, .evidence, .stale: late += 1
        case .cancelled, .repeat, .unheard: break
        }
    }
}
