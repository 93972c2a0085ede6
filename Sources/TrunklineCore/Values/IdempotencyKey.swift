/// The key that names the business fact, for example `order:acme.1042:ready`. One key, one message, for ever.
public struct IdempotencyKey: Sendable, Hashable, CustomStringConvertible {
    public let value: String

    /// `[A-Za-z0-9._:-]{1,128}`; anything else is a refusal of kind `invalid` on the field `key`. A key is never
    /// shortened or cleaned: two facts would become one.
    public init(_ value: String) throws(Refusal) {
        try Rule.identifier(value, field: "key", longest: 128, colon: true)
        self.value = value
    }

    /// The first 16 bytes of SHA-256 of the key's UTF-8: how the ledger stores it.
    public var digest: [UInt8] { Array(Digest.sha256(value.utf8).prefix(16)) }
    public var description: String { value }
}
