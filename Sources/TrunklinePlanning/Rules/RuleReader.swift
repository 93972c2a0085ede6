internal import Foundation
internal import TrunklineCore
internal import Yams

/// Reads one rule.
struct RuleReader {
    var notes: YAMLNotes
    let lines: [LineID: LineRules]
    /// Of the source by name; nil for those that could not be read.
    let texts: [String: LocalTemplate?]
    let language: LanguageTag?

    mutating func read(_ place: YAMLPlace) -> NoticeRule? {
        let members = notes.members(place, known: ["when", "before", "if", "send"])
        for name in ["when", "send"] where members[name] == nil && place.node.mapping != nil {
            notes.note("\(name) is missing", at: place)
        }
        let words = Moment.allCases.map(\.rawValue).joined(separator: ", ")
        let moment = notes.value(members["when"], "no moment of that name; known: \(words)") { Moment(rawValue: $0) }
        let before = notes.value(
            members["before"],
            "it is 1 minute to 60 days, written 30m, 24h or 1d"
        ) { Offset($0) }
        if let moment, let place = members["before"], moment != .appointmentReminder {
            notes.note("only \(Moment.appointmentReminder.rawValue) has it", at: place)
        }
        let condition = members["if"].map { self.condition($0, moment) } ?? RuleCondition()
        guard let send = members["send"] else { return nil }
        return self.send(send, of: place, moment, before, condition)
    }

    private mutating func send(
        _ place: YAMLPlace,
        of rule: YAMLPlace,
        _ moment: Moment?,
        _ before: Offset?,
        _ condition: RuleCondition
    ) -> NoticeRule? {
        let members = notes.members(place, known: ["line", "template", "purpose", "key", "expires", "button"])
        for name in ["line", "template"] where members[name] == nil && place.node.mapping != nil {
            notes.note("\(name) is missing", at: place)
        }
        let line = members["line"].flatMap { self.line($0) }
        let template = members["template"].flatMap { notes.text($0) }
        let text = members["template"].flatMap { self.text($0, template, moment) }
        let purpose = members["purpose"].flatMap { self.purpose($0) }
        let suffix = members["key"].map { keySuffix($0) } ?? ""
        let lifetime = notes.value(members["expires"], "it is 1 minute to 60 days, written 30m, 24h or 7d") {
            Offset($0)
        }
        let button = members["button"].flatMap { self.button($0, moment) }
        guard let moment, let line, let template, let text, let suffix else { return nil }
        return NoticeRule(
            path: rule.path,
            moment: moment,
            before: before,
            condition: condition,
            line: line,
            template: template,
            text: text,
            button: button,
            purpose: purpose ?? moment.purpose,
            keySuffix: suffix,
            lifetime: lifetime?.duration
        )
    }

    private mutating func purpose(_ place: YAMLPlace) -> Purpose? {
        guard let word = notes.text(place) else { return nil }
        return notes.checked(place) { () throws(Refusal) in try Purpose(word: word) }
    }

    private mutating func line(_ place: YAMLPlace) -> LineID? {
        guard let name = notes.text(place), let id = notes.checked(place, { () throws(Refusal) in try LineID(name) })
        else { return nil }
        guard lines[id] != nil else {
            notes.note("the line \(YAMLNotes.shown(name)) is not named under 'lines'", at: place)
            return nil
        }
        return id
    }

    private mutating func text(_ place: YAMLPlace, _ name: String?, _ moment: Moment?) -> LocalTemplate? {
        guard let name else { return nil }
        guard let template = texts[name] else {
            notes.note("there is no template \(YAMLNotes.shown(name)) in this source's 'templates'", at: place)
            return nil
        }
        guard let template, let moment else { return nil }
        for (language, text) in template.texts.sorted(by: { $0.key.value < $1.key.value }) {
            check(text, " (\(language))", of: moment, place)
        }
        return template
    }

    private mutating func check(_ text: NoticeTemplate, _ which: String, of moment: Moment, _ place: YAMLPlace) {
        for name in text.unknownNames(of: moment.kind) {
            let shown = YAMLNotes.shown("{{" + name + "}}")
            if name == "items" {
                notes.note("the text\(which) writes \(shown) outside of a section {{#items}}…{{/items}}", at: place)
                continue
            }
            let known = Placeholder.names(of: moment.kind).joined(separator: ", ")
            notes.note(
                "the text\(which) names \(shown), which \(moment.kind.rawValue)s do not have; known: \(known), data.NAME",
                at: place
            )
        }
    }

