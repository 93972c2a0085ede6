/// A JSON document as a tree, for answers of others that are small and whose shape is not ours. Members keep their order.
package indirect enum JSONValue: Sendable, Hashable {
    package struct Member: Sendable, Hashable {
        package let name: String
        package let value: JSONValue

        package init(_ name: String, _ value: JSONValue) {
            self.name = name
            self.value = value
        }
    }

    case null
    case bool(Bool)
    /// The number's own text.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([Member])

    /// Reads one whole document; a name given twice in one object is an error.
    package init(parsing bytes: [UInt8], maximumDepth: Int = 32) throws(JSONError) {
        var reader = JSONReader(bytes, maximumDepth: maximumDepth)
        self = try JSONValue(from: &reader)
        try reader.end()
    }

    package init(from reader: inout JSONReader) throws(JSONError) {
        switch try reader.peek() {
        case .null:
            try reader.null()
            self = .null
        case .bool: self = .bool(try reader.bool())
        case .number: self = .number(try reader.number())
        case .string: self = .string(try reader.string())
        case .array:
            try reader.beginArray()
            var elements: [JSONValue] = []
            var first = true
            while try reader.nextElement(first: &first) { elements.append(try JSONValue(from: &reader)) }
            self = .array(elements)
        case .object:
            try reader.beginObject()
            var members: [Member] = []
            var seen: Set<String> = []
            var first = true
            while let name = try reader.nextName(first: &first) {
                let text = reader.text(of: name)
                guard seen.insert(text).inserted else { throw reader.duplicate(name) }
                members.append(Member(text, try JSONValue(from: &reader)))
            }
            self = .object(members)
        }
    }

    /// The member of that name; nil when there is none or this is no object.
    package subscript(_ name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// How deep it nests: 0 for a value that holds no others.
    package var depth: Int {
        switch self {
        case .null, .bool, .number, .string: 0
        case .array(let elements): 1 + (elements.map(\.depth).max() ?? 0)
        case .object(let members): 1 + (members.map(\.value.depth).max() ?? 0)
        }
    }

    package var text: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }
}
