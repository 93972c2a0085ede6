/// What follows from an event.
package struct EventPlan: Sendable, Hashable {
    package struct ContactToPut: Sendable, Hashable {
        package let phone: PhoneNumber
        package let facts: ContactFacts

        package init(_ phone: PhoneNumber, _ facts: ContactFacts) {
            self.phone = phone
            self.facts = facts
        }
    }

    package struct OrderToPut: Sendable, Hashable {
        package let id: OrderID
        package let facts: OrderFacts

        package init(_ id: OrderID, _ facts: OrderFacts) {
            self.id = id
            self.facts = facts
        }
    }

    /// What the event says of its record, for the plans of later events.
    package struct RecordToKeep: Sendable, Hashable {
        package let subject: String
        /// An object: of each member the newest is kept.
        package let facts: JSONValue
        package let at: Timestamp
        /// From then on nothing about it is news but that.
        package let ends: Bool

        package init(subject: String, facts: JSONValue, at: Timestamp, ends: Bool) {
            self.subject = subject
            self.facts = facts
            self.at = at
            self.ends = ends
        }
    }

    /// A notice that is to be sent, unless it was planned before.
    package struct Notice: Sendable, Hashable {
        /// Which rule sends it: its path.
        package let rule: String
        /// What it is about, as rules name it.
        package let moment: String
        package let subject: String
        package let job: SendJob
        /// Of a parcel's notice.
        package let trackingNumber: String?
        /// What only one notice of its workspace has; nil: its key says all.
        package let once: String?

        package init(
            rule: String,
            moment: String,
            subject: String,
            job: SendJob,
            trackingNumber: String? = nil,
            once: String? = nil
        ) {
            self.rule = rule
            self.moment = moment
            self.subject = subject
            self.job = job
            self.trackingNumber = trackingNumber
            self.once = once
        }
    }

    /// Notices planned earlier that are not to be sent any more: of this record, of facts that are not newer, with one of these
    /// keys or a key of one of these patterns.
    package struct Cancellation: Sendable, Hashable {
        package let subject: String
        /// Keys, with `*` for any run of characters.
        package let patterns: [String]
        package let keys: [IdempotencyKey]
        /// Which are to be sent all the same.
        package let keeping: [IdempotencyKey]
        package let factAt: Timestamp

        package init(
            subject: String,
            patterns: [String],
            keys: [IdempotencyKey],
            keeping: [IdempotencyKey],
            factAt: Timestamp
        ) {
            self.subject = subject
            self.patterns = patterns
            self.keys = keys
            self.keeping = keeping
            self.factAt = factAt
        }
    }

    /// What people are told of a rule that sends nothing.
    package struct Word: Sendable, Hashable {
        /// The stored word.
        package enum Kind: String, Sendable, Hashable, CaseIterable {
            /// Its notice waits for a person's consent.
            case held
            /// It fired, and its notice cannot be made: somebody must look.
            case failed
            case refused
            case silent
        }

        package let kind: Kind
        /// Its path.
        package let rule: String
        /// A sentence, without customers' data.
        package let words: String

        package init(_ kind: Kind, rule: String, _ words: String) {
            self.kind = kind
            self.rule = rule
            self.words = words
        }
    }

    /// What is refused in writing, once per event.
    package struct Refused: Sendable, Hashable {
        package let ask: PolicyAsk
        /// Nil where no rule was asked.
        package let rule: String?

        package init(_ ask: PolicyAsk, rule: String?) {
            self.ask = ask
            self.rule = rule
        }
    }

    package var contacts: [ContactToPut]
    package var orders: [OrderToPut]
    /// What of it was left out, and why: words for people, without customers' data.
    package var notes: [String]
    package var records: [RecordToKeep] = []
    /// None of them means a notice of this plan.
    package var cancellations: [Cancellation] = []
    package var notices: [Notice] = []
    package var words: [Word] = []
    package var refused: [Refused] = []
    /// The revision of the rules that it was planned by; nil: there were none.
    package var rules: Int64?

    package init(contacts: [ContactToPut] = [], orders: [OrderToPut] = [], notes: [String] = []) {
        self.contacts = contacts
        self.orders = orders
        self.notes = notes
    }

    /// Whether nothing follows but facts about contacts and orders.
    package var isFactsOnly: Bool {
        records.isEmpty && cancellations.isEmpty && notices.isEmpty && words.isEmpty && refused.isEmpty
    }
}

extension EventPlan: CustomStringConvertible, CustomReflectable {
    /// Counts only: safe to log.
    package var description: String { "\(contacts.count) contacts, \(orders.count) orders, \(notices.count) notices" }
    /// Without children, for the same reason.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}
