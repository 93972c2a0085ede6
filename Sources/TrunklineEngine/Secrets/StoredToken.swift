internal import Foundation
package import PostgresDriver
package import TrunklineCore
package import TrunklineIntegrations

/// A line's token on its way into the database.
package enum LineToken: Sendable {
    /// The token itself.
    case sealed(EZWhatsApp.Token, MasterKey)
    /// To be read by the workers where it says; `current` is what it leads to here, if it does.
    case reference(SecretReference, current: EZWhatsApp.Token?, MasterKey)

    var masterKey: MasterKey {
        switch self {
        case .sealed(_, let key), .reference(_, _, let key): key
        }
    }
}

/// A line's token as `trunkline.lines` has it: sealed under the master key, be it the token or the text of a reference.
///
/// The seal binds it to the line's id and to the origin of its address. So whoever may write the database, and has no
/// master key, can neither send a token to another host nor make a worker read another secret: such a row opens nothing.
package struct StoredToken: Sendable {
    let sealed: [UInt8]
    /// For people. What counts is sealed and must be the same.
    let reference: String?
    let keyVersion: Int32
    let hint: String

    /// Seals a token for one line and one origin.
    package init(_ token: LineToken, line: LineID, base: EZWhatsApp.BaseURL) throws {
        let secret: String
        switch token {
        case .sealed(let token, _): (secret, reference, hint) = (token.value, nil, token.lastFour)
        case .reference(let place, let current, _):
            (secret, reference, hint) = (place.text, place.text, current?.lastFour ?? "")
        }
        let context = Self.context(line, base, isReference: reference != nil)
        sealed = try token.masterKey.seal(Array(secret.utf8), context: context)
        keyVersion = MasterKey.version
    }

    /// A row of `trunkline.lines`.
    package init(sealed: [UInt8], reference: String?, keyVersion: Int32) {
        self.sealed = sealed
        self.reference = reference
        self.keyVersion = keyVersion
        hint = ""
    }

    /// token_sealed, token_reference, token_key_version, token_hint.
    package var parameters: [PostgresParameter] {
        [.bytes(sealed), reference.map { .text($0) } ?? .null, .int4(keyVersion), .text(hint)]
    }

    /// The token in the clear, read where it says when it is a reference.
    ///
    /// - Parameter ownFiles: see ``SecretReference/resolve(environment:ownFiles:)``.
    package func open(
        line: LineID,
        base: EZWhatsApp.BaseURL,
        masterKey: MasterKey?,
        ownFiles: Set<String>
    ) throws -> EZWhatsApp.Token {
        var secret = try unseal(line: line, base: base, masterKey: masterKey)
        if let reference {
            guard secret == Array(reference.utf8) else { throw LineTokenError.notBound(line) }
            secret = try SecretReference(reference).resolve(ownFiles: ownFiles)
        }
        return try EZWhatsApp.Token(String(decoding: secret, as: UTF8.self))
    }

    /// Whether this is what was stored for this line and this origin under this key.
    func isBound(to line: LineID, _ base: EZWhatsApp.BaseURL, _ masterKey: MasterKey) -> Bool {
        (try? unseal(line: line, base: base, masterKey: masterKey)) != nil
    }

    private func unseal(line: LineID, base: EZWhatsApp.BaseURL, masterKey: MasterKey?) throws(LineTokenError)
        -> [UInt8]
    {
        guard let masterKey else { throw .needsMasterKey }
        guard keyVersion == MasterKey.version else { throw .unknownKeyVersion(keyVersion) }
        do {
            return try masterKey.open(sealed, context: Self.context(line, base, isReference: reference != nil))
        } catch {
            throw .notBound(line)
        }
    }

    /// No part of it can hold a line break, so no two are alike.
    private static func context(_ line: LineID, _ base: EZWhatsApp.BaseURL, isReference: Bool) -> String {
        [line.laneName, base.origin, isReference ? "reference" : "token"].joined(separator: "\n")
    }
}

/// Why a stored token cannot be opened.
package enum LineTokenError: ExplainedError, Hashable {
    case needsMasterKey
    case unknownKeyVersion(Int32)
    case opensNothing
    case notBound(LineID)

    package var isRefusal: Bool { false }

    package var description: String {
        switch self {
        case .needsMasterKey:
            "the line's token is sealed; TRUNKLINE_MASTER_KEY (or TRUNKLINE_MASTER_KEY_FILE) is needed to open it"
        case .opensNothing:
            "none of the lines' stored tokens opens with this master key: it is not the one they were stored under, or their "
                + "rows were changed by something else than 'trunkline line'"
        case .notBound(let line):
            "the stored token does not open for this line at this address: it was stored under another master key, or the row "
                + "was changed by something else than 'trunkline line'; give address and token again with 'trunkline line set "
                + "\(line) --base-url URL --token-file FILE'"
        case .unknownKeyVersion(let version):
            "the line's token is sealed under version \(version) of the master key, which this program does not know"
        }
    }
}
