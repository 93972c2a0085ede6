/// Reads the members of one of our messages: knows which were seen, where the reader is, and the first rule broken.
///
/// A broken rule does not end the reading: what is not even JSON is said first, because that is what the sender must mend first.
struct MessageFields {
    var reader: JSONReader
    /// The path of the field being read, for errors.
    var path: StaticString = ""
    private(set) var problem: Refusal?
    private var seen: UInt32 = 0
    /// Where the next name probably is: encoders keep an order, ours always the same.
    private var guess = 0

    init(_ json: [UInt8]) {
        reader = JSONReader(json)
    }

    mutating func note(_ refusal: Refusal) {
        if problem == nil { problem = refusal }
    }

    /// The position of `name` in `names`, or -1.
    mutating func match(_ name: JSONReader.Name, _ names: [StaticString]) -> Int {
        for step in 0..<names.count {
            var index = guess + step
            if index >= names.count { index -= names.count }
            guard reader.name(name, is: names[index]) else { continue }
            guess = index + 1 == names.count ? 0 : index + 1
            return index
        }
        return -1
    }

    /// Marks a field as seen and says whether its value is there and of the right kind; otherwise the value is read over.
    mutating func begin(
        _ name: JSONReader.Name,
        _ bit: UInt32,
        _ path: StaticString,
        _ wanted: JSONReader.Kind,
        _ word: StaticString
    ) throws(JSONError) -> Bool {
        self.path = path
        guard seen & 1 << bit == 0 else { throw reader.duplicate(name) }
        seen |= 1 << bit
        let kind = try reader.peek()
        if kind == wanted { return true }
        // null means absent, as JSON encoders of many languages write it.
        if kind != .null { note(.invalid("\(path)", "\(path) is not \(word)")) }
        try reader.skip()
        return false
    }

    mutating func text(_ name: JSONReader.Name, _ bit: UInt32, _ path: StaticString) throws(JSONError) -> String? {
        guard try begin(name, bit, path, .string, "a text") else { return nil }
        return try reader.string()
    }

    mutating func moment(
        _ name: JSONReader.Name,
        _ bit: UInt32,
        _ path: StaticString
    ) throws(JSONError) -> Timestamp? {
        guard let text = try text(name, bit, path) else { return nil }
        guard let moment = Timestamp(rfc3339: text) else {
            note(.invalid("\(path)", "\(path) is not an RFC 3339 time with its offset, such as 2026-12-01T18:00:00Z"))
            return nil
        }
        return moment
    }

    /// The sender's labels.
    mutating func tags(_ name: JSONReader.Name, _ bit: UInt32) throws(JSONError) -> [String: String] {
        try texts(name, bit, "tags")
    }

    /// An object of texts, each name once.
    mutating func texts(
        _ name: JSONReader.Name,
        _ bit: UInt32,
        _ path: StaticString
    ) throws(JSONError) -> [String: String] {
        var texts: [String: String] = [:]
        guard try begin(name, bit, path, .object, "an object of texts") else { return texts }
        try reader.beginObject()
        var first = true
        while let inner = try reader.nextName(first: &first) {
            let member = reader.text(of: inner)
            guard texts[member] == nil else { throw reader.duplicate(inner) }
            guard try reader.peek() == .string else {
                note(.invalid("\(path)", "\(path) may hold only texts"))
                try reader.skip()
                continue
            }
            texts[member] = try reader.string()
        }
        return texts
    }

    /// A member that the schema does not have: refused by name, read over.
    mutating func unknown(_ name: JSONReader.Name) throws(JSONError) {
        let prefix = path.utf8CodeUnitCount == 0 || !"\(path)".hasPrefix("button") ? "" : "button."
        let offset = name.offset
        if let word = MessageFields.printable(reader.text(of: name)) {
            note(.invalid(prefix + word, "\(prefix)\(word) is not a field of this schema"))
        } else {
            note(.invalid(nil, "the field at byte \(offset) is not a field of this schema"))
        }
        try reader.skip()
    }

    /// `text` if it can be shown: a name as programmers write them. Anything else may be a customer's data in the wrong place.
    static func printable(_ text: String) -> String? {
        let utf8 = text.utf8
        guard (1...64).contains(utf8.count) else { return nil }
        var digits = 0
        for byte in utf8 {
            switch byte {
            case 0x61...0x7A, 0x41...0x5A, 0x2E, 0x5F, 0x2D: break
            case 0x30...0x39: digits += 1
            default: return nil
            }
        }
        return digits > 4 ? nil : text
    }

    /// What is wrong with the JSON itself, as a refusal.
    func refusal(_ error: JSONError) -> Refusal {
        let field = path.utf8CodeUnitCount == 0 ? nil : "\(path)"
        if error.problem == .zeroCharacter {
            return .invalid(field, "\(field ?? "the message") holds \(error.sentence)")
        }
        let place = field.map { " (in or after \($0))" } ?? ""
        return Refusal(kind: .malformed, field: field, reason: "not a well-formed message: \(error.sentence)\(place)")
    }
}

extension Rule {
    /// A field that must be there.
    static func required(_ value: String?, _ field: String) throws(Refusal) -> String {
        guard let value else { throw .invalid(field, "\(field) is missing") }
        return value
    }

    /// The key of a message, which may have come beside it too.
    static func key(_ key: String?, beside outer: IdempotencyKey?) throws(Refusal) -> IdempotencyKey {
        guard let outer else { return try IdempotencyKey(required(key, "key")) }
        if let key, key != outer.value {
            throw .invalid("key", "key is not the one of the Idempotency-Key header")
        }
        return outer
    }

    static func size(_ bytes: Int, longest: Int) throws(Refusal) {
        guard bytes > longest else { return }
        throw Refusal(kind: .tooLarge, reason: "the message has \(bytes) bytes, at most \(longest) are allowed")
    }
}

extension JSONWriter {
    /// The member `tags`, by the UTF-8 of their names; nothing when there are none.
    mutating func tags(_ tags: [String: String]) {
        guard !tags.isEmpty else { return }
        name("tags")
        beginObject()
        for name in tags.keys.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) { member(name, tags[name]) }
        endObject()
    }
}
