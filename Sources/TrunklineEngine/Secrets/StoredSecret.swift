internal import Foundation
package import PostgresDriver
package import TrunklineCore

/// A lane's secret on its way into the database: a line's token, what a webhook is signed with.
package enum LaneSecret: Sendable {
    /// The secret itself. `hint`: what may be shown of it.
    case sealed([UInt8], hint: String, MasterKey)
    /// To be read by the workers where it says. `hint`: of what it leads to here; empty when it leads to nothing.
    case reference(SecretReference, hint: String, MasterKey)

    /// A secret in the clear, if its carrier takes it.
    package static func sealed(_ secret: [UInt8], of carrier: any Carrier, _ key: MasterKey) throws(Refusal)
        -> LaneSecret
    {
        .sealed(secret, hint: try carrier.secretHint(secret), key)
    }

    var masterKey: MasterKey {
        switch self {
        case .sealed(_, _, let key), .reference(_, _, let key): key
        }
    }
}

/// A lane's secret as `trunkline.lanes` has it: sealed under the master key, be it the secret or the text of a reference.
///
/// The seal binds it to the lane's name and to the origin of its address. So whoever may write the database, and has no
/// master key, can neither send a secret to another host nor make a worker read another one: such a row opens nothing.
package struct StoredSecret: Sendable, Hashable {
    let sealed: [UInt8]
    /// For people. What counts is sealed and must be the same.
    let reference: String?
    let keyVersion: Int32
    let hint: String

    /// Seals a secret for one lane and the origin of its address.
    package init(_ secret: LaneSecret, lane: LaneName, address: String) throws {
        let bytes: [UInt8]
        switch secret {
        case .sealed(let secret, let shown, _): (bytes, reference, hint) = (secret, nil, shown)
        case .reference(let place, let shown, _):
            (bytes, reference, hint) = (Array(place.text.utf8), place.text, shown)
        }
        let context = Self.context(lane, address, isReference: reference != nil)
        sealed = try secret.masterKey.seal(bytes, context: context)
        keyVersion = MasterKey.version
    }

    /// A row of `trunkline.lanes`.
    package init(sealed: [UInt8], reference: String?, keyVersion: Int32) {
        self.sealed = sealed
        self.reference = reference
        self.keyVersion = keyVersion
        hint = ""
    }

    /// secret_sealed, secret_reference, secret_key_version, secret_hint.
    package var parameters: [PostgresParameter] {
        [.bytes(sealed), reference.map { .text($0) } ?? .null, .int4(keyVersion), .text(hint)]
    }

    /// The secret in the clear, read where it says when it is a reference.
    ///
    /// - Parameter ownFiles: see ``SecretReference/resolve(environment:ownFiles:)``.
    package func open(
        lane: LaneName,
        address: String,
        masterKey: MasterKey?,
        ownFiles: Set<String>
    ) throws -> [UInt8] {
        let secret = try unseal(lane: lane, address: address, masterKey: masterKey)
        guard let reference else { return secret }
        guard secret == Array(reference.utf8) else { throw LaneSecretError.notBound(lane) }
        return try SecretReference(reference).resolve(ownFiles: ownFiles)
    }

    /// Whether this is what was stored for this lane and the origin of this address under this key.
    func isBound(to lane: LaneName, _ address: String, _ masterKey: MasterKey) -> Bool {
        (try? unseal(lane: lane, address: address, masterKey: masterKey)) != nil
    }

    private func unseal(lane: LaneName, address: String, masterKey: MasterKey?) throws(LaneSecretError) -> [UInt8] {
        guard let masterKey else { throw .needsMasterKey(lane) }
        guard keyVersion == MasterKey.version else { throw .unknownKeyVersion(lane, keyVersion) }
        do {
            return try masterKey.open(sealed, context: Self.context(lane, address, isReference: reference != nil))
        } catch {
            throw .notBound(lane)
        }
    }

    /// No part of it can hold a line break, so no two are alike.
    private static func context(_ lane: LaneName, _ address: String, isReference: Bool) -> String {
        [lane.value, Origin.of(address), isReference ? "reference" : "secret"].joined(separator: "\n")
    }
}

/// Why a stored secret cannot be opened.
package enum LaneSecretError: ExplainedError, Hashable {
    case needsMasterKey(LaneName)
    case unknownKeyVersion(LaneName, Int32)
    /// There are stored secrets, and no master key.
    case masterKeyMissing
    case opensNothing
    case notBound(LaneName)

    package var isRefusal: Bool { false }

    package var description: String {
        switch self {
        case .needsMasterKey(let lane):
            "the \(lane.noun)'s \(lane.secretWord) is sealed; TRUNKLINE_MASTER_KEY (or TRUNKLINE_MASTER_KEY_FILE) is needed to "
                + "open it"
        case .masterKeyMissing:
            "the lines' tokens are sealed; TRUNKLINE_MASTER_KEY (or TRUNKLINE_MASTER_KEY_FILE) is needed to open them"
        case .opensNothing:
            "none of the stored tokens and secrets opens with this master key: it is not the one they were stored under, or "
                + "their rows were changed by something else than 'trunkline line', 'trunkline destination' and 'trunkline source'"
        case .notBound(let lane):
            "the stored \(lane.secretWord) does not open for this \(lane.noun) at this address: it was stored under another master "
                + "key, or the row was changed by something else than 'trunkline \(lane.noun)'; give "
                + (lane.addressOption == nil ? "" : "address and ")
                + "\(lane.secretWord) again with 'trunkline \(lane.noun) set \(lane.id) "
                + (lane.addressOption.map { "\($0) URL " } ?? "") + "\(lane.secretOption)-file FILE'"
        case .unknownKeyVersion(let lane, let version):
            "the \(lane.noun)'s \(lane.secretWord) is sealed under version \(version) of the master key, which this program does "
                + "not know"
        }
    }
}

/// What people call the secret of each noun, and the options that give it.
extension LaneName {
    package var secretWord: String {
        switch self {
        case .line: "token"
        case .destination, .source: "secret"
        }
    }
    package var secretOption: String { "--" + secretWord }
    /// Nil for what is never called.
    package var addressOption: String? {
        switch self {
        case .line: "--base-url"
        case .destination: "--url"
        case .source: nil
        }
    }
}
