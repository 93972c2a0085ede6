package import TrunklineCore

/// A source as the database has it: the lane of what a client's system sends.
@dynamicMemberLookup
package struct SourceRecord: Sendable, Hashable {
    package let id: SourceID
    package let record: LaneRecord
    /// What its operator said, by the names of its kind.
    package let settings: [String: String]
    /// Whose people write national phone numbers so, where an event names no country.
    package let country: String?
    /// Which line its notices usually go out on, for people: rules name their own.
    package let line: LineID?
    /// How many tokens its intake takes: two while its sender changes from one to the other, none when it was removed.
    package let tokens: Int

    package subscript<Value>(dynamicMember path: KeyPath<LaneRecord, Value>) -> Value { record[keyPath: path] }

    package var kind: String { record.carrier }
    /// Whether the operator's hold counts at `now`.
    package func isHeld(at now: Timestamp) -> Bool { record.isHeld(at: now) }
}

/// What a source is made with.
package struct NewSource: Sendable {
    package let workspace: WorkspaceID
    package let source: any Source
    package let secret: LaneSecret
    package let settings: [String: String]
    package let country: String?
    package let line: LineID?

    package init(
        workspace: WorkspaceID,
        source: any Source,
        secret: LaneSecret,
        settings: [String: String] = [:],
        country: String? = nil,
        line: LineID? = nil
    ) {
        self.workspace = workspace
        self.source = source
        self.secret = secret
        self.settings = settings
        self.country = country
        self.line = line
    }
}

/// What changes of a source; nil: nothing.
package struct SourceChanges: Sendable {
    package var secret: LaneSecret?
    /// By name; nil takes a setting away.
    package var settings: [String: String?]
    /// An empty text takes it away.
    package var country: String?
    package var line: LineID?

    package init(
        secret: LaneSecret? = nil,
        settings: [String: String?] = [:],
        country: String? = nil,
        line: LineID? = nil
    ) {
        self.secret = secret
        self.settings = settings
        self.country = country
        self.line = line
    }

    package var isEmpty: Bool { secret == nil && settings.isEmpty && country == nil && line == nil }
}

/// Why a source cannot be made, changed or rotated.
package enum SourceError: ExplainedError, Hashable {
    case tokenTaken
    case alreadyRotating(SourceID, what: String)
    case notRotating(SourceID)
    case secretElsewhere(SourceID, reference: String)
    case lineOfAnotherWorkspace(LineID)
    case notACountry

    package var isRefusal: Bool { true }

    package var description: String {
        switch self {
        case .tokenTaken: "that token is in use already; leave it out, and a new one is made"
        case .alreadyRotating(let id, let what):
            "the source \(id) has two \(what)s already: 'trunkline source rotate \(id) --finish' drops the older ones"
        case .notRotating(let id): "the source \(id) has one token and one secret: there is nothing to finish"
        case .secretElsewhere(let id, let reference):
            "the secret of source \(id) is read from \(reference): put both there, a line each, the new one first"
        case .lineOfAnotherWorkspace(let line): "the line \(line) is not one of the source's workspace"
        case .notACountry: "a country is two capital letters (ISO 3166), such as ES"
        }
    }
}
