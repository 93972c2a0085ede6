internal import TrunklineCore
internal import Yams

/// One thing that is wrong in `trunkline.yaml`: where, and what.
package struct RuleProblem: Sendable, Hashable, CustomStringConvertible {
    /// `sources.acme-shop.rules[2].send.template`; empty for the file itself.
    package let path: String
    /// From 1; nil when it is not known.
    package let line: Int?
    package let column: Int?
    /// Without the value at fault, unless it is a name that the file itself gives.
    package let words: String

    package var description: String {
        let place = line.map { path.isEmpty ? "line \($0)" : "\(path) (line \($0))" } ?? path
        return place.isEmpty ? words : "\(place): \(words)"
    }
}

/// All that is wrong in a file.
package struct RuleBookError: Error, Sendable, Hashable, CustomStringConvertible {
    package let problems: [RuleProblem]
    package var description: String { problems.map(\.description).joined(separator: "; ") }
}

/// A place in the file: what stands there, and the path to it.
struct YAMLPlace {
    let node: Node
    let path: String

    func member(_ name: String, _ node: Node) -> YAMLPlace {
        YAMLPlace(node: node, path: path.isEmpty ? name : path + "." + name)
    }

    func element(_ index: Int, _ node: Node) -> YAMLPlace {
        YAMLPlace(node: node, path: "\(path)[\(index)]")
    }
}

/// Reads places strictly, and goes on after a problem: whoever mends a file wants to know all of them at once.
struct YAMLNotes {
    private(set) var problems: [RuleProblem] = []

    mutating func note(_ words: String, at place: YAMLPlace) {
        let mark = place.node.mark
        problems.append(RuleProblem(path: place.path, line: mark?.line, column: mark?.column, words: words))
    }

    /// The document; nil when it is empty or cannot be read.
    ///
    /// - Parameter limit: in bytes.
    mutating func document(_ yaml: String, limit: Int) -> YAMLPlace? {
        guard yaml.utf8.count <= limit else {
            add("the file has more than \(limit) bytes", nil, nil)
            return nil
        }
        do {
            guard let node = try Yams.compose(yaml: yaml), node.null == nil else { return nil }
            return YAMLPlace(node: node, path: "")
        } catch {
            // The library quotes the line at fault, which may hold a secret.
            switch error as? YamlError {
            case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
                .composer(_, let problem, let mark, _):
                add("not valid YAML: \(Printable.line(problem))", mark.line, mark.column)
            case .duplicatedKeysInMapping(let keys, let context):
                let names = keys.map(Self.shown).joined(separator: ", ")
                add("\(names) is there twice", context.mark.line, context.mark.column)
            default: add("not valid YAML", nil, nil)
            }
            return nil
        }
    }

    private mutating func add(_ words: String, _ line: Int?, _ column: Int?) {
        problems.append(RuleProblem(path: "", line: line, column: column, words: words))
    }

    /// The members of a mapping by their names, those that are not known said.
    mutating func members(_ place: YAMLPlace, known: [String]) -> [String: YAMLPlace] {
        var members: [String: YAMLPlace] = [:]
        for (name, member) in entries(place) {
            guard known.contains(name) else {
                note("no field of that name; known: \(known.joined(separator: ", "))", at: member)
                continue
            }
            members[name] = member
        }
        return members
    }

    /// The members of a mapping, whatever they are called, in order.
    mutating func entries(_ place: YAMLPlace) -> [(name: String, place: YAMLPlace)] {
        guard let mapping = place.node.mapping else {
            note("it is not a list of 'name: value'", at: place)
            return []
        }
        var entries: [(name: String, place: YAMLPlace)] = []
        for (key, value) in mapping {
            guard let name = key.scalar?.string, !name.isEmpty, name.utf8.count <= 128 else {
                note("a name is not a text of 1 to 128 bytes", at: YAMLPlace(node: key, path: place.path))
                continue
            }
            entries.append((name, place.member(Self.plain(name), value)))
        }
        return entries
    }

    mutating func elements(_ place: YAMLPlace) -> [YAMLPlace] {
        guard let sequence = place.node.sequence else {
            note("it is not a list", at: place)
            return []
        }
        return sequence.enumerated().map { place.element($0.offset, $0.element) }
    }

    /// A text that is not empty; nil, and said, for anything else.
    mutating func text(_ place: YAMLPlace) -> String? {
        guard let text = place.node.scalar?.string else {
            note("it is not a text", at: place)
            return nil
        }
        guard !text.isEmpty, place.node.null == nil else {
            note("it has no value", at: place)
            return nil
        }
        return text
    }

    /// One text, or a list of them.
    mutating func texts(_ place: YAMLPlace) -> [String] {
        guard place.node.sequence != nil else { return text(place).map { [$0] } ?? [] }
        let texts = elements(place).compactMap { text($0) }
        if texts.isEmpty { note("the list is empty", at: place) }
        return texts
    }

    /// A text that something reads; what it throws or leaves nil is said.
    mutating func value<Value>(
        _ place: YAMLPlace?,
        _ otherwise: String,
        _ read: (String) -> Value?
    ) -> Value? {
        guard let place, let text = text(place) else { return nil }
        guard let value = read(text) else {
            note(otherwise, at: place)
            return nil
        }
        return value
    }

    mutating func checked<Value>(_ place: YAMLPlace, _ read: () throws(Refusal) -> Value) -> Value? {
        do {
            return try read()
        } catch {
            note(error.reason, at: place)
            return nil
        }
    }

    /// Some members of the document as a document of their own, without comments; nil, and said, where that cannot be read again
    /// as what it is. Empty when there are none.
    ///
    /// - Parameter limit: the most bytes that it may have.
    mutating func text(of members: [(name: String, place: YAMLPlace)], limit: Int) -> String? {
        guard !members.isEmpty else { return "" }
        let node = Node(members.map { (Node($0.name), $0.place.node) })
        guard let text = try? Yams.serialize(node: node, width: -1, allowUnicode: true),
            let again = try? Yams.compose(yaml: text), again == node
        else {
            add("these rules cannot be kept: write them without tags and references", nil, nil)
            return nil
        }
        // References are written out, and some characters as escapes: what workers read may be longer than the file.
        guard text.utf8.count <= limit else {
            add("these rules cannot be kept: written out they have more than \(limit) bytes", nil, nil)
            return nil
        }
        return text
    }

    /// A name out of the file, as it may be shown.
    static func shown(_ text: String) -> String { "'\(plain(text))'" }

    private static func plain(_ text: String) -> String { Printable.line(String(text.prefix(60))) }
}
