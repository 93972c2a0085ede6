/// The code that performs one kind of outside call: EZWhatsApp, a signed webhook, a CRM. Values in, values out: no I/O and no
/// clock, so that every rule of an outside system can be tested by a table.
///
/// The engine knows carriers only through this port and is handed them in a ``CarrierRegistry``. A new carrier is one folder,
/// one line in the registry and one run of the conformance suite (`docs/adding-an-integration.md`).
package protocol Carrier: Sendable {
    /// Stored with every lane of this carrier, and a label of metrics: never renamed.
    var kind: CarrierKind { get }
    /// What holds for every lane of this carrier unless its operator said otherwise.
    var policy: LanePolicy { get }

    /// Reads the address that an operator gave.
    ///
    /// - Throws: a refusal that names the field, in words for the operator; never with a secret in it.
    func address(_ text: String, mayBePrivate: Bool) throws(Refusal) -> CarrierAddress
    /// Reads a secret that an operator gave, before it is sealed: a token, or several secrets, a line each.
    ///
    /// - Returns: what may be shown of it, `…abcd`.
    /// - Throws: a refusal that names the field and the form; never with a part of the secret in it.
    func secretHint(_ secret: [UInt8]) throws(Refusal) -> String
    /// What calls of a lane are made with.
    ///
    /// - Parameter secret: in the clear, as the operator gave it.
    /// - Throws: a refusal in words for the operator when the stored values cannot be used.
    func account(at address: CarrierAddress, secret: [UInt8]) throws(Refusal) -> any CarrierAccount

    /// The bytes that carry a job, made when it is accepted, stored, and resent unchanged on every try: the form of what was
    /// ever made must stay readable (decision 2).
    ///
    /// - Throws: a refusal when this carrier cannot carry such a job.
    func render(_ work: CarriedWork) throws(Refusal) -> [UInt8]
    /// Reads back what ``render(_:)`` wrote, for the comparison with the ledger; nil for bytes that it cannot have written.
    func content(of request: [UInt8]) -> StoredContent?
}

/// The kind of a carrier, as stored: `ezwhatsapp`, `webhook`.
package struct CarrierKind: Sendable, Hashable, CustomStringConvertible {
    package let value: String

    /// `[A-Za-z0-9._-]{1,32}`; anything else is a refusal of kind `invalid` on the field `kind`.
    package init(_ value: String) throws(Refusal) {
        try Rule.identifier(value, field: "kind", longest: 32, colon: false)
        self.value = value
    }

    package var description: String { value }
}

extension CarrierKind: ExpressibleByStringLiteral {
    /// For the kinds that are written in the program.
    package init(stringLiteral text: String) {
        do {
            try self.init(text)
        } catch {
            preconditionFailure("no kind of a carrier: \(error)")
        }
    }
}

/// Where a lane's calls go.
package struct CarrierAddress: Sendable, Hashable {
    /// As it is stored.
    package let value: String
    /// Scheme, host and port. A secret is bound to it when it is sealed, and goes nowhere else.
    package let origin: String
    /// What people and logs may see: an address may hold a secret in its path.
    package let shown: String
    /// Whether its host may be in a private network. If not, the *connected* address is held against the list of networks
    /// that are not the public internet.
    package let mayBePrivate: Bool

    package init(value: String, origin: String, shown: String, mayBePrivate: Bool) {
        self.value = value
        self.origin = origin
        self.shown = shown
        self.mayBePrivate = mayBePrivate
    }
}

extension CarrierAddress: CustomStringConvertible, CustomReflectable {
    /// What may be seen of it.
    package var description: String { shown }
    /// Without children, so that `dump` shows no secret either.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// A lane's address and secret, ready for calls. Holds the secret: its description must not show it.
package protocol CarrierAccount: Sendable {
    var address: CarrierAddress { get }
    /// Asks whether the lane can send; nil for carriers whose gate answers open and close (``LanePolicy/Opening/answers``).
    /// It takes no effect and may be repeated.
    var healthQuestion: OutsideCall? { get }
    /// What came of ``healthQuestion``.
    func health(_ result: CallResult) -> HealthVerdict
    /// What a person who has just set the lane up would do about what came of a call, in words that name options of the command
    /// line; nil when there is nothing to do.
    func advice(on result: CallResult) -> String?
    /// Asks for credentials that expire: with the last ones, or with the lane's secret when there are none yet. Nil for carriers
    /// whose secret is all they need. The engine makes one such call at a time for a lane, and commits what it brings before
    /// anything uses it.
    func refresh(_ last: LaneCredentials?) -> CredentialRefresh?
    /// Begins an attempt.
    func exchange(_ attempt: CarriedAttempt) -> any Exchange
    /// Whether calls made with `other` are calls made with this: same address, same secret.
    func isSame(as other: any CarrierAccount) -> Bool
}

extension CarrierAccount {
    /// Most need none.
    package func refresh(_ last: LaneCredentials?) -> CredentialRefresh? { nil }
}

/// An attempt, as its exchange sees it.
package struct CarriedAttempt: Sendable {
    package let key: IdempotencyKey
    /// The stored bytes of ``Carrier/render(_:)``.
    package let request: [UInt8]
    /// From 1; rises with every attempt of the job.
    package let number: Int32
    /// Whether an earlier attempt may have taken effect.
    package let isStamped: Bool

    package init(key: IdempotencyKey, request: [UInt8], number: Int32, isStamped: Bool) {
        self.key = key
        self.request = request
        self.number = number
        self.isStamped = isStamped
    }
}

extension CarriedAttempt: CustomStringConvertible, CustomReflectable {
    /// Without what a customer gets to read: safe to log.
    package var description: String { "attempt \(number) of \(key)" }
    /// Without children, for the same reason.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// What a stored request says, for the comparison with the ledger.
package struct StoredContent: Sendable, Hashable {
    /// Whom it is for; nil where the work names nobody.
    package let recipient: String?
    /// As the ledger has it.
    package let digest: [UInt8]

    package init(recipient: String?, digest: [UInt8]) {
        self.recipient = recipient
        self.digest = digest
    }
}

/// Every carrier that a program knows. Handed to the engine by whoever wires it.
package struct CarrierRegistry: Sendable {
    /// What lines are carried by.
    package let line: any Carrier
    /// What destinations can be, by kind.
    package let destinations: [any Carrier]

    package init(line: any Carrier, destinations: [any Carrier]) {
        self.line = line
        self.destinations = destinations
        precondition(Set(all.map(\.kind)).count == all.count, "each kind of carrier is there once")
    }

    package var all: [any Carrier] { [line] + destinations }

    /// By its stored kind; nil for one that a later program knows.
    package subscript(kind: String) -> (any Carrier)? { all.first { $0.kind.value == kind } }
}
