internal import Crypto
internal import PostgresDriver
package import TrunklineCore

/// A refusal as it is stored: reason, origin, and the original bytes.
package struct RefusalRow: Sendable {
    /// Original bytes kept; the whole length is kept beside them.
    package static let rawLimit = 65_536

    package let via: String
    package let refusal: Refusal
    /// Which lane it was for, as far as it said so.
    package let lane: LaneName?
    package let key: String?
    package let raw: [UInt8]
    package let rawLength: Int64

    /// What the same of is one refusal, where that is not the original bytes: those of a repeat may hold its time.
    private let identity: [UInt8]?

    package init(
        via: String,
        refusal: Refusal,
        lane: LaneName?,
        key: String?,
        raw: [UInt8],
        rawLength: Int64,
        identity: [UInt8]? = nil
    ) {
        self.identity = identity
        self.via = via
        self.refusal = refusal
        self.lane = lane
        self.key = key
        self.raw = raw
        self.rawLength = rawLength
    }

    /// The same bytes (or what stands for them) refused for the same kind of reason are one refusal, however often they come.
    package var digest: [UInt8] {
        var hash = SHA256()
        hash.update(data: Array(refusal.kind.rawValue.utf8))
        hash.update(data: [0])
        hash.update(data: identity ?? raw)
        return Array(hash.finalize())
    }

    /// The parameters of `Statements.refuse`.
    static func parameters(_ rows: [RefusalRow]) -> [PostgresParameter] {
        [
            .textArray(rows.map(\.via)), .textArray(rows.map(\.refusal.kind.rawValue)),
            .textArray(rows.map(\.refusal.field)),
            .textArray(rows.map(\.refusal.reason)), .textArray(rows.map(\.lane?.value)), .textArray(rows.map(\.key)),
            .byteaArray(rows.map(\.digest)), .byteaArray(rows.map { Array($0.raw.prefix(rawLimit)) }),
            .int8Array(rows.map(\.rawLength)),
        ]
    }
}
