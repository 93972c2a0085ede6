/// The rules of text fields, each in one place.
package enum Rule {
    /// `[A-Za-z0-9._-]` (and `:` where allowed), 1 to `longest` bytes.
    static func identifier(_ text: String, field: String, longest: Int, colon: Bool) throws(Refusal) {
        var count = 0
        var good = true
        for byte in text.utf8 {
            count += 1
            switch byte {
            case 0x61...0x7A, 0x41...0x5A, 0x30...0x39, 0x2E, 0x5F, 0x2D: break
            case 0x3A where colon: break
            default: good = false
            }
        }
        if count == 0 { throw .invalid(field, "\(field) is empty") }
        if count > longest { throw .invalid(field, "\(field) has \(count) bytes, at most \(longest) are allowed") }
        if !good {
            let alphabet = colon ? "letters, digits and . _ : -" : "letters, digits and . _ -"
            throw .invalid(field, "\(field) may hold only \(alphabet) (ASCII)")
        }
    }

    /// What one pass over a text's UTF-8 tells.
    struct Measure {
        var utf16Units = 0
        var scalars = 0
        var hasControl = false
        var hasNewline = false
    }

    static func measure(_ text: String) -> Measure {
        var result = Measure()
        var previous: UInt8 = 0
        for byte in text.utf8 {
            if byte & 0xC0 != 0x80 {
                result.scalars += 1
                result.utf16Units += byte >= 0xF0 ? 2 : 1
                if byte < 0x20 {
                    if byte == 0x0A { result.hasNewline = true } else { result.hasControl = true }
                } else if byte == 0x7F {
                    result.hasControl = true
                }
            } else if previous == 0xC2, byte < 0xA0 {
                // U+0080 to U+009F, the second set of control characters.
                result.hasControl = true
            }
            previous = byte
        }
        return result
    }

    /// True when nothing of the text would be seen: white space, zero-width characters, the blank Braille cell.
    static func isBlank(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy {
            // Nearly every text begins so; the tables behind `properties` are slow.
            if $0.value > 0x20, $0.value < 0x7F { return false }
            return $0.properties.isWhitespace || $0.properties.isDefaultIgnorableCodePoint || $0.value == 0x2800
        }
    }

    /// A text of a message: 1…4,096 UTF-16 units, not blank, no control character but newline.
    static func messageBody(_ text: String) throws(Refusal) {
        let measure = measure(text)
        if measure.scalars == 0 { throw .invalid("body", "body is empty") }
        if measure.utf16Units > SendJob.maximumBodyUnits {
            throw Refusal(
                kind: .tooLarge,
                field: "body",
                reason: "body has \(measure.utf16Units) UTF-16 units, at most \(SendJob.maximumBodyUnits) are allowed"
            )
        }
        if measure.hasControl { throw .invalid("body", "body holds a control character other than newline") }
        if isBlank(text) { throw .invalid("body", "body is blank") }
    }

    /// 1 to `longest` characters of one line, not blank.
    package static func label(
        _ text: String,
        field: String,
        longest: Int,
        mayBeEmpty: Bool = false
    ) throws(Refusal) {
        let measure = measure(text)
        if measure.scalars == 0, !mayBeEmpty { throw .invalid(field, "\(field) is empty") }
        if measure.scalars > longest {
            throw .invalid(field, "\(field) has \(measure.scalars) characters, at most \(longest) are allowed")
        }
        if measure.hasControl || measure.hasNewline {
            throw .invalid(field, "\(field) holds a control character or a line break")
        }
        if !mayBeEmpty, isBlank(text) { throw .invalid(field, "\(field) is blank") }
    }

    /// An absolute https URL with a host: at most 2,000 bytes, no space, no control character, no user name, nothing
    /// that a URL must escape (which also catches a template's unfilled `{{placeholder}}`).
    static func httpsURL(_ text: String, field: String) throws(Refusal) {
        let bytes = Array(text.utf8)
        if bytes.isEmpty { throw .invalid(field, "\(field) is empty") }
        if bytes.count > 2_000 {
            throw .invalid(field, "\(field) has \(bytes.count) bytes, at most 2000 are allowed")
        }
        let scheme = Array("https://".utf8)
        guard bytes.count > scheme.count, zip(bytes, scheme).allSatisfy({ $0 | 0x20 == $1 | 0x20 }) else {
            throw .invalid(field, "\(field) is not an absolute URL that begins with https://")
        }
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "<", ">", "\\", "`", "{", "}":
                throw .invalid(field, "\(field) holds a character that a URL must escape")
            default:
                let isControl = scalar.value < 0x21 || (0x7F...0x9F).contains(scalar.value)
                if isControl || scalar.value > 0x7F && scalar.properties.isWhitespace {
                    throw .invalid(field, "\(field) holds a space or a control character")
                }
            }
        }
        let authority = bytes[scheme.count...].prefix { $0 != 0x2F && $0 != 0x3F && $0 != 0x23 }
        if authority.contains(0x40) { throw .invalid(field, "\(field) must not hold a user name or password") }
        guard isHostAndPort(authority) else { throw .invalid(field, "\(field) has no valid host") }
    }

    /// `host`, `host:port`, `[v6]` or `[v6]:port`. Names outside ASCII pass as they are.
    package static func isHostAndPort(_ authority: some Collection<UInt8>) -> Bool {
        let bytes = Array(authority)
        guard let first = bytes.first else { return false }
        var rest: ArraySlice<UInt8>
        if first == 0x5B {
            guard let close = bytes.firstIndex(of: 0x5D) else { return false }
            let inside = bytes[1..<close]
            let isHex = inside.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x66).contains($0 | 0x20) || $0 == 0x3A || $0 == 0x2E
            }
            guard inside.contains(0x3A), isHex else { return false }
            rest = bytes[(close + 1)...]
        } else {
            let end = bytes.firstIndex(of: 0x3A) ?? bytes.endIndex
            let host = bytes[..<end]
            let isName = host.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || $0 == 0x2E || $0 == 0x2D
                    || $0 == 0x5F || $0 >= 0x80
            }
            guard !host.isEmpty, host.first != 0x2E, host.first != 0x2D, isName else { return false }
            rest = bytes[end...]
        }
        if rest.isEmpty { return true }
        guard rest.removeFirst() == 0x3A, (1...5).contains(rest.count) else { return false }
        var port = 0
        for byte in rest {
            guard (0x30...0x39).contains(byte) else { return false }
            port = port * 10 + Int(byte - 0x30)
        }
        return (1...65_535).contains(port)
    }
}
