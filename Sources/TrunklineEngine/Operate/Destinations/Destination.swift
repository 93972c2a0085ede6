package import TrunklineCore

/// A destination as the database has it: a lane to a client's system.
@dynamicMemberLookup
package struct Destination: Sendable, Hashable {
    package let id: DestinationID
    package let record: LaneRecord

    init(_ id: DestinationID, _ record: LaneRecord) {
        self.id = id
        self.record = record
    }

    package subscript<Value>(dynamicMember path: KeyPath<LaneRecord, Value>) -> Value { record[keyPath: path] }

    /// The kind of its carrier.
    package var kind: String { record.carrier }
    /// Whether the operator's hold counts at `now`.
    package func isHeld(at now: Timestamp) -> Bool { record.isHeld(at: now) }

    /// What of its address people and logs may see: a URL may hold a secret.
    ///
    /// - Parameter carriers: those that this program knows.
    package func shownAddress(_ carriers: [any Carrier]) -> String {
        let carrier = carriers.first { $0.kind.value == kind }
        let address = try? carrier?.address(record.address, mayBePrivate: record.mayBePrivate)
        // Of a kind that is not known here nobody can say where the secret is.
        return address?.shown ?? Origin.of(record.address) + "/…"
    }
}

/// What changes of a destination; nil: nothing.
package struct DestinationChanges: Sendable {
    package var url: String?
    /// Counts only with a URL.
    package var mayBePrivate = false
    package var secret: LaneSecret?
    package var pace: PaceChange
    package var dailyCap: DailyCap?
    package var timeZone: String?

    package init(
        url: String? = nil,
        mayBePrivate: Bool = false,
        secret: LaneSecret? = nil,
        pace: PaceChange = PaceChange(),
        dailyCap: DailyCap? = nil,
        timeZone: String? = nil
    ) {
        self.url = url
        self.mayBePrivate = mayBePrivate
        self.secret = secret
        self.pace = pace
        self.dailyCap = dailyCap
        self.timeZone = timeZone
    }

    package var isEmpty: Bool {
        url == nil && secret == nil && pace == PaceChange() && dailyCap == nil && timeZone == nil
    }
}
