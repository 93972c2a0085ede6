/// Input that never becomes a job, said in one clear sentence.
///
/// A refusal is safe to log and to show: it names fields, lengths, byte offsets and rules, never what a customer wrote
/// and never a whole phone number.
public struct Refusal: Error, Sendable, Hashable {
    /// Why the input was refused. The raw value is the word stored in the database and used as a metric's label.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// Not JSON, or not the shape of a message: truncated, twice the same field, trailing bytes.
        case malformed
        /// A field is missing, of the wrong type, or breaks its rule.
        case invalid
        /// A kind of sending that Trunkline does not do (groups, channels, campaigns, bots).
        case policy
        /// The same key with other content.
        case conflict
        /// No line (or source) of that id.
        case unknownLine = "unknown_line"
        /// No destination of that id.
        case unknownDestination = "unknown_destination"
        /// More bytes than the message or the field may have.
        case tooLarge = "too_large"
        /// No schema, one that is not ours, or a version newer than this program reads.
        case unknownSchema = "unknown_schema"
        /// Too late to be worth sending: `sendBefore` has passed.
        case late
        /// Workers died while they read it.
        case poison
    }

    public let kind: Kind
    /// The path of the field at fault (`button.url`), nil when the whole message is.
    public let field: String?
    /// One sentence. Holds no customer's text or number.
    public let reason: String

    public init(kind: Kind, field: String? = nil, reason: String) {
        self.kind = kind
        self.field = field
        self.reason = reason
    }

    static func invalid(_ field: String?, _ reason: String) -> Refusal {
        Refusal(kind: .invalid, field: field, reason: reason)
    }
}

extension Refusal: CustomStringConvertible {
    public var description: String {
        guard let field else { return "\(kind.rawValue): \(reason)" }
        return "\(kind.rawValue) (\(field)): \(reason)"
    }
}
