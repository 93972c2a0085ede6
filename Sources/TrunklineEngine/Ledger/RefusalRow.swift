internal import Crypto
internal import PostgresDriver
internal import TrunklineCore

/// A refusal as it is stored: reason, origin, and the original bytes.
struct RefusalRow {
    /// Original bytes kept; the whole length is kept beside them.
    static let rawLimit = 65_536

    let via: String
    let refusal: Refusal
    let line: String?
    let key: String?
    let raw: [UInt8]
    let rawLength: Int64

    /// The same bytes refused for the same kind of reason are one refusal, however often they come.
    private var digest: [UInt8] {
        var hash = SHA256()
        hash.update(data: Array(refusal.kind.rawValue.utf8))
        hash.update(data: [0])
        hash.update(data: raw)
        return Array(hash.finalize())
    }

    /// The parameters of `Statements.refuse`.
    static func parameters(_ rows: [RefusalRow]) -> [PostgresParameter] {
        [
            .textArray(rows.map(\.via)), .textArray(rows.map(\.refusal.kind.rawValue)),
            .textArray(rows.map(\.refusal.field)),
            .textArray(rows.map(\.refusal.reason)), .textArray(rows.map(\.line)), .textArray(rows.map(\.key)),
            .byteaArray(rows.map(\.digest)), .byteaArray(rows.map { Array($0.raw.prefix(rawLimit)) }),
            .int8Array(rows.map(\.rawLength)),
        ]
    }
}
