internal import Crypto
internal import Foundation
internal import TrunklineCore

/// The key under which the database's secrets are sealed (AES-GCM with 256 bits). It is never in the database and never
/// printed: description, mirror and errors hold nothing of it.
package struct MasterKey: Sendable {
    /// Stored beside every sealed secret, so that keys can be changed one day.
    package static let version: Int32 = 1

    /// Bytes that sealing adds: 12 of nonce before the ciphertext, 16 of tag behind it.
    package static let overhead = 28

    private let key: SymmetricKey

    /// - Parameter base64: 32 bytes in standard base64, as `openssl rand -base64 32` prints them; white space around it
    ///   is ignored.
    package init(base64 text: String) throws(MasterKeyError) {
        let text = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard !text.isEmpty else { throw .empty }
        guard let bytes = Base64.decode(text.utf8) else { throw .notBase64 }
        guard bytes.count == 32 else { throw .wrongLength(bytes.count) }
        // The usual place-holder; a key that everybody knows is none.
        guard Set(bytes).count > 1 else { throw .weak }
        key = SymmetricKey(data: bytes)
    }

    /// Encrypts `secret`.
    ///
    /// - Parameter context: what the secret belongs to, for example `line:acme-il`. It is not stored: ``open(_:context:)``
    ///   needs the same, so that a sealed secret that is copied to another row opens nothing.
    /// - Returns: nonce, ciphertext and tag in one.
    package func seal(_ secret: [UInt8], context: String) throws -> [UInt8] {
        let box = try AES.GCM.seal(secret, using: key, authenticating: Array(context.utf8))
        guard let combined = box.combined else {
            preconditionFailure("AES-GCM with its standard nonce has a combined form")
        }
        return Array(combined)
    }

    /// Decrypts what ``seal(_:context:)`` made under this key and this context.
    ///
    /// Throws ``MasterKeyError/doesNotOpen`` for another key, another context or a changed byte; which of them cannot be
    /// told apart.
    package func open(_ sealed: [UInt8], context: String) throws(MasterKeyError) -> [UInt8] {
        guard sealed.count >= Self.overhead else { throw .doesNotOpen }
        do {
            let box = try AES.GCM.SealedBox(combined: sealed)
            return Array(try AES.GCM.open(box, using: key, authenticating: Array(context.utf8)))
        } catch {
            throw .doesNotOpen
        }
    }
}

extension MasterKey: CustomStringConvertible, CustomReflectable {
    package var description: String { "master key" }
    /// Without children, so that `dump` shows no secret either.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// What is wrong with a master key or with what it should open.
package enum MasterKeyError: ExplainedError, Hashable {
    case empty
    case notBase64
    /// How many bytes there were instead of 32.
    case wrongLength(Int)
    case weak
    case doesNotOpen

    package var isRefusal: Bool { false }

    package var description: String {
        switch self {
        case .empty: "the master key is empty; it must be 32 bytes in base64 (openssl rand -base64 32)"
        case .notBase64: "the master key is not base64; it must be 32 bytes in base64 (openssl rand -base64 32)"
        case .wrongLength(let count):
            "the master key has \(count) bytes instead of 32; make one with 'openssl rand -base64 32'"
        case .weak: "the master key is one byte repeated; make one with 'openssl rand -base64 32'"
        case .doesNotOpen:
            "the stored secret does not open: it was sealed under another master key or for another owner, or it is damaged"
        }
    }
}
