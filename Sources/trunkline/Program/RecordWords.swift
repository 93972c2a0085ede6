internal import TrunklineCore
internal import TrunklineEngine

/// Contacts and orders, for people and for programs.
enum RecordWords {
    /// What is known, a line for each field, with the moment of its fact.
    static func facts(_ record: KnownRecord<some Hashable & Sendable, some RecordFacts>) -> [(String, String)] {
        record.facts.fields.map { field in
            let since = record.times[field.name].map { "  (" + Output.time($0) + ")" } ?? ""
            return (field.name, text(field.value) + since)
        }
    }

    /// One JSON object: the facts as senders write them, beside them `members`, and `times` by the names of the fields.
    static func document(
        _ record: KnownRecord<some Hashable & Sendable, some RecordFacts>,
        _ members: [JSONValue.Member]
    ) -> JSONValue {
        guard case .object(let facts) = record.facts.nested else { return .null }
        let times = record.times.sorted { $0.key < $1.key }.map {
            JSONValue.Member($0.key, .string($0.value.rfc3339))
        }
        return .object(
            [.init("workspace", .string(record.workspace.value))] + members + facts + [
                .init("times", .object(times)), .init("createdAt", .string(record.createdAt.rfc3339)),
                .init("updatedAt", .string(record.updatedAt.rfc3339)),
            ]
        )
    }

    static func say(_ document: JSONValue) {
        var json = JSONWriter()
        json.canonical(document)
        Output.json(document: String(decoding: json.bytes, as: UTF8.self) + "\n")
    }

    private static func text(_ value: JSONValue) -> String {
        switch value {
        case .string(let text): return text.isEmpty ? "-" : text
        case .array(let elements) where elements.allSatisfy({ $0.text != nil }):
            return elements.isEmpty ? "-" : elements.compactMap(\.text).joined(separator: ", ")
        case .object where value["amount"]?.text != nil:
            return (value["amount"]?.text ?? "") + " " + (value["currency"]?.text ?? "")
        default:
            var json = JSONWriter()
            json.canonical(value)
            return String(decoding: json.bytes, as: UTF8.self)
        }
    }
}
