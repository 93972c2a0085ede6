internal import Synchronization
package import TrunklineCore

/// Runs events by their workspace's rules: what another runner keeps of them, and the notices that follow.
package struct PlanningRunner: EventRunner {
    /// Words about rules that are kept with an event, and the longest.
    private static let mostWords = 64
    private static let longestWords = 300

    private let facts: any EventRunner
    private let books: RuleBookShelf

    /// - Parameters:
    ///   - facts: reads events, and says what they mean for contacts and orders.
    ///   - kinds: that rules may name.
    package init(facts: any EventRunner, kinds: SourceRegistry) {
        self.facts = facts
        books = RuleBookShelf(kinds)
    }

    package func reads(_ kind: String) -> Bool { facts.reads(kind) }

    package func name(_ event: ReceivedEvent, from source: SourceID, kind: String) -> EventName {
        facts.name(event, from: source, kind: kind)
    }

    package func read(_ event: StoredEvent) -> ReadEvent {
        var read = facts.read(event)
        guard case .success(.facts(let facts)) = read.reading, let rules = SourceRules(of: event) else { return read }
        let planner = Planner(rules)
        for fact in facts {
            if let phone = try? planner.recipient(of: fact) { read.needs.phones.insert(phone) }
            read.needs.subjects.insert(fact.subject(from: event.source))
            if let before = fact.before { read.needs.subjects.insert(before.subject(from: event.source)) }
            if case .order(let order) = fact, let id = try? OrderID("\(event.source).\(order.record.id)") {
                read.needs.orders.insert(id)
            }
        }
        return read
    }

    package func run(_ event: ReadEvent, knowing known: EventKnowledge, now: Timestamp) -> EventOutcome {
        let outcome = facts.run(event, knowing: known, now: now)
        guard case .planned(var plan) = outcome, case .success(let reading) = event.reading,
            case .facts(let facts) = reading
        else { return outcome }
        guard let book = books.book(known.rules) else {
            return .unplannable("its rules cannot be read by this program")
        }
        let stored = event.event
        guard var rules = book[source: stored.source] ?? SourceRules(of: stored) else { return outcome }
        rules.country = stored.country ?? rules.country
        let planner = Planner(rules)
        let receivedAt = stored.event.receivedAt
        let own = plan.contacts
        let planned = planner.plan(reading, receivedAt: receivedAt, now: now) { fact in
            var about = known.about(fact, from: stored.source, planner)
            let phone = try? planner.recipient(of: fact, record: about.record)
            about.agree(own.first { $0.phone == phone }?.facts)
            return about
        }
        plan.rules = known.rules?.revision
        plan.notices = planned.notices.map { notice in
            EventPlan.Notice(
                rule: notice.rule,
                moment: notice.moment.rawValue,
                subject: notice.subject,
                job: notice.job,
                trackingNumber: notice.job.tags["tracking"],
                once: notice.day.map { "first_touch:\(notice.job.line):\(notice.job.to.value):\($0)" }
            )
        }
        plan.cancellations = planned.cancellations.map {
            .init(subject: $0.subject, patterns: $0.patterns, keys: $0.keys, keeping: $0.keeping, factAt: $0.factAt)
        }
        let ended = Set(planned.cancellations.map(\.subject))
        plan.records = facts.flatMap { records(of: $0, stored, now, ending: ended, planner) }
        plan.words = Self.words(planned)
        plan.refused = planned.refused.map { .init($0.ask, rule: $0.rule) }
        return .planned(plan)
    }

    /// What is kept of a fact for the plans of later events.
    private func records(
        of fact: SourceFact,
        _ event: StoredEvent,
        _ now: Timestamp,
        ending ended: Set<String>,
        _ planner: Planner
    ) -> [EventPlan.RecordToKeep] {
        switch fact {
        case .contact, .lead: return []
        case .order, .appointment: break
        }
        let subject = fact.subject(from: event.source)
        var at = fact.record.at ?? event.event.receivedAt
        // Nothing newer could follow it.
        if at > now + ContactFacts.tolerance { at = event.event.receivedAt }
        let isOrder = if case .order = fact { true } else { false }
        let facts = RecordDocument.document(fact, phone: try? planner.recipient(of: fact))
        let own = EventPlan.RecordToKeep(
            subject: subject,
            facts: facts,
            at: at,
            ends: isOrder && ended.contains(subject)
        )
        guard let before = fact.before?.subject(from: event.source), before != subject else { return [own] }
        // What comes late of the appointment under its former id is no news any more.
        return [own, .init(subject: before, facts: .object([]), at: at, ends: false)]
    }

    private static func words(_ plan: Plan) -> [EventPlan.Word] {
        let words =
            plan.failures.map { EventPlan.Word(.failed, rule: $0.rule, $0.refusal.reason) }
            + plan.refused.map { .init(.refused, rule: $0.rule ?? "", $0.ask.sentence) }
            + plan.held.map { .init(.held, rule: $0.rule, $0.reason) }
            + plan.silences.map { .init(.silent, rule: $0.rule, $0.reason) }
        return words.prefix(mostWords).map { word in
            EventPlan.Word(word.kind, rule: word.rule, Printable.line(String(word.words.prefix(longestWords))))
        }
    }
}

