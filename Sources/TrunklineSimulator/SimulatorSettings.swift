/// How the simulated API answers where EZWhatsApp's documentation is silent, so that no test rests on a guess.
///
/// Each can be set at the start and changed while running (`PUT /__sim/settings`); the name in JSON is the property's.
package struct SimulatorSettings: Sendable, Hashable {
    /// What a line that is not sendable answers to a send.
    package enum Profile: String, Sendable, CaseIterable {
        /// 202: queued all the same.
        case queue = "A"
        /// 409 `line_not_sendable`.
        case conflict = "B"
        /// 503 `line_not_sendable`.
        case unavailable = "C"
    }

    /// The body of a 202.
    package enum AcceptedBody: String, Sendable, CaseIterable {
        /// `{"status":"queued","attemptId":"att_…","lineId":"…"}`
        case status
        /// `{"id":"att_…"}`
        case id
        /// `{"message":{"id":"att_…","status":"queued"}}`
        case message
        /// `{}`
        case object
        /// No byte.
        case empty
        /// A page of HTML.
        case html
        /// 70 KiB of JSON, the id at its end.
        case large
    }

    /// How long an idempotency key is remembered.
    package enum KeyMemory: Sendable, Hashable {
        case forever
        /// Not at all: every accepted request becomes a message.
        case off
        case seconds(Double)
    }

    /// Within what a key is unique.
    package enum KeyScope: String, Sendable, CaseIterable {
        case workspace
        case line
    }

    /// What a call gets whose key is in flight: another call with it has not ended, or was accepted a moment ago.
    package enum InFlight: String, Sendable, CaseIterable {
        /// A replay, as later: the key is remembered at once.
        case replay
        /// 409 `idempotency_in_progress`.
        case conflict
        /// Nothing is remembered yet: it becomes another message.
        case message
    }

    /// Default A.
    package var profile: Profile = .queue
    /// Default `status`.
    package var acceptedBody: AcceptedBody = .status
    /// The status of a replay (same key, same bytes): one of ``replayStatuses``; default 202.
    package var replayStatus = 202
    /// The body of a replay of the 200s; nil: as ``acceptedBody``. A 204 has none, and a 409 is an error `duplicate`.
    package var replayBody: AcceptedBody?
    /// Default `replay`.
    package var inFlight: InFlight = .replay
    /// A key counts as in flight for so long after its message was accepted, whatever became of the call; default 0: only as
    /// long as the call is in the air.
    package var inFlightMilliseconds = 0
    /// `"forever"`, `"off"` or seconds as a number; default forever.
    package var keyMemory: KeyMemory = .forever
    /// Default `workspace`.
    package var keyScope: KeyScope = .workspace
    /// Whether `POST /messages/media` works; else it answers 501. Default false.
    package var mediaEnabled = false
    /// Whether any token `ezw_line_X` opens a line X that comes into being with its first request. Default false.
    package var openTokens = false
    /// Whether a body must be announced as `application/json`, else 415. Default true.
    package var requireContentType = true
    /// Whether webhooks may be registered for loopback and private addresses (the real service refuses). Default false.
    package var allowPrivateWebhooks = false
    /// What is unusual about the webhooks that follow an accepted send.
    package var webhooks = WebhookSwitches()

    /// What the contract leaves open.
    package static let replayStatuses = [200, 201, 202, 204, 208, 409]

    package init() {}

    /// Changes one setting from a command-line word.
    ///
    /// - Throws: `SimulatorError` (`refused`) that names what is known.
    package mutating func set(_ name: String, to value: String) throws(SimulatorError) {
        let json = (try? JSON.parse(value.utf8)) ?? .string(value)
        do {
            try apply(.object([JSON.Member(name: name, value: json)]))
        } catch {
            throw SimulatorError(.refused, error.message)
        }
    }
}

