internal import TrunklineCore

/// A small strict reader of XML, for what one sender sends (decision 21): elements, attributes, text, CDATA, comments, the five
/// names of entities and numbers. Names are read without their prefix. A document type is refused, and with it every entity
/// of the document's own: nothing is expanded, nothing is looked up.
struct XMLElement: Sendable, Hashable {
    let name: String
    /// By name without prefix; declarations of name spaces are left out.
    let attributes: [String: String]
    private(set) var children: [XMLElement] = []
    /// All text directly inside, one behind the other.
    private(set) var text = ""

    /// The first child of that name.
    subscript(_ name: String) -> XMLElement? { children.first { $0.name == name } }

    static let deepest = 16
    static let mostElements = 20_000

    /// - Throws: a refusal of kind `malformed` that says where, and repeats nothing.
    init(parsing bytes: [UInt8]) throws(Refusal) {
        var reader = XMLReader(bytes)
        self = try reader.document()
    }

    fileprivate init(name: String, attributes: [String: String]) {
        self.name = name
        self.attributes = attributes
    }

    fileprivate mutating func append(_ child: XMLElement) { children.append(child) }
    fileprivate mutating func append(_ text: String) { self.text += text }
}

private struct XMLReader {
    private let bytes: [UInt8]
    private var at = 0
    private var count = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    private func fail(_ reason: String) -> Refusal {
        Refusal(kind: .malformed, reason: "the event is not XML that can be read: \(reason) at byte \(at)")
    }

