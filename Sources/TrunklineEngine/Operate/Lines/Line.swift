package import TrunklineCore

/// A line as the database has it: a lane by the names that lines have for it.
@dynamicMemberLookup
package struct Line: Sendable, Hashable {
    package let id: LineID
    package let record: LaneRecord

    init(_ id: LineID, _ record: LaneRecord) {
        self.id = id
        self.record = record
    }

    package subscript<Value>(dynamicMember path: KeyPath<LaneRecord, Value>) -> Value { record[keyPath: path] }

    /// Whether the operator's hold counts at `now`.
    package func isHeld(at now: Timestamp) -> Bool { record.isHeld(at: now) }
    package var baseURL: String { record.address }
    package var tokenPlace: LaneRecord.SecretPlace { record.secretPlace }
    package var tokenHint: String { record.secretHint }
    /// The number of the line's lane, which its jobs name.
    package var lane: Int32 { record.number }
}
