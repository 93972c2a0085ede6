/// What holds for every lane of a carrier: numbers and choices, no rules. The horizon and the pace are written into the
/// lane's row when it is made, so that take, claim and settle read them in one place.
package struct LanePolicy: Sendable, Hashable {
    /// What opens the gate.
    package enum Opening: Sendable, Hashable {
        /// Only an OPEN answer to the lane's own health question (contract sheet of EZWhatsApp, section 3).
        case health
        /// It is open until calls fail; then one job at a time is the probe, and its answer opens it again.
        case answers
    }

    package let opening: Opening
    /// How long after its first attempt that may have taken effect a job is tried again; then it is parked for a person.
    package let unknownHorizon: Duration
    /// Definite refusals after which a job is parked.
    package let maximumTries: Int32
    /// From the end of a hold to the full pace; zero: at once.
    package let rampLength: Duration
    /// Of a worker's call slots the percentage that other kinds of carriers cannot take.
    package let reservedSlots: Int
    /// Unless the operator says otherwise.
    package let pace: Pace
    /// Whether exchanges begin with calls that take no effect. Such an attempt stamps nothing before its first call that may,
    /// which costs a commit; so a job of such a lane never begins in the commit that takes it.
    package let beginsQuietly: Bool

    package init(
        opening: Opening,
        unknownHorizon: Duration,
        maximumTries: Int32,
        rampLength: Duration,
        reservedSlots: Int,
        pace: Pace,
        beginsQuietly: Bool = false
    ) {
        precondition((0...100).contains(reservedSlots), "a percentage")
        self.opening = opening
        self.unknownHorizon = unknownHorizon
        self.maximumTries = maximumTries
        self.rampLength = rampLength
        self.reservedSlots = reservedSlots
        self.pace = pace
        self.beginsQuietly = beginsQuietly
    }
}
