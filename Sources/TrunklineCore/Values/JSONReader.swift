/// Why bytes are not the JSON we accept, and where.
package struct JSONError: Error, Sendable, Hashable {
    package enum Problem: String, Sendable, Hashable, CaseIterable {
        case truncated = "it ends too early"
        case unexpectedByte = "unexpected byte"
        case badNumber = "not a number"
        case badEscape = "unknown escape"
        case loneSurrogate = "half a surrogate pair"
        case controlCharacter = "a control character that is not escaped"
        case zeroCharacter = "the character U+0000, which cannot be stored"
        case invalidUTF8 = "not UTF-8"
        case tooDeep = "nested too deep"
        case duplicateName = "the same name twice"
        case trailingBytes = "more bytes after the end"
    }

    package let problem: Problem
    /// The byte at fault, counted from 0.
    package let offset: Int

    package var sentence: String { "\(problem.rawValue) at byte \(offset)" }
}

/// A strict pull reader for JSON (RFC 8259) over bytes in memory.
///
/// Ours, because Foundation takes 6 to 18 µs for one job, cannot see a name given twice and rounds numbers. Refused:
/// invalid UTF-8, half surrogate pairs, U+0000 in a text that is kept, nesting deeper than the limit, a byte order mark.
/// Numbers are handed out as the text they were. Names given twice are for the caller to see, who knows the names.
package struct JSONReader {
    package enum Kind: Sendable, Hashable {
        case object, array, string, number, bool, null
    }

    /// A member's name: a range of the input, so that matching it costs no allocation.
    package struct Name {
        package let offset: Int
        fileprivate let start: Int
        fileprivate let end: Int
        fileprivate let unescaped: String?
    }

    private let bytes: [UInt8]
    private var at = 0
    private var depth = 0
    private let maximumDepth: Int

    /// The offset of the next byte to read.
    package var offset: Int { at }

    package init(_ bytes: [UInt8], maximumDepth: Int = 32) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
    }

    // MARK: Values

    /// What the next value is, by its first byte; the value itself may still be broken.
    package mutating func peek() throws(JSONError) -> Kind {
        skipSpace()
        guard at < bytes.count else { throw fail(.truncated) }
        switch bytes[at] {
        case 0x7B: return .object
        case 0x5B: return .array
        case 0x22: return .string
        case 0x74, 0x66: return .bool
        case 0x6E: return .null
        case 0x2D, 0x30...0x39: return .number
        default: throw fail(.unexpectedByte)
        }
    }

    /// Reads `{`. Afterwards `nextName` until it gives nil, with one value read or skipped after each name.
    package mutating func beginObject() throws(JSONError) { try open(0x7B) }

    /// Reads `[`. Afterwards `nextElement` until it gives false, with one value read or skipped after each true.
    package mutating func beginArray() throws(JSONError) { try open(0x5B) }

    /// The next member's name, or nil when the object ended. `first` is true for the first call of an object.
    package mutating func nextName(first: inout Bool) throws(JSONError) -> Name? {
        guard try advance(closing: 0x7D, first: &first) else { return nil }
        skipSpace()
        guard at < bytes.count else { throw fail(.truncated) }
        guard bytes[at] == 0x22 else { throw fail(.unexpectedByte) }
        let offset = at
        let (start, end, flags) = try scanString()
        let unescaped =
            flags == .plain ? nil : try decode(start: start, end: end, flags: flags)
        skipSpace()
        try expect(0x3A)
        return Name(offset: offset, start: start, end: end, unescaped: unescaped)
    }

    /// True when another element follows. `first` is true for the first call of an array.
    package mutating func nextElement(first: inout Bool) throws(JSONError) -> Bool {
        try advance(closing: 0x5D, first: &first)
    }

    package mutating func string() throws(JSONError) -> String {
        skipSpace()
        guard at < bytes.count else { throw fail(.truncated) }
        guard bytes[at] == 0x22 else { throw fail(.unexpectedByte) }
        let (start, end, flags) = try scanString()
        return try decode(start: start, end: end, flags: flags)
    }

    /// The number's own text, never rounded.
    package mutating func number() throws(JSONError) -> String {
        let range = try scanNumber()
        return String(decoding: bytes[range], as: UTF8.self)
    }

    package mutating func bool() throws(JSONError) -> Bool {
        skipSpace()
        guard at < bytes.count else { throw fail(.truncated) }
        if bytes[at] == 0x74 {
            try literal("true")
            return true
        }
        try literal("false")
        return false
    }

    package mutating func null() throws(JSONError) {
        skipSpace()
        try literal("null")
    }

    /// Reads over one value of any kind, with every check of its form.
    package mutating func skip() throws(JSONError) {
        switch try peek() {
        case .object:
            try beginObject()
            var first = true
            while try nextName(first: &first) != nil { try skip() }
        case .array:
            try beginArray()
            var first = true
            while try nextElement(first: &first) { try skip() }
        case .string:
            let (start, end, flags) = try scanString()
            if flags != .plain { _ = try decode(start: start, end: end, flags: flags) }
        case .number: _ = try scanNumber()
        case .bool: _ = try bool()
        case .null: try null()
        }
    }

    /// The bytes of the next value as they stand there.
    package mutating func raw() throws(JSONError) -> ArraySlice<UInt8> {
        _ = try peek()
        let start = at
        try skip()
        return bytes[start..<at]
    }

    /// Call after the outermost value: nothing but white space may follow.
    package mutating func end() throws(JSONError) {
        skipSpace()
        guard at == bytes.count else { throw fail(.trailingBytes) }
    }

    // MARK: Names

    /// Whether the name is `literal` (ASCII).
    package func name(_ name: Name, is literal: StaticString) -> Bool {
        if let text = name.unescaped {
            return literal.withUTF8Buffer { unsafe Array(text.utf8).elementsEqual($0) }
        }
        let count = name.end - name.start
        guard count == literal.utf8CodeUnitCount else { return false }
        let wanted = unsafe literal.utf8Start
        for i in 0..<count where unsafe bytes[name.start + i] != wanted[i] { return false }
        return true
    }

    package func text(of name: Name) -> String {
        name.unescaped ?? String(decoding: bytes[name.start..<name.end], as: UTF8.self)
    }

    package func duplicate(_ name: Name) -> JSONError {
        JSONError(problem: .duplicateName, offset: name.offset)
    }

    // MARK: Scanning

    private struct TextFlags: OptionSet {
        let rawValue: UInt8
        static let plain: TextFlags = []
        static let wide = TextFlags(rawValue: 1)
        static let escaped = TextFlags(rawValue: 2)
    }

    private func fail(_ problem: JSONError.Problem, at offset: Int? = nil) -> JSONError {
        let offset = offset ?? at
        // Whatever is wrong at the very end is that the rest is missing.
        return JSONError(problem: offset >= bytes.count ? .truncated : problem, offset: min(offset, bytes.count))
    }

    @inline(__always)
    private mutating func skipSpace() {
        if at < bytes.count, bytes[at] > 0x20 { return }
        skipSpaceSlowly()
    }

    @inline(never)
    private mutating func skipSpaceSlowly() {
        while at < bytes.count {
            switch bytes[at] {
            case 0x20, 0x0A, 0x0D, 0x09: at += 1
            default: return
            }
        }
    }

    private mutating func expect(_ byte: UInt8) throws(JSONError) {
        guard at < bytes.count, bytes[at] == byte else { throw fail(.unexpectedByte) }
        at += 1
    }

    private mutating func open(_ byte: UInt8) throws(JSONError) {
        skipSpace()
        try expect(byte)
        depth += 1
        if depth > maximumDepth { throw JSONError(problem: .tooDeep, offset: at - 1) }
    }

    /// Reads the comma or the closing bracket; true when a member follows.
    private mutating func advance(closing: UInt8, first: inout Bool) throws(JSONError) -> Bool {
        skipSpace()
        guard at < bytes.count else { throw fail(.truncated) }
        if bytes[at] == closing {
            at += 1
            depth -= 1
            return false
        }
        if first {
            first = false
            return true
        }
        try expect(0x2C)
        skipSpace()
        // A comma before the closing bracket is not JSON; without this check an array would accept it.
        guard at < bytes.count, bytes[at] != closing else { throw fail(.unexpectedByte) }
        return true
    }

    private mutating func literal(_ word: StaticString) throws(JSONError) {
        let start = unsafe word.utf8Start
        for i in 0..<word.utf8CodeUnitCount {
            guard at < bytes.count else { throw fail(.truncated) }
            guard unsafe bytes[at] == start[i] else { throw fail(.unexpectedByte) }
            at += 1
        }
    }

    /// Reads `"…"` and gives the range between the quotes.
    private mutating func scanString() throws(JSONError) -> (start: Int, end: Int, flags: TextFlags) {
        let start = at + 1
        var flags: TextFlags = []
        let (end, problem): (Int, JSONError.Problem?) = unsafe bytes.withUnsafeBufferPointer { input in
            var i = start
            var high: UInt8 = 0
            while i < input.count {
                let byte = unsafe input[i]
                if byte == 0x22 {
                    if high >= 0x80 { flags.insert(.wide) }
                    return (i, nil)
                }
                if byte == 0x5C {
                    flags.insert(.escaped)
                    i += 1
                } else if byte < 0x20 {
                    return (i, .controlCharacter)
                }
                high |= byte
                i += 1
            }
            return (input.count, .truncated)
        }
        if let problem { throw fail(problem, at: end) }
        at = end + 1
        return (start, end, flags)
    }

    private func decode(start: Int, end: Int, flags: TextFlags) throws(JSONError) -> String {
        if flags == .plain { return String(decoding: bytes[start..<end], as: UTF8.self) }
        if !flags.contains(.escaped) {
            if let text = String(validating: bytes[start..<end], as: UTF8.self) { return text }
            throw JSONError(problem: .invalidUTF8, offset: invalidUTF8(from: start, to: end))
        }
        // The raw bytes are checked first, so that an offset is one of the input; an escape then only adds whole scalars.
        if String(validating: bytes[start..<end], as: UTF8.self) == nil {
            throw JSONError(problem: .invalidUTF8, offset: invalidUTF8(from: start, to: end))
        }
        var out: [UInt8] = []
        out.reserveCapacity(end - start)
        var i = start
        while i < end {
            let byte = bytes[i]
            if byte != 0x5C {
                out.append(byte)
                i += 1
                continue
            }
            let escape = i
            // scanString made sure that a byte follows every backslash.
            switch bytes[i + 1] {
            case 0x22: out.append(0x22)
            case 0x5C: out.append(0x5C)
            case 0x2F: out.append(0x2F)
            case 0x62: out.append(0x08)
            case 0x66: out.append(0x0C)
            case 0x6E: out.append(0x0A)
            case 0x72: out.append(0x0D)
            case 0x74: out.append(0x09)
            case 0x75:
                guard let unit = hex(at: i + 2, end: end) else { throw JSONError(problem: .badEscape, offset: escape) }
                var scalar = UInt32(unit)
                if unit == 0 { throw JSONError(problem: .zeroCharacter, offset: escape) }
                if unit & 0xFC00 == 0xDC00 { throw JSONError(problem: .loneSurrogate, offset: escape) }
                if unit & 0xFC00 == 0xD800 {
                    guard i + 7 < end, bytes[i + 6] == 0x5C, bytes[i + 7] == 0x75,
                        let low = hex(at: i + 8, end: end), low & 0xFC00 == 0xDC00
                    else { throw JSONError(problem: .loneSurrogate, offset: escape) }
                    scalar = 0x1_0000 + (UInt32(unit & 0x3FF) << 10 | UInt32(low & 0x3FF))
                    i += 6
                }
                append(scalar, to: &out)
                i += 4
            default: throw JSONError(problem: .badEscape, offset: escape)
            }
            i += 2
        }
        return String(decoding: out, as: UTF8.self)
    }

    private func hex(at: Int, end: Int) -> UInt16? {
        guard at + 4 <= end else { return nil }
        var value: UInt16 = 0
        for i in at..<at + 4 {
            let digit: UInt8
            switch bytes[i] {
            case 0x30...0x39: digit = bytes[i] - 0x30
            case 0x61...0x66: digit = bytes[i] - 0x61 + 10
            case 0x41...0x46: digit = bytes[i] - 0x41 + 10
            default: return nil
            }
            value = value << 4 | UInt16(digit)
        }
        return value
    }

    private func append(_ scalar: UInt32, to out: inout [UInt8]) {
        switch scalar {
        case ..<0x80:
            out.append(UInt8(scalar))
        case ..<0x800:
            out.append(UInt8(0xC0 | scalar >> 6))
            out.append(UInt8(0x80 | scalar & 0x3F))
        case ..<0x1_0000:
            out.append(UInt8(0xE0 | scalar >> 12))
            out.append(UInt8(0x80 | scalar >> 6 & 0x3F))
            out.append(UInt8(0x80 | scalar & 0x3F))
        default:
            out.append(UInt8(0xF0 | scalar >> 18))
            out.append(UInt8(0x80 | scalar >> 12 & 0x3F))
            out.append(UInt8(0x80 | scalar >> 6 & 0x3F))
            out.append(UInt8(0x80 | scalar & 0x3F))
        }
    }

    /// The first byte that does not belong to a well-formed sequence. Only for the error's text, so speed does not matter.
    private func invalidUTF8(from start: Int, to end: Int) -> Int {
        var decoder = UTF8()
        var good = start
        var input = bytes[start..<end].makeIterator()
        while case .scalarValue(let scalar) = decoder.decode(&input) { good += UTF8.width(scalar) }
        return good
    }

    private mutating func scanNumber() throws(JSONError) -> Range<Int> {
        skipSpace()
        let start = at
        func digit(_ i: Int) -> Bool { i < bytes.count && bytes[i] &- 0x30 < 10 }
        var i = at
        if i < bytes.count, bytes[i] == 0x2D { i += 1 }
        guard digit(i) else { throw fail(.badNumber, at: i) }
        if bytes[i] == 0x30 {
            i += 1
            if digit(i) { throw fail(.badNumber, at: i) }
        } else {
            while digit(i) { i += 1 }
        }
        if i < bytes.count, bytes[i] == 0x2E {
            i += 1
            guard digit(i) else { throw fail(.badNumber, at: i) }
            while digit(i) { i += 1 }
        }
        if i < bytes.count, bytes[i] | 0x20 == 0x65 {
            i += 1
            if i < bytes.count, bytes[i] == 0x2B || bytes[i] == 0x2D { i += 1 }
            guard digit(i) else { throw fail(.badNumber, at: i) }
            while digit(i) { i += 1 }
        }
        at = i
        return start..<i
    }
}

extension UTF8 {
    fileprivate static func width(_ scalar: Unicode.Scalar) -> Int {
        switch scalar.value {
        case ..<0x80: 1
        case ..<0x800: 2
        case ..<0x1_0000: 3
        default: 4
        }
    }
}