extension SimulatorSettings {
    /// Takes over the members of a request; all of them or, on an error, none.
    mutating func apply(_ json: JSON) throws(ControlRefusal) {
        var fields = try ControlFields(json, what: "setting")
        var new = self
        if let word = try fields.string("profile") { new.profile = try Self.choice(word, "profile") }
        if let word = try fields.string("acceptedBody") { new.acceptedBody = try Self.choice(word, "acceptedBody") }
        if let word = try fields.string("keyScope") { new.keyScope = try Self.choice(word, "keyScope") }
        if let status = try fields.integer("replayStatus", in: 200...599) {
            guard Self.replayStatuses.contains(status) else {
                let known = Self.replayStatuses.map(String.init).joined(separator: ", ")
                throw .invalid("setting: 'replayStatus' is one of \(known)")
            }
            new.replayStatus = status
        }
        if let word = try fields.string("replayBody") {
            new.replayBody = word == "same" ? nil : try Self.choice(word, "replayBody", or: "same")
        }
        if let word = try fields.string("inFlight") { new.inFlight = try Self.choice(word, "inFlight") }
        if let milliseconds = try fields.integer("inFlightMs", in: 0...3_600_000) {
            new.inFlightMilliseconds = milliseconds
        }
        if let memory = fields.value("keyMemory") {
            switch memory {
            case .string("forever"): new.keyMemory = .forever
            case .string("off"): new.keyMemory = .off
            case .integer(let seconds) where seconds > 0: new.keyMemory = .seconds(Double(seconds))
            case .double(let seconds) where seconds > 0: new.keyMemory = .seconds(seconds)
            default: throw .invalid("setting: 'keyMemory' is \"forever\", \"off\" or a number of seconds above 0")
            }
        }
        if let value = try fields.bool("mediaEnabled") { new.mediaEnabled = value }
        if let value = try fields.bool("openTokens") { new.openTokens = value }
        if let value = try fields.bool("requireContentType") { new.requireContentType = value }
        if let value = try fields.bool("allowPrivateWebhooks") { new.allowPrivateWebhooks = value }
        if let value = fields.value("webhooks") { try new.webhooks.apply(value) }
        try fields.refuseOthers()
        self = new
    }

    private static func choice<Choice: CaseIterable & RawRepresentable<String>>(
        _ word: String,
        _ what: String,
        or other: String? = nil
    ) throws(ControlRefusal) -> Choice {
        guard let choice = Choice(rawValue: word) else {
            throw .unknown(what, word, known: Choice.allCases.map(\.rawValue) + (other.map { [$0] } ?? []))
        }
        return choice
    }

    func write(to writer: inout JSONWriter) {
        writer.member("profile", profile.rawValue)
        writer.member("acceptedBody", acceptedBody.rawValue)
        writer.member("replayStatus", replayStatus)
        writer.member("replayBody", replayBody?.rawValue ?? "same")
        writer.member("inFlight", inFlight.rawValue)
        writer.member("inFlightMs", inFlightMilliseconds)
        switch keyMemory {
        case .forever: writer.member("keyMemory", "forever")
        case .off: writer.member("keyMemory", "off")
        case .seconds(let seconds): writer.member("keyMemory", JSON.double(seconds))
        }
        writer.member("keyScope", keyScope.rawValue)
        writer.member("mediaEnabled", mediaEnabled)
        writer.member("openTokens", openTokens)
        writer.member("requireContentType", requireContentType)
        writer.member("allowPrivateWebhooks", allowPrivateWebhooks)
        writer.object("webhooks") { webhooks.write(to: &$0) }
    }
}

/// What can be unusual about the webhooks that follow an accepted send; everything is off by default.
package struct WebhookSwitches: Sendable, Hashable {
    /// One oddity.
    package enum Switch: String, Sendable, CaseIterable {
        /// The statuses come in the order read, delivered, sent.
        case outOfOrder
        /// The first status comes before the message that it is about.
        case statusBeforeMessage
        /// Each delivery is posted twice with the same delivery id.
        case duplicateDeliveryId
        /// Each event is posted a second time under a new delivery id.
        case newDeliveryId
        /// `X-EZW-Delivery-Id` is left out.
        case missingHeader
        /// `X-EZW-Line-Id` names another line.
        case wrongLineId
        /// No `delivered` status comes.
        case lostStatus
        /// The message fails: `sent`, then `failed`.
        case failed
        /// A status word nobody has seen comes before `read`.
        case unknownStatusWord
        /// No `conversationId` anywhere.
        case noConversationId
        /// The chat is a group.
        case groupChat
        /// All three statuses come in one body.
        case severalItems
    }

    /// The switches that are on.
    package var on: Set<Switch> = []

    package init() {}

    mutating func apply(_ json: JSON) throws(ControlRefusal) {
        var fields = try ControlFields(json, what: "webhooks")
        var new = on
        for name in Switch.allCases {
            guard let value = try fields.bool(name.rawValue) else { continue }
            if value { new.insert(name) } else { new.remove(name) }
        }
        try fields.refuseOthers()
        on = new
    }

    func write(to writer: inout JSONWriter) {
        for name in Switch.allCases { writer.member(name.rawValue, on.contains(name)) }
    }
}
