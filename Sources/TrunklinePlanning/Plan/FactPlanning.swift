internal import Foundation
internal import TrunklineCore

/// One fact on its way through the rules.
struct FactPlanning {
    let source: SourceRules
    let fact: SourceFact
    let known: Known
    let receivedAt: Timestamp
    let now: Timestamp

    /// By the sender's clock, else when it came.
    let factAt: Timestamp
    let subject: String
    let moment: Moment?
    let language: LanguageTag?
    let country: String?

    init(_ source: SourceRules, _ fact: SourceFact, _ known: Known, receivedAt: Timestamp, now: Timestamp) {
        self.source = source
        self.fact = fact
        self.known = known
        self.receivedAt = receivedAt
        self.now = now
        // A time of the far future would outlive whatever really comes later: the record's own is bounded alike.
        let at = fact.record.at ?? receivedAt
        factAt = at > now + ContactFacts.tolerance ? receivedAt : at
        subject = fact.subject(from: source.id)
        moment = Moment(fact)
        let person = fact.person
        let languages = [person.language, known.contact?.language, known.record?.person.language]
        language = languages.compactMap { $0 }.compactMap { LanguageTag($0) }.first
        country = person.country ?? known.record?.person.country ?? known.contact?.country ?? source.country
    }

    /// What became of one rule.
    private enum Verdict {
        case notice(Plan.Notice)
        case held(Plan.Held)
        case silent(String)
        case failed(Refusal)
        case refused(PolicyAsk)
    }

    func add(to plan: inout Plan, _ silences: inout [String: String], _ spoke: inout Set<String>) {
        var keys: [IdempotencyKey] = []
        for rule in source.rules {
            if let reason = silence(rule) {
                if silences[rule.path] == nil || reason.isOfThisMoment { silences[rule.path] = reason.words }
                continue
            }
            switch verdict(rule, plan) {
            case .silent(let words):
                silences[rule.path] = words
                continue
            case .notice(let notice):
                keys.append(notice.job.key)
                plan.notices.append(notice)
            case .held(let held):
                keys.append(held.key)
                plan.held.append(held)
            case .failed(let refusal): plan.failures.append(.init(rule: rule.path, refusal: refusal))
            case .refused(let ask): plan.refused.append(.init(ask: ask, rule: rule.path))
            }
            spoke.insert(rule.path)
        }
        if let cancellations = cancellations(keeping: keys) { plan.cancellations += cancellations }
    }

    // MARK: Which rules fire

    private struct Reason {
        let words: String
        /// Whether the moment was right, and something else was not.
        let isOfThisMoment: Bool
    }

    private func silence(_ rule: NoticeRule) -> Reason? {
        guard let moment else {
            return Reason(words: "no notice is made of this: \(fact)", isOfThisMoment: false)
        }
        let isPlannedReminder = rule.moment == .appointmentReminder && rule.before != nil
        let isMeant =
            isPlannedReminder
            ? [.appointmentBooked, .appointmentMoved].contains(moment) : rule.moment == moment
        guard isMeant else {
            return Reason(
                words: "this is \(moment.rawValue), and the rule is for \(rule.moment.rawValue)",
                isOfThisMoment: false
            )
        }
        let total = fact.total ?? known.record?.total
        if let words = rule.condition.failure(fact, country: country, language: language, total: total) {
            return Reason(words: words, isOfThisMoment: true)
        }
        return (stale ?? overtaken(rule) ?? told(rule)).map { Reason(words: $0, isOfThisMoment: true) }
    }

    /// Why the whole fact is no news.
    var stale: String? {
        guard case .appointment = fact, case .appointment(let newer)? = known.record, let at = newer.record.at,
            at > factAt
        else { return nil }
        return "a newer state of this appointment is known, of \(at)"
    }

