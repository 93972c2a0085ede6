internal import Foundation
package import TrunklineCore
internal import TrunklinePhones

/// Turns the facts of one event into notices, by the rules of their source. Pure: what is known is given, and so is the time.
package struct Planner: Sendable {
    let source: SourceRules

    package init(_ source: SourceRules) { self.source = source }

    /// What follows from an event.
    ///
    /// - Parameters:
    ///   - reading: of the source's reader.
    ///   - receivedAt: when the event came: the time of facts whose sender says none.
    ///   - now: what lies before it is not sent any more.
    ///   - known: what is known beside a fact.
    package func plan(
        _ reading: SourceReading,
        receivedAt: Timestamp,
        now: Timestamp,
        known: (SourceFact) -> Known = { _ in Known() }
    ) -> Plan {
        var plan = Plan()
        switch reading {
        case .ignored(let why): sayNothing(&plan, "the event leads to nothing: \(why.sentence)")
        case .fetch(let record):
            sayNothing(&plan, "the event only says that something changed: \(record) is read from the sender first")
        case .refused(let ask): plan.refused.append(.init(ask: ask, rule: nil))
        case .facts(let facts):
            var silences: [String: String] = [:]
            var spoke: Set<String> = []
            for fact in facts {
                let planning = FactPlanning(source, fact, known(fact), receivedAt: receivedAt, now: now)
                planning.add(to: &plan, &silences, &spoke)
            }
            // A rule that fired for one of several facts was not silent.
            plan.silences = source.rules.compactMap { rule in
                guard !spoke.contains(rule.path), let reason = silences[rule.path] else { return nil }
                return Plan.Silence(rule: rule.path, reason: reason)
            }
        }
        return plan
    }

    private func sayNothing(_ plan: inout Plan, _ reason: String) {
        plan.silences = source.rules.map { Plan.Silence(rule: $0.path, reason: reason) }
    }

    /// The number of the person whom a fact is about: the first that is a possible number, read by the record's own country
    /// and then by the source's. For whoever looks up what is known of that number.
    ///
    /// - Parameter record: what is known of the same record.
    /// - Throws: a refusal that says of each number why it is none; of kind `.policy` where one is no person's.
    package func recipient(of fact: SourceFact, record: SourceFact? = nil) throws(Refusal) -> PhoneNumber {
        let own = fact.person
        let person = own.phones.isEmpty ? record?.person ?? own : own
        guard !person.phones.isEmpty else {
            throw Refusal(
                kind: .invalid,
                field: "to",
                reason: "the event has no phone number, and none is known of its record"
            )
        }
        var reasons: [String] = []
        for (index, phone) in person.phones.enumerated() {
            do {
                return try number(phone, person.country ?? own.country)
            } catch {
                if error.kind == .policy { throw error }
                let which = person.phones.count == 1 ? "" : "number \(index + 1) of \(person.phones.count): "
                reasons.append(which + error.reason)
            }
        }
        throw Refusal(kind: .invalid, field: "to", reason: reasons.joined(separator: "; "))
    }

    private func number(_ phone: String, _ country: String?) throws(Refusal) -> PhoneNumber {
        try PhoneNumbers.e164(phone, country: country, else: source.country)
    }
}
