package import TrunklineCore

/// The fields of a posted form, in order; names may repeat.
package struct FormBody: Sendable {
    package typealias Field = (name: String, value: String)

    /// A form with more fields is nobody's.
    static let mostFields = 500

    package private(set) var fields: [Field] = []

    /// Reads a body by its content type: `application/x-www-form-urlencoded` or `multipart/form-data`. Files are left out.
    ///
    /// - Throws: a refusal for another type, and for bytes that are none of it.
    package init(_ body: [UInt8], contentType: String) throws(Refusal) {
        let type = MediaType(contentType)
        switch type.name {
        case "application/x-www-form-urlencoded": try readPairs(body, charset: type["charset"])
        case "multipart/form-data":
            guard let boundary = type["boundary"], (1...70).contains(boundary.utf8.count) else {
                throw Refusal(kind: .malformed, reason: "the form's parts have no boundary")
            }
            try readParts(body, boundary: Array(boundary.utf8))
        default:
            throw Refusal(kind: .malformed, reason: "the content type is not one of a form")
        }
    }

    /// The first field of that name that holds something.
    package subscript(_ name: String) -> String? {
        for field in fields where field.name == name {
            if let value = Given.text(field.value) { return value }
        }
        return nil
    }

    private mutating func add(_ name: String, _ value: String) throws(Refusal) {
        guard fields.count < Self.mostFields else {
            throw Refusal(kind: .tooLarge, reason: "the form has more than \(Self.mostFields) fields")
        }
        fields.append((name, value))
    }

    // MARK: name=value&name=value

    private mutating func readPairs(_ body: [UInt8], charset: String?) throws(Refusal) {
        for pair in body.split(separator: 0x26) {
            let parts = pair.split(separator: 0x3D, maxSplits: 1, omittingEmptySubsequences: false)
            let name = try Self.text(Self.unescaped(parts[0]), charset)
            let value = parts.count > 1 ? try Self.text(Self.unescaped(parts[1]), charset) : ""
            try add(name, value)
        }
    }

    /// `+` is a blank, `%41` a byte; a percent sign that begins no escape is itself, as browsers read it.
    private static func unescaped(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        var i = bytes.startIndex
        while i < bytes.endIndex {
            switch bytes[i] {
            case 0x2B: out.append(0x20)
            case 0x25:
                if i + 2 < bytes.endIndex, let byte = Digest.bytes(hex: bytes[i + 1...i + 2])?.first {
                    out.append(byte)
                    i += 2
                } else {
                    out.append(0x25)
                }
            default: out.append(bytes[i])
            }
            i += 1
        }
        return out
    }

    /// UTF-8; older pages post Latin-1 without saying so.
    private static func text(_ bytes: [UInt8], _ charset: String?) throws(Refusal) -> String {
        let isLatin = ["iso-8859-1", "windows-1252", "latin1"].contains(charset?.lowercased())
        if !isLatin, let text = String(validating: bytes, as: UTF8.self) { return try storable(text) }
        var text = String.UnicodeScalarView()
        for byte in bytes { text.append(Unicode.Scalar(byte)) }
        return try storable(String(text))
    }

    private static func storable(_ text: String) throws(Refusal) -> String {
        if text.utf8.contains(0) {
            throw Refusal(kind: .malformed, reason: "the form holds the character U+0000, which cannot be stored")
        }
        return text
    }

    // MARK: Parts (RFC 7578)

    private mutating func readParts(_ body: [UInt8], boundary: [UInt8]) throws(Refusal) {
        let mark = [0x2D, 0x2D] + boundary
        var lines = PartLines(body, mark: mark)
        guard lines.skipToFirst() else {
            throw Refusal(kind: .malformed, reason: "the form's first boundary is missing")
        }
        while !lines.isAtEnd {
            guard let part = lines.nextPart() else {
                throw Refusal(kind: .malformed, reason: "a part of the form has no end")
            }
            guard let blank = part.firstRange(of: [0x0D, 0x0A, 0x0D, 0x0A]) else {
                throw Refusal(kind: .malformed, reason: "a part of the form has no headers")
            }
            let headers = String(decoding: part[..<blank.lowerBound], as: UTF8.self)
            for line in headers.split(whereSeparator: \.isNewline)
            where line.lowercased().hasPrefix("content-disposition:") {
                let disposition = MediaType(String(line.dropFirst("content-disposition:".count)))
                guard disposition.name == "form-data", let name = disposition["name"] else { continue }
                // A file is nothing that a notice is made of.
                if disposition["filename"] != nil { continue }
                try add(Self.storable(name), Self.text(Array(part[blank.upperBound...]), nil))
            }
        }
    }
}

/// The bytes between boundaries.
private struct PartLines {
    private let body: [UInt8]
    private let mark: [UInt8]
    private var at = 0
    private(set) var isAtEnd = false

    init(_ body: [UInt8], mark: [UInt8]) {
        self.body = body
        self.mark = mark
    }

    mutating func skipToFirst() -> Bool {
        if body.starts(with: mark) {
            at = mark.count
        } else if let range = body.firstRange(of: [0x0D, 0x0A] + mark) {
            at = range.upperBound
        } else {
            return false
        }
        return closeLine()
    }

    mutating func nextPart() -> ArraySlice<UInt8>? {
        guard let range = body[at...].firstRange(of: [0x0D, 0x0A] + mark) else { return nil }
        let part = body[at..<range.lowerBound]
        at = range.upperBound
        return closeLine() ? part : nil
    }

    /// Behind a boundary: `--` for the last one, or the end of its line.
    private mutating func closeLine() -> Bool {
        if body[at...].starts(with: [0x2D, 0x2D]) {
            isAtEnd = true
            return true
        }
        while at < body.count, body[at] == 0x20 || body[at] == 0x09 { at += 1 }
        guard body[at...].starts(with: [0x0D, 0x0A]) else { return false }
        at += 2
        return true
    }
}

/// `name; parameter=value; other="quoted value"`, as in `Content-Type` and `Content-Disposition`.
struct MediaType {
    /// In lower case.
    let name: String
    private let parameters: [(name: String, value: String)]

    init(_ text: String) {
        var parts: [String] = []
        var part = ""
        var isQuoted = false
        var isEscaped = false
        for character in text.unicodeScalars {
            if isEscaped {
                part.unicodeScalars.append(character)
                isEscaped = false
            } else if isQuoted, character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                isQuoted.toggle()
            } else if character == ";", !isQuoted {
                parts.append(part)
                part = ""
            } else {
                part.unicodeScalars.append(character)
            }
        }
        parts.append(part)
        name = Given.text(parts[0])?.lowercased() ?? ""
        parameters = parts.dropFirst().compactMap { part in
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, let name = Given.text(pair[0]) else { return nil }
            return (name.lowercased(), Given.text(pair[1]) ?? "")
        }
    }

    /// `name` in lower case.
    subscript(_ name: String) -> String? { parameters.first { $0.name == name }?.value }
}
