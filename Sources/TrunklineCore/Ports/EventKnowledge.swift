/// What a runner must know before it can say what follows from an event: ids, of which whoever runs it reads the rest.
package struct EventNeeds: Sendable, Hashable {
    /// Of persons.
    package var phones: Set<PhoneNumber>
    package var orders: Set<OrderID>
    /// Names of records (``SourceFact/subject(from:)``).
    package var subjects: Set<String>

    package init(phones: Set<PhoneNumber> = [], orders: Set<OrderID> = [], subjects: Set<String> = []) {
        self.phones = phones
        self.orders = orders
        self.subjects = subjects
    }
}

extension EventNeeds: CustomStringConvertible, CustomReflectable {
    /// Counts only: safe to log.
    package var description: String { "\(phones.count) persons, \(orders.count) orders, \(subjects.count) records" }
    /// Without children, for the same reason.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// What was read beside an event. There may be more in it than the event asked for.
package struct EventKnowledge: Sendable {
    /// What is kept of a record of which the sender told something before.
    package struct Record: Sendable, Hashable {
        /// As a runner wrote it (``EventPlan/RecordToKeep``), the newer on top of the older.
        package let facts: JSONValue
        /// Of the newest.
        package let factAt: Timestamp
        /// See ``EventPlan/RecordToKeep/ends``.
        package let endedAt: Timestamp?

        package init(facts: JSONValue, factAt: Timestamp, endedAt: Timestamp?) {
            self.facts = facts
            self.factAt = factAt
            self.endedAt = endedAt
        }
    }

    package struct Order: Sendable, Hashable {
        package let facts: OrderFacts
        /// When its state was so.
        package let stateAt: Timestamp?

        package init(facts: OrderFacts, stateAt: Timestamp?) {
            self.facts = facts
            self.stateAt = stateAt
        }
    }

    /// A notice that was planned before.
    package struct Notice: Sendable, Hashable {
        package let key: String
        package let subject: String
        /// The stored word.
        package let moment: String
        package let line: String
        package let recipient: String
        package let supersedeKey: String?
        package let factAt: Timestamp
        package let trackingNumber: String?
        /// Whether it may still be cancelled.
        package let isWaiting: Bool
        /// Whether it was cancelled or replaced, and not sent.
        package let isCancelled: Bool

        package init(
            key: String,
            subject: String,
            moment: String,
            line: String,
            recipient: String,
            supersedeKey: String?,
            factAt: Timestamp,
            trackingNumber: String?,
            isWaiting: Bool,
            isCancelled: Bool = false
        ) {
            self.key = key
            self.subject = subject
            self.moment = moment
            self.line = line
            self.recipient = recipient
            self.supersedeKey = supersedeKey
            self.factAt = factAt
            self.trackingNumber = trackingNumber
            self.isWaiting = isWaiting
            self.isCancelled = isCancelled
        }
    }

    /// A workspace's rules that are in force.
    package struct Rules: Sendable, Hashable {
        package let revision: Int64
        package let text: String

        package init(revision: Int64, text: String) {
            self.revision = revision
            self.text = text
        }
    }

    package var rules: Rules?
    package var contacts: [PhoneNumber: ContactFacts]
    package var orders: [OrderID: Order]
    package var records: [String: Record]
    /// Of the same records, and first touches of the same persons.
    package var notices: [Notice]

    package init(
        rules: Rules? = nil,
        contacts: [PhoneNumber: ContactFacts] = [:],
        orders: [OrderID: Order] = [:],
        records: [String: Record] = [:],
        notices: [Notice] = []
    ) {
        self.rules = rules
        self.contacts = contacts
        self.orders = orders
        self.records = records
        self.notices = notices
    }
}

extension EventKnowledge: CustomStringConvertible, CustomReflectable {
    /// Counts only: safe to log.
    package var description: String { "\(contacts.count) persons, \(records.count) records, \(notices.count) notices" }
    /// Without children, for the same reason.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}
