internal import Foundation
package import TrunklineCore
internal import Yams

extension RuleBook {
    /// Of `trunkline.yaml`, in bytes.
    package static let longestFile = 1 << 20
    /// The keys of `trunkline.yaml` that are read here.
    package static let keys = ["lines", "sources"]

    /// Reads `trunkline.yaml`.
    ///
    /// - Parameters:
    ///   - others: keys of the file that others read; any further one is refused.
    ///   - kinds: the kinds of sources that there are.
    /// - Throws: everything that is wrong, in the order of the file.
    package init(yaml: String, others: [String] = [], kinds: SourceRegistry) throws(RuleBookError) {
        var reader = RuleBookReader(kinds: kinds)
        guard let book = reader.book(yaml, others), reader.notes.problems.isEmpty else {
            throw RuleBookError(problems: reader.notes.problems)
        }
        self = book
    }
}

struct RuleBookReader {
    let kinds: SourceRegistry
    var notes = YAMLNotes()
    var lines: [LineID: LineRules] = [:]

    init(kinds: SourceRegistry) { self.kinds = kinds }

    mutating func book(_ yaml: String, _ others: [String]) -> RuleBook? {
        guard let root = notes.document(yaml, limit: RuleBook.longestFile) else {
            return notes.problems.isEmpty ? RuleBook(lines: [:], sources: [], text: "") : nil
        }
        let members = notes.members(root, known: RuleBook.keys + others)
        for (name, place) in entries(members["lines"]) {
            guard let line = line(name, place) else { continue }
            lines[line.id] = line
        }
        var sources: [SourceRules] = []
        for (name, place) in entries(members["sources"]) {
            guard let source = source(name, place) else { continue }
            sources.append(source)
        }
        let kept = RuleBook.keys.compactMap { name in members[name].map { (name, $0) } }
        guard let text = notes.text(of: kept, limit: RuleBook.longestFile) else { return nil }
        return RuleBook(lines: lines, sources: sources, text: text)
    }

    private mutating func entries(_ place: YAMLPlace?) -> [(name: String, place: YAMLPlace)] {
        guard let place else { return [] }
        return notes.entries(place)
    }

    private mutating func line(_ name: String, _ place: YAMLPlace) -> LineRules? {
        let id = notes.checked(place) { () throws(Refusal) in try LineID(name) }
        guard place.node.null == nil else {
            return id.map { LineRules(id: $0, timeZone: nil, quietHours: nil, consent: .unlessWithdrawn) }
        }
        let members = notes.members(place, known: ["timeZone", "quietHours", "consent"])
        let quiet = notes.value(members["quietHours"], "quiet hours are written 22:00-08:00") { QuietHours($0) }
        let zone = zone(members["timeZone"])
        if let place = members["quietHours"], members["timeZone"] == nil {
            notes.note("quiet hours need a timeZone beside them: nobody else's night is meant", at: place)
        }
        let words = LineRules.Consent.allCases.map(\.rawValue).joined(separator: ", ")
        let consent = notes.value(members["consent"], "it is one of \(words)") { LineRules.Consent(rawValue: $0) }
        return id.map { LineRules(id: $0, timeZone: zone, quietHours: quiet, consent: consent ?? .unlessWithdrawn) }
    }

    private mutating func zone(_ place: YAMLPlace?) -> TimeZone? {
        notes.value(place, "it is not the name of a zone, like Europe/Madrid") { TimeZone(identifier: $0) }
    }

