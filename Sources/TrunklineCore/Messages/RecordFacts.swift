/// What senders say about a record (a contact, an order), piece by piece. Each field has a time of its own: the newest fact
/// about it, by the sender's clock, is the one that is kept.
///
/// Absent means that nothing is said about it; an empty text, list or object that there is nothing any more, where a field may
/// be empty.
package protocol RecordFacts: Sendable, Hashable, CustomStringConvertible {
    /// When the facts were so, by the sender's clock; nil: when they are stored.
    var factAt: Timestamp? { get }
    /// What is said, each under the name of its field (`name`, `ids.shopify`). Customers' data.
    var fields: [FactField] { get }

    /// Reads one JSON object, strictly: unknown fields, a name twice and broken rules are refused; `null` means absent. At
    /// most 64 KiB.
    static func decode(json: [UInt8]) throws(Refusal) -> Self

    /// What is stored, field by field. What this program does not know is left out.
    init(stored fields: [FactField], factAt: Timestamp?)
}

/// A field of a record and what is said about it.
package struct FactField: Sendable, Hashable {
    /// ASCII: letters, digits, `_` and `-`, in one or two parts with a dot between.
    package let name: String
    package let value: JSONValue

    package init(_ name: String, _ value: JSONValue) {
        self.name = name
        self.value = value
    }
}

extension RecordFacts {
    /// How far a sender's clock may be ahead of ours. A fact of the far future would be the newest for as long.
    package static var tolerance: Duration { .seconds(24 * 3_600) }

    /// The rule that needs a clock: a fact that is more than a day ahead is refused.
    package func validate(now: Timestamp) throws(Refusal) {
        guard let factAt, factAt > now + Self.tolerance else { return }
        throw .invalid("factAt", "factAt is more than a day ahead of the clock here: nothing newer could follow it")
    }

    /// The fields as one canonical JSON object.
    package var document: [UInt8] {
        var json = JSONWriter(capacity: 256)
        json.canonical(.object(fields.map { JSONValue.Member($0.name, $0.value) }))
        return json.bytes
    }

    /// The fields as senders write them: `ids.shopify` as the member `shopify` of `ids`.
    package var nested: JSONValue {
        var members: [JSONValue.Member] = []
        for field in fields {
            let parts = field.name.split(separator: ".", maxSplits: 1).map { String($0) }
            guard parts.count == 2 else {
                members.append(.init(field.name, field.value))
                continue
            }
            let inner = JSONValue.Member(parts[1], field.value)
            if let index = members.firstIndex(where: { $0.name == parts[0] }),
                case .object(let others) = members[index].value
            {
                members[index] = .init(parts[0], .object(others + [inner]))
            } else {
                members.append(.init(parts[0], .object([inner])))
            }
        }
        return .object(members)
    }

    /// Without any of it: safe to log.
    package var description: String { "\(fields.count) facts" }
}

/// The rules that the records share.
extension Rule {
    /// The most members of an object of texts, and the most tags of a record.
    static let mostMembers = 50

    static func facts(_ fields: [FactField], at factAt: Timestamp?) throws(Refusal) {
        try year(factAt, field: "factAt")
        if fields.isEmpty { throw .invalid(nil, "no fact is in it: every field is absent") }
    }

    static func optionalLabel(_ text: String?, field: String, longest: Int) throws(Refusal) {
        if let text { try label(text, field: field, longest: longest, mayBeEmpty: true) }
    }

    /// Texts under names that become parts of fields.
    static func members(_ texts: [String: String], field: String) throws(Refusal) {
        if texts.count > mostMembers {
            throw .invalid(field, "\(field) has \(texts.count) members, at most \(mostMembers) are allowed")
        }
        for (name, text) in texts {
            let isName = name.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x5F
                    || $0 == 0x2D
            }
            guard isName, (1...64).contains(name.utf8.count) else {
                throw .invalid(
                    field,
                    "the names in \(field) may hold only letters, digits, _ and - (ASCII, at most 64)"
                )
            }
            try label(text, field: field, longest: 256, mayBeEmpty: true)
        }
    }

    static func links(_ links: [String: String]) throws(Refusal) {
        for text in links.values where !text.isEmpty { try httpsURL(text, field: "links") }
        // An address is longer than a label.
        try members(links.mapValues { _ in "" }, field: "links")
    }

    static func list(_ texts: [String]?, field: String, longest: Int) throws(Refusal) {
        guard let texts else { return }
        if texts.count > mostMembers {
            throw .invalid(field, "\(field) has \(texts.count) elements, at most \(mostMembers) are allowed")
        }
        for text in texts { try label(text, field: field, longest: longest) }
    }

    /// A document of the sender's own shape: at most `longest` bytes in its canonical form, nested at most eight deep.
    static func document(_ value: JSONValue?, field: String, longest: Int) throws(Refusal) {
        guard let value else { return }
        if value.depth > 8 { throw .invalid(field, "\(field) is nested deeper than 8") }
        if !value.hasPlainNumbers {
            throw .invalid(field, "\(field) holds a number with more than 40 characters or an exponent beyond 20")
        }
        var json = JSONWriter()
        json.canonical(value)
        if json.bytes.count > longest {
            throw Refusal(
                kind: .tooLarge,
                field: field,
                reason: "\(field) has \(json.bytes.count) bytes, at most \(longest) are allowed"
            )
        }
    }
}

