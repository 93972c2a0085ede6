/// Writes canonical JSON: no white space, members in the order of the calls, text as UTF-8 with only what must be
/// escaped. The same calls give the same bytes in every version of this program, because stored bytes are resent.
package struct JSONWriter {
    package private(set) var bytes: [UInt8] = []
    private var needsComma = false

    package init(capacity: Int = 512) {
        bytes.reserveCapacity(capacity)
    }

    package mutating func beginObject() {
        separate()
        bytes.append(0x7B)
        needsComma = false
    }

    package mutating func endObject() {
        bytes.append(0x7D)
        needsComma = true
    }

    package mutating func beginArray() {
        separate()
        bytes.append(0x5B)
        needsComma = false
    }

    package mutating func endArray() {
        bytes.append(0x5D)
        needsComma = true
    }

    package mutating func name(_ name: String) {
        separate()
        quote(name)
        bytes.append(0x3A)
        needsComma = false
    }

    package mutating func string(_ text: String) {
        separate()
        quote(text)
        needsComma = true
    }

    package mutating func integer(_ value: some BinaryInteger) {
        separate()
        bytes.append(contentsOf: String(value).utf8)
        needsComma = true
    }

    package mutating func bool(_ value: Bool) {
        separate()
        bytes.append(contentsOf: (value ? "true" : "false").utf8)
        needsComma = true
    }

    package mutating func null() {
        separate()
        bytes.append(contentsOf: "null".utf8)
        needsComma = true
    }

    /// The Base64 of `value` as a string.
    package mutating func base64(_ value: [UInt8]) {
        separate()
        bytes.append(0x22)
        Base64.encode(value, into: &bytes)
        bytes.append(0x22)
        needsComma = true
    }

    package mutating func member(_ name: String, _ text: String) {
        self.name(name)
        string(text)
    }

    package mutating func member(_ name: String, _ text: String?) {
        if let text { member(name, text) }
    }

    /// A tree in its one canonical form: members by the UTF-8 of their names, numbers as they were written.
    package mutating func canonical(_ value: JSONValue) {
        switch value {
        case .null: null()
        case .bool(let value): bool(value)
        case .number(let text):
            separate()
            bytes.append(contentsOf: text.utf8)
            needsComma = true
        case .string(let text): string(text)
        case .array(let elements):
            beginArray()
            for element in elements { canonical(element) }
            endArray()
        case .object(let members):
            beginObject()
            for member in members.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
                name(member.name)
                canonical(member.value)
            }
            endObject()
        }
    }

    private mutating func separate() {
        if needsComma { bytes.append(0x2C) }
    }

    private mutating func quote(_ text: String) {
        bytes.append(0x22)
        var text = text
        text.withUTF8 { utf8 in
            var from = 0
            for i in utf8.indices {
                let byte = unsafe utf8[i]
                guard byte < 0x20 || byte == 0x22 || byte == 0x5C else { continue }
                unsafe bytes.append(contentsOf: utf8[from..<i])
                from = i + 1
                bytes.append(0x5C)
                switch byte {
                case 0x22, 0x5C: bytes.append(byte)
                case 0x0A: bytes.append(0x6E)
                case 0x0D: bytes.append(0x72)
                case 0x09: bytes.append(0x74)
                default:
                    bytes.append(contentsOf: [0x75, 0x30, 0x30])
                    for digit in [byte >> 4, byte & 15] { bytes.append(digit < 10 ? 0x30 + digit : 0x57 + digit) }
                }
            }
            unsafe bytes.append(contentsOf: utf8[from...])
        }
        bytes.append(0x22)
    }
}

extension JSONWriter {
    /// A member that is a list of objects.
    package mutating func list<Element>(
        _ name: String,
        _ elements: [Element],
        _ write: (inout JSONWriter, Element) -> Void
    ) {
        self.name(name)
        beginArray()
        for element in elements {
            beginObject()
            write(&self, element)
            endObject()
        }
        endArray()
    }

    /// A member that is a list of texts.
    package mutating func texts(_ name: String, _ texts: [String]) {
        self.name(name)
        beginArray()
        for text in texts { string(text) }
        endArray()
    }
}