    private func overtaken(_ rule: NoticeRule) -> String? {
        guard let stage = rule.moment.stage else { return nil }
        if let endedAt = known.endedAt, endedAt > factAt, rule.moment != .orderCancelled {
            return "the order was cancelled or refunded at \(endedAt), after this"
        }
        guard !rule.moment.isOfParcel else { return nil }
        let further = known.notices.first { notice in
            guard notice.subject == subject, let other = notice.moment.stage else { return false }
            return other > stage && notice.factAt > factAt
        }
        return further.map { "the order has come further: \($0.moment.rawValue) was told of \($0.factAt)" }
    }

    private func told(_ rule: NoticeRule) -> String? {
        if case .order(let order) = fact, case .trackingChanged(_, let number) = order.moment,
            known.notices.contains(where: { $0.subject == subject && $0.trackingNumber == number })
        {
            return "the customer was told this tracking number already"
        }
        guard rule.moment == .leadCreated, (try? SendJob.checkYear(ofNotBefore: factAt)) != nil,
            let key = try? key(rule)
        else { return nil }
        let calendar = calendar(rule)
        // Two forms make two leads of one person.
        let other = known.notices.first { notice in
            notice.moment == .leadCreated && notice.line == rule.line && notice.key != key
                && calendar.isDate(notice.factAt.date, inSameDayAs: factAt.date)
        }
        return other.map { "the person got a first message of this line on the same day (\($0.key))" }
    }

    /// In which the line's people count their days.
    private func calendar(_ rule: NoticeRule) -> Calendar {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = lineZone(rule) ?? .gmt
        return calendar
    }

    private func day(_ rule: NoticeRule) -> String? {
        guard rule.moment == .leadCreated else { return nil }
        let parts = calendar(rule).dateComponents([.year, .month, .day], from: factAt.date)
        return [parts.year, parts.month, parts.day].map { part in
            let text = String(part ?? 0)
            return text.utf8.count < 2 ? "0" + text : text
        }.joined(separator: "-")
    }

    // MARK: Notices

    private func verdict(_ rule: NoticeRule, _ plan: Plan) -> Verdict {
        do throws(Refusal) {
            if rule.moment == .leadCreated, let field = source.leadConsent, !hasAgreed(field) {
                return .refused(.coldOutbound)
            }
            let to = try Planner(source).recipient(of: fact, record: known.record)
            guard let key = try key(rule) else {
                throw Refusal(kind: .invalid, field: "key", reason: "the fact does not say what its key is made of")
            }
            if let other = plan.notices.first(where: { $0.job.key == key }) {
                throw Refusal(
                    kind: .conflict,
                    field: "key",
                    reason: "\(other.rule) has the same key: give one a key of its own"
                )
            }
            let times: NoticeTimes
            switch try self.times(rule) {
            case .past(let words): return .silent(words)
            case .times(let found): times = found
            }
            let made = try notice(rule, to: to, key: key, times)
            if let reason = consentMissing(rule) {
                return .held(.init(rule: rule.path, line: rule.line, key: key, reason: reason, until: times.sendBefore))
            }
            return .notice(made)
        } catch {
            // What is no person's number is a group's or a channel's; which of them only a reader of the sender knows.
            return error.kind == .policy && error.field == "to" ? .refused(.group) : .failed(error)
        }
    }

    private func notice(_ rule: NoticeRule, to: PhoneNumber, key: IdempotencyKey, _ times: NoticeTimes) throws(Refusal)
        -> Plan.Notice
    {
        let wishes = [fact.person.language, known.contact?.language, known.record?.person.language]
            .compactMap { $0 }.compactMap { LanguageTag($0) }
        guard let (language, text) = rule.text.text(for: wishes) else {
            throw Refusal(kind: .invalid, field: "body", reason: "the template \(rule.template) has no text")
        }
        let words = LocalWords(language: language, country: country, zone: readingZone(rule))
        let values = FactValues(fact, person: person, record: known.record, source: source.id, words: words)
        let body = try Self.render(text, values, "body", rule.template)
        let supersedeKey = supersedeKey(rule, key)
        let job = try SendJob(
            line: rule.line,
            key: key,
            to: to,
            body: body,
            button: button(rule, values, wishes),
            purpose: rule.purpose,
            notBefore: times.notBefore,
            sendBefore: times.sendBefore,
            supersedeKey: supersedeKey,
            factAt: factAt,
            tags: tags(rule, values)
        )
        return Plan.Notice(
            rule: rule.path,
            moment: rule.moment,
            subject: subject,
            job: job,
            language: language.value,
            quiet: times.quiet,
            day: day(rule)
        )
    }