extension JSONValue {
    /// Whether its numbers stay as short as they are when a database writes them out without an exponent.
    fileprivate var hasPlainNumbers: Bool {
        switch self {
        case .null, .bool, .string: return true
        case .number(let text):
            guard text.utf8.count <= 40 else { return false }
            let parts = text.utf8.split(whereSeparator: { $0 | 0x20 == 0x65 })
            guard parts.count == 2 else { return true }
            return Int(String(parts[1]) ?? "").map { (-20...20).contains($0) } ?? false
        case .array(let elements): return elements.allSatisfy(\.hasPlainNumbers)
        case .object(let members): return members.allSatisfy(\.value.hasPlainNumbers)
        }
    }
}

extension MessageFields {
    /// Reads the one object of a message whose fields `read` knows by their place in `names`.
    static func read(
        _ json: [UInt8],
        _ names: [StaticString],
        _ read: (inout MessageFields, JSONReader.Name, Int) throws(JSONError) -> Void
    ) throws(Refusal) {
        try Rule.size(json.count, longest: SendJob.maximumMessageBytes)
        var fields = MessageFields(json)
        do throws(JSONError) {
            guard try fields.reader.peek() == .object else {
                throw JSONError(problem: .unexpectedByte, offset: fields.reader.offset)
            }
            try fields.reader.beginObject()
            var first = true
            while let name = try fields.reader.nextName(first: &first) {
                let index = fields.match(name, names)
                if index < 0 { try fields.unknown(name) } else { try read(&fields, name, index) }
            }
            try fields.reader.end()
        } catch {
            throw fields.refusal(error)
        }
        if let problem = fields.problem { throw problem }
    }

    /// A list of texts.
    mutating func list(_ name: JSONReader.Name, _ bit: UInt32, _ path: StaticString) throws(JSONError) -> [String]? {
        guard try begin(name, bit, path, .array, "a list of texts") else { return nil }
        var texts: [String] = []
        try reader.beginArray()
        var first = true
        while try reader.nextElement(first: &first) {
            guard try reader.peek() == .string else {
                note(.invalid("\(path)", "\(path) may hold only texts"))
                try reader.skip()
                continue
            }
            texts.append(try reader.string())
        }
        return texts
    }

    /// A document of the sender's own shape.
    mutating func document(
        _ name: JSONReader.Name,
        _ bit: UInt32,
        _ path: StaticString,
        _ kind: JSONReader.Kind
    ) throws(JSONError) -> JSONValue? {
        guard try begin(name, bit, path, kind, kind == .array ? "a list" : "an object") else { return nil }
        return try JSONValue(from: &reader)
    }
}

extension [FactField] {
    mutating func add(_ name: String, _ text: String?) {
        if let text { append(FactField(name, .string(text))) }
    }

    mutating func add(_ name: String, _ texts: [String]?) {
        if let texts { append(FactField(name, .array(texts.map { .string($0) }))) }
    }

    mutating func add(_ name: String, _ document: JSONValue?) {
        if let document { append(FactField(name, document)) }
    }

    /// Each member is a field of its own: what one system says does not undo what another said.
    mutating func add(_ name: String, _ members: [String: String]) {
        for (member, text) in members.sorted(by: { $0.key < $1.key }) { add(name + "." + member, text) }
    }

    func text(_ name: String) -> String? { first { $0.name == name }?.value.text }

    func document(_ name: String) -> JSONValue? { first { $0.name == name }?.value }

    func list(_ name: String) -> [String]? {
        guard case .array(let elements) = document(name) else { return nil }
        return elements.compactMap(\.text)
    }

    func members(_ name: String) -> [String: String] {
        var members: [String: String] = [:]
        for field in self where field.name.hasPrefix(name + ".") {
            members[String(field.name.dropFirst(name.count + 1))] = field.value.text
        }
        return members
    }
}
