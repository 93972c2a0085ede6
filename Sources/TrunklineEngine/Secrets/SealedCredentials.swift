internal import TrunklineCore

/// Credentials of a lane that expire, as `trunkline.lane_credentials` has them.
///
/// The seal binds them to the lane's name, the origin of its address, its secret and their generation. So another address or
/// another secret makes them open nothing: the lane begins anew with what its operator gave. Nor do older ones open as newer.
package struct SealedCredentials: Sendable, Hashable {
    package let bytes: [UInt8]
    package let keyVersion: Int32

    package init(bytes: [UInt8], keyVersion: Int32) {
        self.bytes = bytes
        self.keyVersion = keyVersion
    }

    /// Of whom they are.
    struct Owner: Sendable, Hashable {
        private let context: String

        /// - Parameter secret: the lane's, in the clear.
        init(_ lane: LaneName, _ address: CarrierAddress, secret: [UInt8]) {
            let mark = Digest.hex(Digest.sha256(secret).prefix(16))
            context = [lane.value, address.origin, mark, "credentials"].joined(separator: "\n")
        }

        fileprivate func context(of generation: Int64) -> String { context + "\n\(generation)" }
    }

    init(_ credentials: LaneCredentials, of owner: Owner, generation: Int64, _ key: MasterKey) throws {
        var renewal: [UInt8] = []
        Base64.encode(credentials.renewal, into: &renewal)
        var json = JSONWriter()
        json.beginObject()
        json.member("access", credentials.credentials.accessToken)
        json.member("renewal", String(decoding: renewal, as: UTF8.self))
        json.endObject()
        bytes = try key.seal(json.bytes, context: owner.context(of: generation))
        keyVersion = MasterKey.version
    }

    /// Nil when they were sealed for another lane, address, secret or generation, or under another key.
    func open(as owner: Owner, generation: Int64, lifetime: Duration, _ key: MasterKey) -> LaneCredentials? {
        guard keyVersion == MasterKey.version,
            let clear = try? key.open(bytes, context: owner.context(of: generation)),
            let json = try? JSONValue(parsing: clear), let access = json["access"]?.text,
            let renewal = json["renewal"]?.text.flatMap({ Base64.decode($0.utf8) })
        else { return nil }
        return LaneCredentials(
            credentials: Credentials(accessToken: access),
            renewal: renewal,
            lifetime: lifetime
        )
    }
}
