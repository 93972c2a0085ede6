package import TrunklineCore

/// What became of facts about a record.
package struct FactVerdict: Sendable, Hashable {
    package enum Word: LedgerWord {
        /// Something changed.
        case stored
        /// Nothing changed: a newer fact stands against something that was said.
        case older
        /// All of it was known.
        case same
        case unheard(String)

        package static let known: [(word: String, value: Word)] = [
            ("stored", .stored), ("older", .older), ("same", .same),
        ]
    }

    package let word: Word
    /// The fields of which a newer fact is kept, in order.
    package let older: [String]
}

/// A record as it is known: its facts, and since when each is so.
package struct KnownRecord<ID: Sendable & Hashable, Facts: RecordFacts>: Sendable {
    package let workspace: WorkspaceID
    package let id: ID
    /// `factAt` is the newest of ``times``.
    package let facts: Facts
    /// When each field's fact was so, by the sender's clock.
    package let times: [String: Timestamp]
    /// When the first fact about it was stored.
    package let createdAt: Timestamp
    /// When a fact last changed.
    package let updatedAt: Timestamp
}

/// A person, under the phone number.
package typealias Contact = KnownRecord<PhoneNumber, ContactFacts>
/// An order.
package typealias Order = KnownRecord<OrderID, OrderFacts>
