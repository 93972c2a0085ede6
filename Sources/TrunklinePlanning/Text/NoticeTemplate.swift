internal import Mustache
package import TrunklineCore

/// One text with placeholders, in one language.
package struct NoticeTemplate: Sendable {
    /// In bytes.
    package static let longest = 16_384

    let tags: TemplateTags
    private let names: [String]
    private let mustache: MustacheTemplate

    /// - Throws: a sentence about the first thing that is wrong.
    package init(_ text: String) throws(TemplateTagError) {
        let tags = try TemplateTags(text)
        var names: [String] = []
        let rewritten = tags.mustache { name in
            if let known = names.firstIndex(of: name) { return known }
            names.append(name)
            return names.count - 1
        }
        self.tags = tags
        self.names = names
        // What is left is numbered names and sections that close: nothing that the library refuses.
        do {
            mustache = try MustacheTemplate(string: rewritten)
        } catch {
            throw TemplateTagError("the template's sections do not close as they open")
        }
    }

    /// Names that no fact of a kind has, in the order of the text; each once.
    func unknownNames(of kind: Moment.Kind) -> [String] {
        var unknown: [String] = []
        var open: [String] = []
        for piece in tags.pieces {
            switch piece {
            case .text: continue
            case .end: open.removeLast()
            case .value(let name), .section(let name), .inverted(let name):
                let isOfItem = open.contains("items") && Placeholder.ofItems.contains(name)
                let isKnown = isOfItem || Placeholder.isKnown(name, of: kind)
                // The list of items is written by a section, not by itself.
                if !isKnown || piece == .value("items"), !unknown.contains(name) { unknown.append(name) }
                if piece != .value(name) { open.append(name) }
            }
        }
        return unknown
    }

    /// The text. Nothing is escaped.
    ///
    /// - Throws: the names that would be written and have no value, each once.
    func render(_ values: FactValues, encode: @escaping (String) -> String = { $0 }) throws(MissingValues) -> String {
        var missing: [String] = []
        walk(tags.pieces[...], values, nil, &missing)
        guard missing.isEmpty else { throw MissingValues(names: missing) }
        return mustache.render(Row(names: names, values: values, item: nil, encode: encode))
    }

    /// Notes what is missing among the pieces that are written.
    private func walk(
        _ pieces: ArraySlice<TemplateTags.Piece>,
        _ values: FactValues,
        _ item: FactValues.Item?,
        _ missing: inout [String]
    ) {
        var at = pieces.startIndex
        while at < pieces.endIndex {
            switch pieces[at] {
            case .text, .end: break
            case .value(let name):
                if Row.text(name, values, item) == nil, !missing.contains(name) { missing.append(name) }
            case .section(let name), .inverted(let name):
                let end = Self.end(of: at, in: pieces)
                let inner = pieces[(at + 1)..<end]
                let isWritten = Row.isThere(name, values, item) == (pieces[at] == .section(name))
                if isWritten, name == "items", pieces[at] == .section(name) {
                    for item in values.items { walk(inner, values, item, &missing) }
                } else if isWritten {
                    walk(inner, values, item, &missing)
                }
                at = end
            }
            at += 1
        }
    }

    private static func end(of begin: Int, in pieces: ArraySlice<TemplateTags.Piece>) -> Int {
        var depth = 0
        for at in begin..<pieces.endIndex {
            switch pieces[at] {
            case .section, .inverted: depth += 1
            case .end: depth -= 1
            case .text, .value: break
            }
            if depth == 0 { return at }
        }
        return pieces.endIndex - 1
    }

    /// What the library sees: `v3` is a text, `s3` whether there is one, or the items.
    private struct Row: MustacheParent {
        let names: [String]
        let values: FactValues
        let item: FactValues.Item?
        let encode: (String) -> String

        func child(named name: String) -> Any? {
            guard let number = Int(name.dropFirst()), names.indices.contains(number) else { return nil }
            let word = names[number]
            guard name.utf8.first == 0x73 else { return Self.text(word, values, item).map(encode) }
            guard word == "items" else { return Self.isThere(word, values, item) }
            return values.items.map { Row(names: names, values: values, item: $0, encode: encode) }
        }

        static func text(_ name: String, _ values: FactValues, _ item: FactValues.Item?) -> String? {
            if let item {
                if name == "title" { return item.title }
                if name == "quantity" { return item.quantity }
            }
            return values[name]
        }

        static func isThere(_ name: String, _ values: FactValues, _ item: FactValues.Item?) -> Bool {
            name == "items" ? !values.items.isEmpty : text(name, values, item) != nil
        }
    }
}

struct MissingValues: Error, Hashable {
    let names: [String]
}

/// One text in the languages that it was written in.
package struct LocalTemplate: Sendable {
    /// By their tags; at least one.
    let texts: [LanguageTag: NoticeTemplate]
    /// What everybody else gets.
    let fallback: LanguageTag

    /// The text for the first of the languages that there is one for: as it is, without its region, or in another region.
    func text(for wishes: [LanguageTag]) -> (language: LanguageTag, template: NoticeTemplate)? {
        for wish in wishes {
            if let text = texts[wish] { return (wish, text) }
            let alike = texts.keys.filter { $0.base == wish.base }
            let nearest = alike.min { ($0.region ?? "", $0.value) < ($1.region ?? "", $1.value) }
            if let nearest, let text = texts[nearest] {
                return (wish, text)
            }
        }
        return texts[fallback].map { (fallback, $0) }
    }
}
