internal import TrunklineCore

/// How senders write things in JSON: ids as numbers or texts, absent values in many ways.
extension JSONValue {
    /// An event's document: an object, with every name once.
    ///
    /// - Throws: a refusal of kind `malformed` that says where, and repeats nothing.
    static func event(_ body: [UInt8]) throws(Refusal) -> JSONValue {
        let document = try any(body)
        guard case .object = document else {
            throw Refusal(kind: .malformed, reason: "the event is not a JSON object")
        }
        return document
    }

    /// An event's document of whatever shape.
    static func any(_ body: [UInt8]) throws(Refusal) -> JSONValue {
        do throws(JSONError) {
            // Plugins of shops nest what they like in their orders.
            return try JSONValue(parsing: body, maximumDepth: 64)
        } catch {
            throw Refusal(kind: .malformed, reason: "the event is not JSON that can be read: \(error.sentence)")
        }
    }

    /// What stands at a path of members.
    func at(_ path: String...) -> JSONValue? {
        var value = self
        for name in path {
            guard let next = value[name] else { return nil }
            value = next
        }
        return value
    }

    /// The elements; none when it is no array.
    var elements: [JSONValue] {
        guard case .array(let elements) = self else { return [] }
        return elements
    }

    /// The members; none when it is no object.
    var members: [Member] {
        guard case .object(let members) = self else { return [] }
        return members
    }

    /// An object without one of its members; anything else as it is.
    func without(_ name: String) -> JSONValue {
        guard case .object(let members) = self else { return self }
        return .object(members.filter { $0.name != name })
    }

    /// A text without blanks around it; nil for what tools send in place of nothing.
    var given: String? { text.flatMap(Given.text) }

    /// An opaque id: a text, or a whole number by its digits. A number that was written as a fraction was rounded by somebody,
    /// and is none.
    var id: String? {
        switch self {
        case .string: given
        case .number(let text) where text.utf8.allSatisfy({ (0x30...0x39).contains($0) }): text
        default: nil
        }
    }

    /// A text or a number as it was written.
    var word: String? {
        switch self {
        case .string: given
        case .number(let text): text
        case .bool(let value): value ? "true" : "false"
        case .null, .array, .object: nil
        }
    }

    /// A moment that names its offset.
    var moment: Timestamp? { given.flatMap { Timestamp(rfc3339: $0) } }

    /// A moment in UTC that does not say so: `2026-11-02T10:15:04`, or with a blank for the `T`.
    var momentInUTC: Timestamp? {
        given.flatMap { text in
            Timestamp(rfc3339: text) ?? Timestamp(rfc3339: text.replacing(" ", with: "T") + "Z")
        }
    }

    /// Milliseconds since 1970, as a number or a text of digits.
    var momentInMilliseconds: Timestamp? {
        guard let digits = id, digits.utf8.count <= 15, let value = Int64(digits) else { return nil }
        return Timestamp(microseconds: value * 1_000)
    }

    /// Seconds since 1970, as a number or a text of digits.
    var momentInSeconds: Timestamp? {
        guard let digits = id, digits.utf8.count <= 12, let value = Int64(digits) else { return nil }
        return Timestamp(microseconds: value * 1_000_000)
    }

    /// Whether it is `true`, or one of the texts that stand for it.
    var isTrue: Bool {
        switch self {
        case .bool(let value): value
        case .string(let text): Given.isYes(text)
        case .number(let text): text == "1"
        case .null, .array, .object: false
        }
    }
}

/// What people and tools write where they have nothing to say.
enum Given {
    /// Without blanks around it; nil when nothing is left, or only a word that a tool puts in the place of nothing.
    static func text(_ text: some StringProtocol) -> String? {
        var text = Substring(text)
        while let first = text.unicodeScalars.first, first.properties.isWhitespace { text.unicodeScalars.removeFirst() }
        while let last = text.unicodeScalars.last, last.properties.isWhitespace { text.unicodeScalars.removeLast() }
        switch text {
        case "", "null", "undefined", "None", "NULL": return nil
        default: return String(text)
        }
    }

    static func isYes(_ text: String) -> Bool {
        switch text.lowercased() {
        case "true", "1", "yes", "on", "y", "checked": true
        default: false
        }
    }

    /// The parts that are there, with a blank between them.
    static func joined(_ parts: String?...) -> String? { text(parts.compactMap { $0 }.joined(separator: " ")) }
}
