/// The id of a line: one WhatsApp number. Unique in an install, belongs to one workspace for ever.
public struct LineID: Sendable, Hashable, CustomStringConvertible {
    public let value: String

    /// `[A-Za-z0-9._-]{1,64}`; anything else is a refusal of kind `invalid` on the field `line`.
    public init(_ value: String) throws(Refusal) {
        try Rule.identifier(value, field: "line", longest: 64, colon: false)
        self.value = value
    }

    /// The name of the line's lane, which decides its shard: `line:ID`.
    public var laneName: String { "line:" + value }
    public var description: String { value }
}

/// The id of a source: a system that sends events to Trunkline.
public struct SourceID: Sendable, Hashable, CustomStringConvertible {
    public let value: String

    /// `[A-Za-z0-9._-]{1,64}`; anything else is a refusal of kind `invalid` on the field `source`.
    public init(_ value: String) throws(Refusal) {
        try Rule.identifier(value, field: "source", longest: 64, colon: false)
        self.value = value
    }

    /// The name of the source's lane, which decides its shard: `source:ID`.
    public var laneName: String { "source:" + value }
    public var description: String { value }
}

/// The id of a destination: a system that Trunkline delivers to. Unique in an install, belongs to one workspace for ever.
public struct DestinationID: Sendable, Hashable, CustomStringConvertible {
    public let value: String

    /// `[A-Za-z0-9._-]{1,64}`; anything else is a refusal of kind `invalid` on the field `destination`.
    public init(_ value: String) throws(Refusal) {
        try Rule.identifier(value, field: "destination", longest: 64, colon: false)
        self.value = value
    }

    /// The name of the destination's lane, which decides its shard and in whose scope keys are unique: `destination:ID`.
    public var laneName: String { "destination:" + value }
    public var description: String { value }
}

/// The id of a workspace: a tenant, the scope in which keys of sends are unique.
public struct WorkspaceID: Sendable, Hashable, CustomStringConvertible {
    public let value: String

    /// `[A-Za-z0-9._-]{1,64}`; anything else is a refusal of kind `invalid` on the field `workspace`.
    public init(_ value: String) throws(Refusal) {
        try Rule.identifier(value, field: "workspace", longest: 64, colon: false)
        self.value = value
    }

    public var description: String { value }
}

/// The number of a job in the ledger; positive. Travels as decimal text, because a JSON number above 2^53 does not survive.
public struct JobID: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let value: Int64

    public init(_ value: Int64) { self.value = value }

    /// Reads the decimal form without sign or leading zero; nil for anything else.
    public init?(text: some StringProtocol) {
        guard let value = Int64(text), value > 0, text.utf8.first != 0x30, text.utf8.first != 0x2B else { return nil }
        self.value = value
    }

    public static func < (a: JobID, b: JobID) -> Bool { a.value < b.value }
    /// The decimal form, as it travels in messages.
    public var description: String { String(value) }
}

/// The number of an attempt: rises with every claim of a job, never used again; 0 before the first claim.
public struct AttemptNumber: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let value: Int32

    public init(_ value: Int32) { self.value = value }

    public static func < (a: AttemptNumber, b: AttemptNumber) -> Bool { a.value < b.value }
    public var description: String { String(value) }
}