    /// `{{key}}` and what stands behind it.
    private mutating func keySuffix(_ place: YAMLPlace) -> String? {
        guard let text = notes.text(place) else { return nil }
        let begin = "{{key}}"
        let suffix = text.hasPrefix(begin) ? String(text.dropFirst(begin.count)) : nil
        guard let suffix, suffix.isEmpty || (suffix.hasPrefix(":") && (try? IdempotencyKey(suffix)) != nil),
            suffix.utf8.count <= 40
        else {
            notes.note("it is {{key}}, or {{key}}:word with letters, digits and . _ : - (40 at most)", at: place)
            return nil
        }
        return suffix
    }

    private mutating func button(_ place: YAMLPlace, _ moment: Moment?) -> ButtonRule? {
        let members = notes.members(place, known: ["text", "url"])
        for name in ["text", "url"] where members[name] == nil && place.node.mapping != nil {
            notes.note("half a button: \(name) is missing", at: place)
        }
        let label = members["text"].flatMap { place in notes.localTemplate(place, language).map { (place, $0) } }
        let url = members["url"].flatMap { place in notes.template(place).map { (place, $0) } }
        guard let label, let url else { return nil }
        if let moment {
            for (language, text) in label.1.texts.sorted(by: { $0.key.value < $1.key.value }) {
                check(text, " (\(language))", of: moment, label.0)
            }
            check(url.1, "", of: moment, url.0)
        }
        return ButtonRule(label: label.1, url: url.1)
    }

    // MARK: Conditions

    private mutating func condition(_ place: YAMLPlace, _ moment: Moment?) -> RuleCondition {
        let members = notes.members(place, known: ["country", "language", "tag", "shipping", "status", "amount"])
        if let moment, moment.kind != .order {
            for name in ["tag", "shipping", "status", "amount"] {
                if let place = members[name] { notes.note("only orders have it", at: place) }
            }
        }
        var condition = RuleCondition()
        if let place = members["country"] {
            for text in notes.texts(place) {
                guard let country = RuleBookReader.country(text) else {
                    notes.note("it is not a country in two letters, like ES", at: place)
                    continue
                }
                condition.countries.append(country)
            }
        }
        if let place = members["language"] {
            for text in notes.texts(place) {
                guard let language = LanguageTag(text) else {
                    notes.note("it is not a language, like es", at: place)
                    continue
                }
                condition.languages.append(language)
            }
        }
        condition.tags = members["tag"].map { notes.texts($0) } ?? []
        condition.shipping = members["shipping"].map { notes.texts($0) } ?? []
        condition.states = members["status"].map { notes.texts($0) } ?? []
        condition.amount = members["amount"].flatMap { self.amount($0) }
        return condition
    }

    private mutating func amount(_ place: YAMLPlace) -> RuleCondition.Amount? {
        let members = notes.members(place, known: ["currency", "atLeast", "below"])
        let currency = notes.value(members["currency"], "it is not a currency in three letters, like EUR") {
            SourceFact.Money(amount: "0", currency: $0)?.currency
        }
        func number(_ name: String) -> Decimal? {
            notes.value(members[name], "it is not an amount, like 59.90") { text in
                SourceFact.Money(amount: text, currency: "EUR").flatMap {
                    Decimal(string: $0.amount, locale: Locale(identifier: "en_US_POSIX"))
                }
            }
        }
        let (atLeast, below) = (number("atLeast"), number("below"))
        if members["currency"] == nil { notes.note("currency is missing: an amount is nothing without it", at: place) }
        if members["atLeast"] == nil, members["below"] == nil {
            notes.note("it says neither atLeast nor below", at: place)
        }
        guard let currency else { return nil }
        return .init(currency: currency, atLeast: atLeast, below: below)
    }
}

extension NoticeRule {
    /// Whether nothing but the moment is asked.
    var isAlways: Bool { condition == RuleCondition() }

    func hasSameKey(as other: NoticeRule) -> Bool {
        moment == other.moment && before == other.before && keySuffix == other.keySuffix
    }

    /// Two notices of one fact need two keys.
    func noteSameKey(_ other: NoticeRule, _ place: YAMLPlace, _ notes: inout YAMLNotes) {
        notes.note(
            "the same moment and the same key as \(other.path): say another one, like send.key: \"{{key}}:second\"",
            at: place
        )
    }
}