    private mutating func source(_ name: String, _ place: YAMLPlace) -> SourceRules? {
        let id = notes.checked(place) { () throws(Refusal) in try SourceID(name) }
        let members = notes.members(
            place,
            known: ["kind", "country", "language", "timeZone", "leadConsent", "settings", "templates", "rules"]
        )
        if members["kind"] == nil, place.node.mapping != nil { notes.note("kind is missing", at: place) }
        let known = kinds.all.map(\.kind.value).joined(separator: ", ")
        let reader = notes.value(members["kind"], "there is no such kind of source; known: \(known)") { kinds[$0] }
        let (settings, given) = settings(members["settings"], reader)
        let country = notes.value(members["country"], "it is not a country in two letters, like ES", Self.country)
        let language = notes.value(members["language"], "it is not a language, like es") { LanguageTag($0) }
        let zone = zone(members["timeZone"])
        let consent = members["leadConsent"].flatMap { notes.text($0) }
        var texts: [String: LocalTemplate?] = [:]
        for (name, place) in entries(members["templates"]) {
            // One that cannot be read is there all the same: that it is missing would be said of every rule besides.
            texts[name] = .some(notes.localTemplate(place, language))
        }
        var rules: [NoticeRule] = []
        let places = members["rules"].map { notes.elements($0) } ?? []
        for place in places {
            var one = RuleReader(notes: notes, lines: lines, texts: texts, language: language)
            let read = one.read(place)
            notes = one.notes
            guard let read else { continue }
            if let other = rules.first(where: { $0.isAlways && read.isAlways && $0.hasSameKey(as: read) }) {
                read.noteSameKey(other, place, &notes)
            }
            rules.append(read)
        }
        guard let id, let reader else { return nil }
        return SourceRules(
            id: id,
            kind: reader.kind,
            settings: settings,
            givenSettings: given,
            country: country,
            timeZone: zone,
            leadConsent: consent,
            rules: rules,
            lines: lines
        )
    }

    private mutating func settings(_ place: YAMLPlace?, _ reader: (any Source)?) -> (SourceSettings, [String: String]?)
    {
        guard let place else { return (SourceSettings(), nil) }
        var given: [String: String] = [:]
        for (name, place) in notes.entries(place) {
            if let text = notes.text(place) { given[name] = text }
        }
        guard let reader else { return (SourceSettings(), given) }
        let checked = notes.checked(place) { () throws(Refusal) in try reader.checked(given) }
        return (checked ?? SourceSettings(), given)
    }

    static func country(_ text: String) -> String? {
        let upper = text.uppercased()
        return upper.utf8.count == 2 && upper.utf8.allSatisfy { (0x41...0x5A).contains($0) } ? upper : nil
    }

}

extension YAMLNotes {
    mutating func template(_ place: YAMLPlace) -> NoticeTemplate? {
        guard let text = text(place) else { return nil }
        guard text.utf8.count <= NoticeTemplate.longest else {
            note("it has more than \(NoticeTemplate.longest) bytes", at: place)
            return nil
        }
        do {
            return try NoticeTemplate(text)
        } catch {
            note(error.description, at: place)
            return nil
        }
    }

    /// `{es: "…", en: "…"}`, or one text for everybody.
    ///
    /// - Parameter language: the source's own, for those whose language there is no text in.
    mutating func localTemplate(_ place: YAMLPlace, _ language: LanguageTag?) -> LocalTemplate? {
        if place.node.scalar != nil {
            guard let template = template(place), let tag = language ?? LanguageTag("und") else { return nil }
            return LocalTemplate(texts: [tag: template], fallback: tag)
        }
        var texts: [LanguageTag: NoticeTemplate] = [:]
        var isWhole = true
        for (name, place) in entries(place) {
            guard let tag = LanguageTag(name) else {
                note("it is not a language, like es or pt-BR", at: place)
                isWhole = false
                continue
            }
            guard let template = template(place) else {
                isWhole = false
                continue
            }
            if texts.updateValue(template, forKey: tag) != nil { note("the same language is there twice", at: place) }
        }
        guard isWhole else { return nil }
        if let language {
            let fallback = texts[language] != nil ? language : texts.keys.first { $0.base == language.base }
            if let fallback { return LocalTemplate(texts: texts, fallback: fallback) }
            note("there is no text in the source's own language, \(language)", at: place)
        } else if texts.count == 1, let only = texts.keys.first {
            return LocalTemplate(texts: texts, fallback: only)
        } else {
            note(
                texts.isEmpty
                    ? "it holds no text"
                    : "several languages, and the source has no 'language' for all other customers",
                at: place
            )
        }
        return nil
    }
}
