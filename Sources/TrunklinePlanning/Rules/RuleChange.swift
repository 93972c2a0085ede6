internal import Yams

/// One difference between two books of rules, for people.
package struct RuleChange: Sendable, Hashable, CustomStringConvertible {
    package enum Kind: String, Sendable, Hashable { case added, removed, changed }

    package let kind: Kind
    /// `sources.acme-shop.rules[2]`: in the later book, of what is removed in the earlier one.
    package let path: String
    /// What it is, or was; empty where the path says all.
    package let words: String

    package var description: String {
        let word =
            switch kind {
            case .added: "+"
            case .removed: "-"
            case .changed: "~"
            }
        return words.isEmpty ? "\(word) \(path)" : "\(word) \(path): \(words)"
    }
}

extension RuleBook {
    /// What is other than in an earlier book: lines, sources, templates and rules, in the order of this one, with what is gone
    /// at the end of its list. Empty where only the way of writing differs.
    ///
    /// - Parameter earlier: a ``RuleBook/text``; empty for none.
    package func changes(from earlier: String) -> [RuleChange] {
        var comparison = RuleComparison()
        for name in RuleBook.keys {
            comparison.compare(name, RuleComparison.member(name, earlier), RuleComparison.member(name, text))
        }
        return comparison.changes
    }
}

/// Compares two documents of rules, as nodes: what a rule means is nobody's business here.
private struct RuleComparison {
    private(set) var changes: [RuleChange] = []

    static func member(_ name: String, _ yaml: String) -> Node? {
        (try? Yams.compose(yaml: yaml))?.mapping?[name]
    }

    /// The members of `lines` or `sources`.
    mutating func compare(_ path: String, _ before: Node?, _ after: Node?) {
        let (old, new) = (Self.entries(before), Self.entries(after))
        for (name, node) in new {
            let place = path + "." + name
            guard let earlier = old.first(where: { $0.name == name }) else {
                note(.added, place, Self.words(node))
                continue
            }
            guard earlier.node != node else { continue }
            fields(place, earlier.node, node)
        }
        for (name, node) in old where !new.contains(where: { $0.name == name }) {
            note(.removed, path + "." + name, Self.words(node))
        }
    }

    /// The fields of one line or source; templates and rules one by one.
    private mutating func fields(_ path: String, _ before: Node, _ after: Node) {
        let (old, new) = (Self.entries(before), Self.entries(after))
        for (name, node) in new {
            let place = path + "." + name
            let earlier = old.first { $0.name == name }?.node
            guard earlier != node else { continue }
            switch name {
            case "templates": compare(place, earlier, node)
            case "rules": rules(place, earlier, node)
            default: value(place, earlier, node)
            }
        }
        for (name, node) in old where !new.contains(where: { $0.name == name }) {
            let place = path + "." + name
            switch name {
            case "templates": compare(place, node, nil)
            case "rules": rules(place, node, nil)
            default: value(place, node, nil)
            }
        }
    }

    private mutating func value(_ path: String, _ before: Node?, _ after: Node?) {
        let words = [before, after].map { $0.map(Self.value) ?? "nothing" }.joined(separator: " becomes ")
        note(before == nil ? .added : after == nil ? .removed : .changed, path, words)
    }

    /// Those that stand in both are the same, wherever they stand. Of the others, two for the same moment are one that changed.
    private mutating func rules(_ path: String, _ before: Node?, _ after: Node?) {
        var old = (before?.sequence.map { Array($0) } ?? []).enumerated().map { (index: $0.offset, node: $0.element) }
        var new = (after?.sequence.map { Array($0) } ?? []).enumerated().map { (index: $0.offset, node: $0.element) }
        new.removeAll { rule in
            guard let same = old.firstIndex(where: { $0.node == rule.node }) else { return false }
            old.remove(at: same)
            return true
        }
        for (index, rule) in new {
            let place = "\(path)[\(index)]"
            guard let earlier = old.firstIndex(where: { Self.moment($0.node) == Self.moment(rule) }) else {
                note(.added, place, Self.rule(rule))
                continue
            }
            let was = old.remove(at: earlier)
            note(.changed, place, "\(Self.rule(was.node)) becomes \(Self.rule(rule))")
        }
        for (index, rule) in old { note(.removed, "\(path)[\(index)]", Self.rule(rule)) }
    }

    private mutating func note(_ kind: RuleChange.Kind, _ path: String, _ words: String) {
        changes.append(RuleChange(kind: kind, path: path, words: words))
    }

    // MARK: Words

    private static func entries(_ node: Node?) -> [(name: String, node: Node)] {
        (node?.mapping.map { Array($0) } ?? []).compactMap { key, value in key.scalar.map { ($0.string, value) } }
    }

    private static func moment(_ rule: Node) -> [String] {
        [rule["when"], rule["before"], rule["send"]?["key"]].map { $0?.scalar?.string ?? "" }
    }

    /// `order.ready (country ES, PT) sends ready on acme-es`.
    private static func rule(_ rule: Node) -> String {
        let send = entries(rule["send"])
        func text(_ name: String) -> String { send.first { $0.name == name }.map { value($0.node) } ?? "?" }
        var words = rule["when"].map(value) ?? "?"
        if let before = rule["before"] { words += " \(value(before)) before" }
        let conditions = entries(rule["if"]).map { "\($0.name) \(value($0.node))" }
        if !conditions.isEmpty { words += " (\(conditions.joined(separator: "; ")))" }
        words += " sends \(text("template")) on \(text("line"))"
        let more = send.filter { !["line", "template"].contains($0.name) }.map { "\($0.name) \(value($0.node))" }
        return more.isEmpty ? words : words + " (\(more.joined(separator: "; ")))"
    }

    /// What a new or a dropped line, source or template is.
    private static func words(_ node: Node) -> String {
        guard let rules = node["rules"]?.sequence else { return "" }
        return rules.count == 1 ? "1 rule" : "\(rules.count) rules"
    }

    /// On one line, and not longer than people read.
    private static func value(_ node: Node) -> String {
        switch node {
        case .scalar(let scalar): return scalar.string.count > 60 ? scalar.string.prefix(60) + "…" : scalar.string
        case .sequence(let sequence): return sequence.map(value).joined(separator: ", ")
        case .mapping: return entries(node).map { "\($0.name) \(value($0.node))" }.joined(separator: ", ")
        case .alias: return "?"
        }
    }
}
