/// A Mustache template taken apart: names and sections, no partials, no lambdas, no pragmas.
///
/// Names may hold anything but braces, because columns are called "Order no." and "הזמנה"; swift-mustache takes only letters,
/// digits and a few signs, and reads a dot as a path. So ``mustache(_:)`` puts a number in the place of each name.
package struct TemplateTags: Sendable, Hashable {
    package enum Piece: Sendable, Hashable {
        case text(String)
        case value(String)
        case section(String)
        /// Written when there is no value.
        case inverted(String)
        case end(String)
    }

    package let pieces: [Piece]

    /// Whether there is anything but text in it.
    package let hasTags: Bool

    /// - Parameter noun: what its names are names of.
    /// - Throws: a sentence about the first thing that is wrong.
    package init(_ text: String, of noun: String = "names") throws(TemplateTagError) {
        var pieces: [Piece] = []
        var rest = text[...]
        var open: [String] = []
        var hasTags = false
        while let begin = rest.firstRange(of: "{{") {
            hasTags = true
            if begin.lowerBound > rest.startIndex { pieces.append(.text(String(rest[..<begin.lowerBound]))) }
            rest = rest[begin.upperBound...]
            let isTriple = rest.first == "{"
            if isTriple { rest.removeFirst() }
            guard let end = rest.firstRange(of: isTriple ? "}}}" : "}}") else {
                throw TemplateTagError("a tag of the template has no end")
            }
            var name = rest[..<end.lowerBound]
            rest = rest[end.upperBound...]
            let sign = isTriple ? nil : name.first
            switch sign {
            case "!": continue
            case "#", "^", "/", "&": name.removeFirst()
            case ">", "<", "$", "=", "%", "*":
                throw TemplateTagError("the template may hold \(noun) and sections only, no {{\(Self.shown(name))}}")
            default: break
            }
            let trimmed = Self.trimmed(name)
            guard trimmed != "." else { throw TemplateTagError("write a name in place of {{.}}") }
            guard !trimmed.isEmpty else { throw TemplateTagError("a tag of the template is empty") }
            switch sign {
            case "#", "^":
                open.append(trimmed)
                pieces.append(sign == "#" ? .section(trimmed) : .inverted(trimmed))
            case "/":
                guard open.popLast() == trimmed else {
                    throw TemplateTagError(
                        "{{/\(Self.shown(trimmed[...]))}} closes a section that is not the last one opened"
                    )
                }
                pieces.append(.end(trimmed))
            default: pieces.append(.value(trimmed))
            }
        }
        guard open.isEmpty else {
            throw TemplateTagError("the section {{#\(Self.shown(open[open.count - 1][...]))}} is never closed")
        }
        if !rest.isEmpty { pieces.append(.text(String(rest))) }
        self.pieces = pieces
        self.hasTags = hasTags
    }

    /// The template with every name replaced by its number: `{{{v3}}}` where a value is written, with three braces, so that
    /// nothing is escaped as HTML, and `s3` where a section asks for it.
    package func mustache<E>(_ number: (String) throws(E) -> Int) throws(E) -> String {
        var out = ""
        for piece in pieces {
            switch piece {
            case .text(let text): out += text
            case .value(let name): out += "{{{v\(try number(name))}}}"
            case .section(let name): out += "{{#s\(try number(name))}}"
            case .inverted(let name): out += "{{^s\(try number(name))}}"
            case .end(let name): out += "{{/s\(try number(name))}}"
            }
        }
        return out
    }

    private static func trimmed(_ name: Substring) -> String {
        var name = name
        while let first = name.first, first.isWhitespace { name.removeFirst() }
        while let last = name.last, last.isWhitespace { name.removeLast() }
        return String(name)
    }

    private static func shown(_ name: Substring) -> String { Printable.line(String(name.prefix(40))) }
}

/// Why a template cannot be read: one sentence, with no more of the template than a name.
package struct TemplateTagError: Error, Sendable, Hashable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
