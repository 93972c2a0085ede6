internal import PostgresDriver
internal import TrunklineCore

/// What contacts and orders have in common: how they are written and read.
enum RecordRows {
    /// The parameters of `put_contacts` and `put_orders`.
    static func parameters(
        _ records: [(id: String, facts: any RecordFacts)],
        _ workspace: WorkspaceID
    ) -> [PostgresParameter] {
        [
            .textArray(records.map { _ in workspace.value }), .textArray(records.map(\.id)),
            .textArray(records.map { String(decoding: $0.facts.document, as: UTF8.self) }),
            .timestampArray(records.map { $0.facts.factAt?.microseconds }),
        ]
    }

    /// A verdict per record, in their order.
    static func verdicts(_ rows: PostgresRows, count: Int) throws -> [FactVerdict] {
        var verdicts = [FactVerdict?](repeating: nil, count: count)
        for row in 0..<rows.count {
            guard let item = rows.int4(row, 0), verdicts.indices.contains(Int(item) - 1) else { continue }
            verdicts[Int(item) - 1] = FactVerdict(
                word: FactVerdict.Word(word: rows.text(row, 1) ?? "null"),
                older: (rows.textArray(row, 2) ?? []).compactMap { $0 }
            )
        }
        return try verdicts.map { verdict in
            guard let verdict else {
                throw PostgresError(code: .protocolViolation, message: "the database gave no verdict for a record")
            }
            return verdict
        }
    }

    /// The columns of ``records(_:_:)`` behind the id.
    static let columns = "facts::text, times::text, created_at, updated_at"

    /// Rows of the id and ``columns``; one that cannot be read is an error, never left out.
    static func records<ID, Facts: RecordFacts>(
        _ rows: PostgresRows,
        _ workspace: WorkspaceID,
        _ id: (String) throws -> ID
    ) throws -> [KnownRecord<ID, Facts>] {
        try (0..<rows.count).map { row in
            let times = try members(rows.text(row, 2)).compactMapValues { value -> Timestamp? in
                guard case .number(let text) = value else { return nil }
                return Int64(text).map(Timestamp.init(microseconds:))
            }
            let fields = try members(rows.text(row, 1)).sorted { $0.key < $1.key }.map { FactField($0.key, $0.value) }
            return KnownRecord(
                workspace: workspace,
                id: try id(rows.text(row, 0) ?? ""),
                facts: Facts(stored: fields, factAt: times.values.max()),
                times: times,
                createdAt: Timestamp(microseconds: rows.timestamp(row, 3) ?? 0),
                updatedAt: Timestamp(microseconds: rows.timestamp(row, 4) ?? 0)
            )
        }
    }

    private static func members(_ json: String?) throws -> [String: JSONValue] {
        guard case .object(let members) = try JSONValue(parsing: Array((json ?? "").utf8)) else { return [:] }
        return Dictionary(members.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
    }
}