    mutating func document() throws(Refusal) -> XMLElement {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw fail("not UTF-8") }
        if starts("\u{FEFF}") { at += 3 }
        if starts("<?xml") { try skip(past: "?>") }
        try skipMisc()
        guard let root = try element() else { throw fail("no element") }
        try skipMisc()
        guard at == bytes.count else { throw fail("more bytes after the end") }
        return root
    }

    /// One element with all that is in it; by a stack of its own, because depth is the sender's to choose.
    private mutating func element() throws(Refusal) -> XMLElement? {
        guard starts("<") else { return nil }
        var open: [(element: XMLElement, rawName: String)] = []
        while true {
            if starts("</") {
                at += 2
                let name = try name()
                skipSpace()
                try expect(">")
                guard let (closed, rawName) = open.popLast(), rawName == name else {
                    throw fail("an end of another element")
                }
                guard !open.isEmpty else { return closed }
                open[open.count - 1].element.append(closed)
            } else if starts("<!--") {
                try skip(past: "-->")
            } else if starts("<![CDATA[") {
                at += 9
                let start = at
                try skip(past: "]]>")
                guard !open.isEmpty else { throw fail("text outside an element") }
                open[open.count - 1].element.append(String(decoding: bytes[start..<at - 3], as: UTF8.self))
            } else if starts("<") {
                let (started, rawName, isClosed) = try start()
                count += 1
                guard count <= XMLElement.mostElements else { throw fail("too many elements") }
                guard isClosed else {
                    guard open.count < XMLElement.deepest else { throw fail("nested too deep") }
                    open.append((started, rawName))
                    continue
                }
                guard !open.isEmpty else { return started }
                open[open.count - 1].element.append(started)
            } else {
                guard !open.isEmpty, at < bytes.count else { throw fail("it ends too early") }
                open[open.count - 1].element.append(try text(until: 0x3C))
            }
        }
    }

    /// `<prefix:name a="b">`, or with `/>`.
    private mutating func start() throws(Refusal) -> (XMLElement, rawName: String, isClosed: Bool) {
        at += 1
        // Also what begins with `!` and `?`: document types and instructions.
        let rawName = try name()
        var attributes: [String: String] = [:]
        while true {
            let hadSpace = skipSpace()
            if starts("/>") {
                at += 2
                return (XMLElement(name: Self.local(rawName), attributes: attributes), rawName, true)
            }
            if starts(">") {
                at += 1
                return (XMLElement(name: Self.local(rawName), attributes: attributes), rawName, false)
            }
            guard hadSpace else { throw fail("unexpected byte") }
            let attribute = try name()
            skipSpace()
            try expect("=")
            skipSpace()
            guard at < bytes.count, bytes[at] == 0x22 || bytes[at] == 0x27 else {
                throw fail("an attribute without quotes")
            }
            let quote = bytes[at]
            at += 1
            let value = try text(until: quote)
            guard at < bytes.count else { throw fail("it ends too early") }
            at += 1
            if attribute == "xmlns" || attribute.hasPrefix("xmlns:") { continue }
            guard attributes.updateValue(value, forKey: Self.local(attribute)) == nil else {
                throw fail("the same attribute twice")
            }
        }
    }

    private static func local(_ name: String) -> String {
        name.lastIndex(of: ":").map { String(name[name.index(after: $0)...]) } ?? name
    }

    private mutating func name() throws(Refusal) -> String {
        let start = at
        while at < bytes.count {
            switch bytes[at] {
            case 0x41...0x5A, 0x61...0x7A, 0x5F, 0x3A, 0x80...: at += 1
            case 0x30...0x39, 0x2D, 0x2E:
                guard at > start else { throw fail("no name") }
                at += 1
            default:
                guard at > start else { throw fail("no name") }
                return String(decoding: bytes[start..<at], as: UTF8.self)
            }
        }
        throw fail("it ends too early")
    }

    private mutating func text(until end: UInt8) throws(Refusal) -> String {
        var out: [UInt8] = []
        while at < bytes.count, bytes[at] != end {
            let byte = bytes[at]
            if byte == 0x26 {
                out += Array(try entity().utf8)
                continue
            }
            guard byte >= 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09, byte != 0x3C else {
                throw fail("unexpected byte")
            }
            out.append(byte)
            at += 1
        }
        return String(decoding: out, as: UTF8.self)
    }

    private static let entities: [String: String] = ["amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'"]

    private mutating func entity() throws(Refusal) -> String {
        let tail = bytes[(at + 1)...].prefix(10)
        guard let semicolon = tail.firstIndex(of: 0x3B) else { throw fail("an entity without an end") }
        let name = String(decoding: tail[..<semicolon], as: UTF8.self)
        let text: String
        if let known = Self.entities[name] {
            text = known
        } else if name.hasPrefix("#"), let scalar = Self.scalar(name.dropFirst()) {
            text = String(scalar)
        } else {
            throw fail("an entity that nobody knows")
        }
        at = semicolon + 1
        return text
    }

    /// U+0000 cannot be stored, and is no character of XML; nor are the other controls.
    private static func scalar(_ digits: Substring) -> Unicode.Scalar? {
        let value = digits.hasPrefix("x") ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits, radix: 10)
        guard let value, value >= 0x20 || value == 9 || value == 10 || value == 13, !digits.contains("+") else {
            return nil
        }
        return Unicode.Scalar(value)
    }

    // MARK: Bytes

    private func starts(_ text: String) -> Bool { bytes[at...].starts(with: text.utf8) }

    private mutating func expect(_ text: String) throws(Refusal) {
        guard starts(text) else { throw fail(at < bytes.count ? "unexpected byte" : "it ends too early") }
        at += text.utf8.count
    }

    @discardableResult private mutating func skipSpace() -> Bool {
        let start = at
        while at < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[at]) { at += 1 }
        return at > start
    }

    private mutating func skip(past end: String) throws(Refusal) {
        while at < bytes.count {
            if starts(end) {
                at += end.utf8.count
                return
            }
            at += 1
        }
        throw fail("it ends too early")
    }

    /// Space and comments around the document's element.
    private mutating func skipMisc() throws(Refusal) {
        skipSpace()
        while starts("<!--") {
            try skip(past: "-->")
            skipSpace()
        }
    }
}
