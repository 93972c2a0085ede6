/// What stands in the path of a source's intake, `/in/TOKEN`, and names the source. Who knows it may post; whether what is posted
/// counts, the sender's proof says.
package struct SourceToken: Sendable, Hashable {
    private let value: String

    /// `[A-Za-z0-9_-]{20,128}`; anything else is a refusal of kind `invalid` on the field `token`, which repeats nothing of it.
    package init(_ text: String) throws(Refusal) {
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F, 0x2D: true
            default: false
            }
        }
        guard isPlain, (20...128).contains(text.utf8.count) else {
            throw .invalid("token", "a token has 20 to 128 letters, digits, _ and -, because it stands in a path")
        }
        value = text
    }

    /// A new one of 160 bits.
    package init(using random: inout some RandomNumberGenerator) {
        value = Digest.hex((0..<20).map { _ in UInt8.random(in: 0...255, using: &random) })
    }

    /// 32 bytes of SHA-256: what is stored, and looked up, so that a comparison tells nothing of the token.
    package var digest: [UInt8] { Digest.sha256(value.utf8) }

    /// The path that its sender posts to. A secret: shown once, when it is made.
    package var path: String { "/in/" + value }
}

extension SourceToken: CustomStringConvertible, CustomReflectable {
    /// Without it: safe to log.
    package var description: String { "token of a source" }
    /// Without children, so that `dump` shows it neither.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}
