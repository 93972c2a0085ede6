internal import TrunklineCore

/// Credentials of a lane as they are stored. ``SealedCredentials`` opens them.
package struct StoredCredentials: Sendable, Hashable {
    /// How many there have been.
    package let generation: Int64
    package let sealed: SealedCredentials
    /// Negative when they have expired.
    package let lastsFor: Duration

    package init(generation: Int64, sealed: SealedCredentials, lastsFor: Duration) {
        self.generation = generation
        self.sealed = sealed
        self.lastsFor = lastsFor
    }
}

package struct RefreshRequest: Sendable, Hashable {
    package let lane: Int32
    /// The one that the next ones will follow; 0: there were none.
    package let generation: Int64
    package let owner: LedgerOwner
    package let lease: Duration

    package init(lane: Int32, generation: Int64, owner: LedgerOwner, lease: Duration) {
        self.lane = lane
        self.generation = generation
        self.owner = owner
        self.lease = lease
    }
}

/// Whether the caller may ask for a lane's next credentials.
package enum RefreshVerdict: LedgerWord {
    case begun
    /// The caller's fence has fallen.
    case lost
    /// Another generation is in force: to be read again.
    case behind
    /// Another worker asks, or died of asking a moment ago.
    case busy
    case unheard(String)

    package static let known: [(word: String, value: RefreshVerdict)] = [
        ("begun", .begun), ("lost", .lost), ("behind", .behind), ("busy", .busy),
    ]
}

/// What asking has brought.
package struct RefreshEnd: Sendable, Hashable {
    package let lane: Int32
    /// The one that was in force when it began.
    package let generation: Int64
    /// Nil: nothing new.
    package let renewed: SealedCredentials?
    package let lastsFor: Duration

    package init(lane: Int32, generation: Int64, renewed: SealedCredentials?, lastsFor: Duration = .zero) {
        self.lane = lane
        self.generation = generation
        self.renewed = renewed
        self.lastsFor = lastsFor
    }
}
