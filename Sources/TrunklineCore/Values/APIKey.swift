/// The name of an API key: what lists, logs and commands call it. It opens nothing.
package struct APIKeyID: Sendable, Hashable, CustomStringConvertible {
    package let value: String

    /// `[A-Za-z0-9._-]{1,64}`; anything else is a refusal of kind `invalid` on the field `key`.
    package init(_ value: String) throws(Refusal) {
        try Rule.identifier(value, field: "key", longest: 64, colon: false)
        self.value = value
    }

    /// Another one each time: `key_` and 16 hexadecimal digits.
    package init(using random: inout some RandomNumberGenerator) {
        value = "key_" + Digest.hex((0..<8).map { _ in UInt8.random(in: 0...255, using: &random) })
    }

    package var description: String { value }
}

/// What the bearer of an API key may do in its workspace.
package enum APIScope: String, Sendable, Hashable, CaseIterable {
    /// Give notices, deliveries, contacts and orders.
    case send
    /// Look at what became of them.
    case read
    /// Cancel and reschedule.
    case operate
    /// Everything of the workspace.
    case admin

    /// Reads a list such as `send,read`; refused: nothing, an unknown word, a word twice.
    package static func list(parsing text: String) throws(Refusal) -> Set<APIScope> {
        var scopes: Set<APIScope> = []
        for word in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let scope = APIScope(rawValue: String(word)) else {
                let known = allCases.map(\.rawValue).joined(separator: ", ")
                throw .invalid("scope", "a scope is one of \(known), or several with commas between")
            }
            guard scopes.insert(scope).inserted else { throw .invalid("scope", "the scope \(scope) is named twice") }
        }
        return scopes
    }
}

/// What a caller presents: 256 random bits. Only its digest is stored, so a plain hash is enough.
package struct APIKeySecret: Sendable, Hashable {
    private static let prefix = "trk_"
    /// 32 bytes in base64url without padding.
    private static let letters = 43

    /// The whole text, for whoever it is made for, once.
    package let text: String

    package init(using random: inout some RandomNumberGenerator) {
        var encoded: [UInt8] = []
        Base64.encode((0..<32).map { _ in UInt8.random(in: 0...255, using: &random) }, into: &encoded)
        let url = encoded.prefix { $0 != 0x3D }.map { $0 == 0x2B ? 0x2D : $0 == 0x2F ? 0x5F : $0 }
        text = Self.prefix + String(decoding: url, as: UTF8.self)
    }

    /// Nil for a text that no key can have.
    package init?(presented text: some StringProtocol) {
        let rest = text.utf8.dropFirst(Self.prefix.utf8.count)
        let isOurs = rest.allSatisfy {
            (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || $0 == 0x2D || $0 == 0x5F
        }
        guard text.hasPrefix(Self.prefix), rest.count == Self.letters, isOurs else { return nil }
        self.text = String(text)
    }

    /// SHA-256, by which keys are stored and found: who compares digests learns nothing of a key by the time it takes.
    package var digest: [UInt8] { Digest.sha256(text.utf8) }
    /// What may be shown of it.
    package var hint: String { "…" + text.suffix(4) }
}

extension APIKeySecret: CustomStringConvertible, CustomReflectable {
    package var description: String { hint }
    /// Without children, so that `dump` shows no secret either.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}
