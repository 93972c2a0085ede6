/// The code that understands one kind of sender: a Shopify shop, a form, a calendar. Values in, values out: no I/O and no clock,
/// so that every rule of a sender can be tested by a table.
///
/// A request is first held against ``handshake(_:_:)`` (an answer that needs no trust), then ``verify(_:_:now:)`` over the raw
/// bytes; only then is anything parsed. What passes is stored as one or several events under their keys, and answered. Facts
/// are read later, from the stored events alone.
package protocol Source: Sendable {
    /// Stored with every source of this kind, and a label of metrics: never renamed.
    var kind: SourceKind { get }
    /// The settings that an operator may give, each with one line of what it is.
    var settings: [SourceSetting] { get }
    /// Whether a caller is told at once, with 422, that its event cannot be read. For senders whose shape is ours; a shop would
    /// take it for our failure, and send again or switch itself off.
    var refusesUnreadable: Bool { get }
    /// What a sender wants to hear when its event is stored, was stored before, or means nothing to us: always the same.
    var accepted: SourceAnswer { get }

    /// Reads what an operator gave, before the secret is sealed and whenever it is used.
    ///
    /// - Parameter secret: one secret, or two on a line each while the sender changes from one to the other; empty where the
    ///   kind can do without.
    /// - Throws: a refusal that names the field and the form; never with a part of the secret in it.
    func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount

    /// The answer to a request that is no event: a challenge, an unsigned ping. Nil for all others.
    ///
    /// Comes before ``verify(_:_:now:)``, which such requests would not pass.
    func handshake(_ request: ReceivedRequest, _ account: SourceAccount) -> SourceAnswer?
    /// Whether the sender is who it says and the bytes are its own. Accepts either secret of a rotation; compares in constant
    /// time.
    ///
    /// - Parameter now: for the replay window of senders that sign a time.
    /// - Throws: a refusal; safe to log.
    func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal)
    /// What of a verified request is stored, in order, at least one: an event for each thing that happened, without anything
    /// that is secret. One that cannot be taken apart is one event.
    func events(in request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) -> [ReceivedEvent]
    /// What names the event within its source; a repeat has the same one. At most ``EventKey/longest`` bytes. Never invented:
    /// where the sender names nothing, it is the digest of the bytes.
    func eventKey(of event: ReceivedEvent) -> EventKey
    /// What the event says.
    ///
    /// - Parameter settings: of ``account(secret:settings:)``.
    /// - Throws: a refusal for bytes that this kind of sender does not send.
    func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading
    /// The answer to a request that ``verify(_:_:now:)`` refused.
    func answer(to refusal: SourceRefusal) -> SourceAnswer
}

extension Source {
    package var settings: [SourceSetting] { [] }
    package var refusesUnreadable: Bool { false }
    package var accepted: SourceAnswer { .ok }
    package func handshake(_ request: ReceivedRequest, _ account: SourceAccount) -> SourceAnswer? { nil }

    package func events(in request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) -> [ReceivedEvent] {
        [ReceivedEvent(request, receivedAt: now)]
    }

    /// Nothing of the request is repeated.
    package func answer(to refusal: SourceRefusal) -> SourceAnswer {
        SourceAnswer(status: refusal.reason == .unnamed ? 400 : 401)
    }

    /// The settings that were given, each known.
    ///
    /// - Throws: a refusal on the field `settings.NAME`.
    package func checked(_ given: [String: String]) throws(Refusal) -> SourceSettings {
        for name in given.keys.sorted() where !settings.contains(where: { $0.name == name }) {
            let known = settings.isEmpty ? "none" : settings.map(\.name).joined(separator: ", ")
            throw .invalid(
                "settings.\(Printable.line(String(name.prefix(64))))",
                "no setting of that name; known: \(known)"
            )
        }
        for (name, value) in given where value.utf8.count > SourceSettings.longestValue {
            throw .invalid("settings.\(name)", "more than \(SourceSettings.longestValue) bytes")
        }
        return SourceSettings(given)
    }
}

/// The kind of a source, as stored: `shopify`, `custom`.
package struct SourceKind: Sendable, Hashable, CustomStringConvertible {
    package let value: String

    /// `[A-Za-z0-9._-]{1,32}`; anything else is a refusal of kind `invalid` on the field `kind`.
    package init(_ value: String) throws(Refusal) {
        try Rule.identifier(value, field: "kind", longest: 32, colon: false)
        self.value = value
    }

    package var description: String { value }
}

extension SourceKind: ExpressibleByStringLiteral {
    /// For the kinds that are written in the program.
    package init(stringLiteral text: String) {
        do {
            try self.init(text)
        } catch {
            preconditionFailure("no kind of a source: \(error)")
        }
    }
}

/// Every kind of source that a program knows. Handed to gateway and engine by whoever wires them.
package struct SourceRegistry: Sendable {
    package let all: [any Source]

    package init(_ all: [any Source]) {
        self.all = all
        precondition(Set(all.map(\.kind)).count == all.count, "each kind of source is there once")
    }

    /// By its stored kind; nil for one that a later program knows.
    package subscript(kind: String) -> (any Source)? { all.first { $0.kind.value == kind } }
}