    static func render(
        _ template: NoticeTemplate,
        _ values: FactValues,
        _ field: String,
        _ name: String,
        encode: @escaping (String) -> String = { $0 }
    ) throws(Refusal) -> String {
        do {
            return try template.render(values, encode: encode)
        } catch {
            let names = error.names.joined(separator: ", ")
            throw Refusal(
                kind: .invalid,
                field: field,
                reason: "the template \(name) needs \(names), which this event does not have: "
                    + "put what may be missing into a section, {{#\(error.names[0])}}…{{/\(error.names[0])}}"
            )
        }
    }

    /// Nil where its address comes out blank: what may be missing stands in a section.
    private func button(_ rule: NoticeRule, _ values: FactValues, _ wishes: [LanguageTag]) throws(Refusal) -> Button? {
        guard let button = rule.button, let (_, label) = button.label.text(for: wishes) else { return nil }
        // An address that is one value is an address; in any other one a value is a part, and may hold what an address may not.
        let isWhole = !button.url.tags.pieces.contains { if case .text = $0 { true } else { false } }
        let url = try Self.render(button.url, values, "button.url", "of the button's address") { value in
            isWhole ? value : value.addingPercentEncoding(withAllowedCharacters: .unreservedInAddresses) ?? ""
        }
        guard !url.isEmpty else { return nil }
        return try Button(text: Self.render(label, values, "button.text", "of the button's text"), url: url)
    }

    private func tags(_ rule: NoticeRule, _ values: FactValues) -> [String: String] {
        var tags = ["source": source.id.value, "moment": rule.moment.rawValue]
        if let number = values["number"], number.unicodeScalars.count <= 64 { tags["order"] = number }
        if rule.moment.isOfParcel, let number = values["tracking_number"], number.unicodeScalars.count <= 128 {
            tags["tracking"] = number
        }
        return tags
    }

    private var person: SourceFact.Person {
        let own = fact.person
        let before = known.record?.person
        let isNamed = own.name != nil || own.firstName != nil
        let wasNamed = before?.name != nil || before?.firstName != nil
        return SourceFact.Person(
            name: isNamed ? own.name : wasNamed ? before?.name : known.contact?.name,
            firstName: isNamed ? own.firstName : wasNamed ? before?.firstName : known.contact?.firstName
        )
    }

    // MARK: Consent

    private func hasAgreed(_ field: String) -> Bool {
        if known.contact?.consent == .given { return true }
        guard let answer = fact.details[field] else { return false }
        // Forms send what stands beside the box, in any language.
        let no: Set<String> = ["", "0", "false", "no", "off", "null", "none", "unchecked"]
        return !no.contains(answer.trimmingCharacters(in: .whitespacesAndNewlines).lowercased())
    }

    private func consentMissing(_ rule: NoticeRule) -> String? {
        switch (source.lines[rule.line]?.consent ?? .unlessWithdrawn, known.contact?.consent) {
        case (_, .withdrawn?): "the person has withdrawn the consent to be written to"
        case (.required, nil): "the line writes only to people who agreed to it, and this person was not asked"
        case (.required, .given?), (.unlessWithdrawn, _): nil
        }
    }
}

extension CharacterSet {
    /// RFC 3986, 2.3.
    fileprivate static let unreservedInAddresses = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    )
}

extension SourceFact {
    var total: Money? {
        guard case .order(let order) = self else { return nil }
        return order.total
    }
}
