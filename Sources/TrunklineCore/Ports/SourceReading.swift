/// What an event says, as far as notices are concerned.
package enum SourceReading: Sendable, Hashable {
    /// What happened; at least one.
    case facts([SourceFact])
    /// The event only says that something changed: this is to be read from the sender before there are facts.
    case fetch(RecordToFetch)
    /// It means nothing to us.
    case ignored(IgnoredEvent)
    /// It asks for what is not done, in writing (design D12).
    case refused(PolicyAsk)
}

/// Why an event is stored and nothing follows from it. The raw value is the stored word.
package enum IgnoredEvent: String, Sendable, Hashable, CaseIterable {
    case unknownTopic = "unknown_topic"
    case nothingNew = "nothing_new"
    case test
    case draft
    case covered
    case lifecycle
    case privacy
    case bulk
    case ownChange = "own_change"
    case bot
    case noConsent = "no_consent"
    case rescheduled
    case sync

    /// One sentence for people.
    package var sentence: String {
        switch self {
        case .unknownTopic: "no notice is made of events of this topic"
        case .nothingNew: "it tells nothing that a customer is told about"
        case .test: "it is a test of the sender, and real people get no notices of tests"
        case .draft: "the record is a draft that its customer has not completed"
        case .covered: "another event of the same sender says the same with more detail"
        case .lifecycle: "it is about the sender's own account or connection"
        case .privacy: "it is a request about personal data, for a person to handle"
        case .bulk: "it comes of an import or a bulk edit, which tells nobody anything"
        case .ownChange: "it is the echo of a change that was made from here"
        case .bot: "the form's trap for robots was filled in"
        case .noConsent: "the box that allows a message was not ticked"
        case .rescheduled: "it is one half of a move, and the other half tells it"
        case .sync: "it is the first message of a channel, which tells of no change"
        }
    }
}

/// Kinds of asking that are refused in writing, for ever, and counted: one row in `policy_decisions` for each kind.
package enum PolicyAsk: String, Sendable, Hashable, CaseIterable {
    case group
    case channel
    case broadcast
    case campaign
    case coldOutbound = "cold_outbound"
    case bot
    case waba

    /// One sentence for people.
    package var sentence: String {
        switch self {
        case .group: "the recipient is a group: only single phone numbers get notices"
        case .channel: "the recipient is a channel: only single phone numbers get notices"
        case .broadcast: "the recipient is a broadcast list: only single phone numbers get notices"
        case .campaign: "campaigns are not sent: Trunkline sends transactional notices only"
        case .coldOutbound: "people who asked for nothing are not written to"
        case .bot: "nobody is answered by a program: replies belong to the client's team"
        case .waba: "templates and other features of the official API are not used"
        }
    }
}

/// A record that an event only points at.
package struct RecordToFetch: Sendable, Hashable {
    /// The sender's own word: `contact`, `order_of_fulfillment_order`, `lead`.
    package let type: String
    /// The sender's id of it.
    package let id: String
    /// Where it is: a portal, a page, a channel; nil when the source's account is enough.
    package let account: String?
    /// The sender's own word for what happened to it: what the facts will be about.
    package let event: String
    /// The record's version, as far as the event says it: a part of the key of what follows.
    package let version: String?
    /// The sender's own time of the event.
    package let at: Timestamp?

    package init(
        type: String,
        id: String,
        account: String? = nil,
        event: String,
        version: String? = nil,
        at: Timestamp? = nil
    ) {
        self.type = type
        self.id = id
        self.account = account
        self.event = event
        self.version = version
        self.at = at
    }
}

extension RecordToFetch: CustomStringConvertible {
    package var description: String { "\(type) for \(event)" }
}