/// Books by their texts: an event must not cost the reading of all rules.
private final class RuleBookShelf: Sendable {
    private static let most = 32

    private let kinds: SourceRegistry
    /// Nil: those that cannot be read.
    private let books = Mutex<[String: RuleBook?]>([:])

    init(_ kinds: SourceRegistry) { self.kinds = kinds }

    /// Nil for rules that this program cannot read: a later one has applied them.
    func book(_ rules: EventKnowledge.Rules?) -> RuleBook? {
        let text = rules?.text ?? ""
        return books.withLock { books in
            if let known = books[text] { return known }
            let book = try? RuleBook(yaml: text, kinds: kinds)
            if books.count >= Self.most { books.removeAll() }
            books.updateValue(book, forKey: text)
            return book
        }
    }
}

extension SourceRules {
    /// Of a source without rules: its facts still end what was planned before.
    fileprivate init?(of event: StoredEvent) {
        guard let kind = try? SourceKind(event.kind) else { return nil }
        self.init(
            id: event.source,
            kind: kind,
            settings: event.settings,
            givenSettings: nil,
            country: event.country,
            timeZone: nil,
            leadConsent: nil,
            rules: [],
            lines: [:]
        )
    }
}

extension SourceFact {
    /// The record that a moved appointment was before.
    fileprivate var before: SourceFact? {
        guard case .appointment(let appointment) = self, let id = appointment.previousID else { return nil }
        return .appointment(.init(record: .init(id: id, at: nil), moment: .moved, person: Person(), start: nil))
    }
}

extension Known {
    /// Whether the person agrees, by what the event itself says; what is known already goes before.
    fileprivate mutating func agree(_ own: ContactFacts?) {
        guard contact?.consent == nil, let consent = own.flatMap(Contact.Consent.init) else { return }
        var person = contact ?? Contact()
        person.consent = consent
        contact = person
    }
}

extension Known.Contact.Consent {
    fileprivate init?(_ contact: ContactFacts) {
        switch contact.consent {
        case ContactFacts.consentGiven: self = .given
        case ContactFacts.consentWithdrawn: self = .withdrawn
        default: return nil
        }
    }
}

extension EventKnowledge {
    /// What is known beside a fact.
    fileprivate func about(_ fact: SourceFact, from source: SourceID, _ planner: Planner) -> Known {
        let subject = fact.subject(from: source)
        let order: Order? =
            if case .order = fact, let id = try? OrderID("\(source).\(fact.record.id)") { orders[id] } else { nil }
        var known = Known()
        if let record = records[subject] {
            known.record = RecordDocument.fact(record.facts, like: fact, at: record.factAt)
            known.endedAt = record.endedAt
        } else if let order {
            known.record = RecordDocument.fact(order, like: fact)
        }
        // Of an order that another program has ended.
        if let order, let at = order.stateAt, ["cancelled", "refunded", "removed"].contains(order.facts.state ?? "") {
            known.endedAt = max(known.endedAt ?? at, at)
        }
        let recipient = try? planner.recipient(of: fact, record: known.record)
        known.contact = recipient.flatMap { contacts[$0] }.map { contact in
            Known.Contact(
                name: contact.name,
                language: contact.language,
                country: contact.country,
                consent: .init(contact)
            )
        }
        known.notices = notices.compactMap { notice in
            let moment = Moment(rawValue: notice.moment)
            // A first touch of somebody else is none of this person.
            guard let moment, moment != .leadCreated || notice.recipient == recipient?.value,
                let key = try? IdempotencyKey(notice.key), let line = try? LineID(notice.line)
            else { return nil }
            return Known.Notice(
                key: key,
                subject: notice.subject,
                moment: moment,
                line: line,
                supersedeKey: notice.supersedeKey,
                factAt: notice.factAt,
                trackingNumber: notice.trackingNumber,
                isWaiting: notice.isWaiting,
                isCancelled: notice.isCancelled
            )
        }
        return known
    }
}
