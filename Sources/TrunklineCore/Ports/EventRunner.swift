/// Reads received events and says what follows from them. The engine knows sources only through this and the ``SourceRegistry``
/// behind it. Values in, values out: no I/O and no clock.
package protocol EventRunner: Sendable {
    /// Whether events of that kind of source can be read here.
    func reads(_ kind: String) -> Bool
    /// What names an event, and what keeps it in order. Only for kinds that are read here.
    func name(_ event: ReceivedEvent, from source: SourceID, kind: String) -> EventName
    /// What an event says, and what must be known to run it. The same event says the same at every call.
    func read(_ event: StoredEvent) -> ReadEvent
    /// What follows from an event, by what was read for it. The same event and the same knowledge give the same.
    ///
    /// - Parameter now: what lies before it is not sent any more, and no fact is of the far future.
    func run(_ event: ReadEvent, knowing known: EventKnowledge, now: Timestamp) -> EventOutcome
}

/// An event that was read, on its way to be run.
package struct ReadEvent: Sendable {
    package let event: StoredEvent
    package let reading: Result<SourceReading, Refusal>
    package var needs: EventNeeds

    package init(_ event: StoredEvent, _ reading: Result<SourceReading, Refusal>, needs: EventNeeds = EventNeeds()) {
        self.event = event
        self.reading = reading
        self.needs = needs
    }
}

extension ReadEvent: CustomStringConvertible, CustomReflectable {
    /// Without what it says: safe to log.
    package var description: String { event.description }
    /// Without children, for the same reason.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
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
    /// It can be read, and what is to be planned of it cannot: a sentence, for a person.
    case unplannable(String)
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
