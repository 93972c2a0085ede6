/// Reads received events and says what follows from them. The engine knows sources only through this and the ``SourceRegistry``
/// behind it. Values in, values out: no I/O and no clock.
package protocol EventRunner: Sendable {
    /// Whether events of that kind of source can be read here.
    func reads(_ kind: String) -> Bool
    /// What names an event, and what keeps it in order. Only for kinds that are read here.
    func name(_ event: ReceivedEvent, from source: SourceID, kind: String) -> EventName
    /// What an event says. The same event says the same at every call.
    ///
    /// - Parameter now: of the database; for the rule that no fact is of the far future.
    func run(_ event: StoredEvent, now: Timestamp) -> EventOutcome
}

/// What names an event within its source, and what it must not overtake.
package struct EventName: Sendable, Hashable {
    package let key: EventKey
    /// Events of one source with the same one run in the order in which they came: of the same record, as far as the event
    /// can be read.
    package let orderingName: String

    package init(key: EventKey, orderingName: String) {
        self.key = key
        self.orderingName = orderingName
    }
}

/// A stored event with what its operator said about its source.
package struct StoredEvent: Sendable {
    package let source: SourceID
    package let workspace: WorkspaceID
    package let kind: String
    package let settings: SourceSettings
    /// Whose people write national phone numbers so, where the event names no country: two capital letters.
    package let country: String?
    package let key: String
    package let event: ReceivedEvent

    package init(
        source: SourceID,
        workspace: WorkspaceID,
        kind: String,
        settings: SourceSettings,
        country: String?,
        key: String,
        event: ReceivedEvent
    ) {
        self.source = source
        self.workspace = workspace
        self.kind = kind
        self.settings = settings
        self.country = country
        self.key = key
        self.event = event
    }
}

extension StoredEvent: CustomStringConvertible, CustomReflectable {
    /// Without headers and body: safe to log.
    package var description: String { "event of source \(source)" }
    /// Without children, for the same reason.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// What became of reading an event.
package enum EventOutcome: Sendable, Hashable {
    case planned(EventPlan)
    /// It means nothing here.
    case ignored(IgnoredEvent)
    /// It asks for what is not done.
    case refused(PolicyAsk)
    /// Its bytes are not what its kind of sender sends, or what they say breaks a rule: for a person.
    case unreadable(Refusal)
    /// It only points at a record, which nothing here can fetch: for a person.
    case needsFetch(RecordToFetch)
}

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

    package var contacts: [ContactToPut]
    package var orders: [OrderToPut]
    /// What of it was left out, and why: words for people, without customers' data.
    package var notes: [String]

    package init(contacts: [ContactToPut] = [], orders: [OrderToPut] = [], notes: [String] = []) {
        self.contacts = contacts
        self.orders = orders
        self.notes = notes
    }
}

extension EventPlan: CustomStringConvertible, CustomReflectable {
    /// Counts only: safe to log.
    package var description: String { "\(contacts.count) contacts, \(orders.count) orders" }
    /// Without children, for the same reason.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

extension LanePolicy {
    /// Of every source's lane: its jobs are run here, so that nothing opens or closes its gate, no call slot is taken, and an
    /// attempt of a lost worker is known to have taken no effect beyond what its commit says.
    package static let events = LanePolicy(
        opening: .answers,
        unknownHorizon: .seconds(86_400),
        maximumTries: 8,
        rampLength: .zero,
        reservedSlots: 0,
        pace: Pace(interval: .zero, concurrency: 64, recipientGap: .zero),
        beginsQuietly: true
    )
}
