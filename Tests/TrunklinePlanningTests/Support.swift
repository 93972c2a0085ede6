import Foundation
import Testing
import TrunklineCore
import TrunklineIntegrations

@testable import TrunklinePlanning

/// 2026-11-30, a Monday, noon in Madrid.
let noon = moment("2026-11-30T11:00:00Z")

func moment(_ text: String) -> Timestamp {
    guard let moment = Timestamp(rfc3339: text) else { preconditionFailure("no time: \(text)") }
    return moment
}

func book(_ yaml: String) throws -> RuleBook { try RuleBook(yaml: yaml, kinds: .standard) }

/// What is wrong with a file, a sentence each.
func problems(_ yaml: String) -> [String] {
    do {
        _ = try RuleBook(yaml: yaml, others: ["logLevel"], kinds: .standard)
        return []
    } catch {
        return error.problems.map(\.description)
    }
}

/// A source of one line and one template, which every rule sends.
func shop(
    _ rules: String,
    template: String = "{es: \"Pedido {{id}}\", en: \"Order {{id}}\"}",
    line: String = "{timeZone: Europe/Madrid}",
    more: String = ""
) throws -> Planner {
    let yaml = """
        lines:
          one: \(line)
          two: {timeZone: Europe/Madrid}
        sources:
          shop:
            kind: custom
            country: ES
            language: es
            timeZone: Europe/Madrid
        \(more.isEmpty ? "" : "    \(more)")
            templates:
              it: \(template)
            rules:
        \(rules.split(separator: "\n").map { "      \($0)" }.joined(separator: "\n"))
        """
    return Planner(try #require(try book(yaml).sources.first))
}

extension Planner {
    func plan(
        _ fact: SourceFact,
        _ known: Known = Known(),
        receivedAt: Timestamp = noon,
        now: Timestamp = noon
    ) -> Plan {
        plan(.facts([fact]), receivedAt: receivedAt, now: now) { _ in known }
    }
}

let ana = SourceFact.Person(name: "Ana Ruiz", phones: ["600 111 222"], country: "ES", language: "es-ES")

func order(
    _ moment: SourceFact.OrderMoment,
    id: String = "1042",
    at: Timestamp? = noon,
    person: SourceFact.Person = ana,
    state: String? = nil,
    total: SourceFact.Money? = nil,
    items: [SourceFact.Item] = [],
    shipment: SourceFact.Shipment? = nil,
    links: [SourceFact.Link] = [],
    details: [String: String] = [:]
) -> SourceFact {
    .order(
        .init(
            record: .init(id: id, at: at),
            moment: moment,
            number: "#" + id,
            state: state,
            person: person,
            total: total,
            items: items,
            shipment: shipment,
            links: links,
            details: details
        )
    )
}

func appointment(
    _ moment: SourceFact.Appointment.Moment,
    id: String = "a1",
    at: Timestamp? = noon,
    start: String?,
    zone: String? = "Europe/Madrid",
    previousID: String? = nil,
    person: SourceFact.Person = ana
) -> SourceFact {
    .appointment(
        .init(
            record: .init(id: id, at: at),
            moment: moment,
            person: person,
            start: start.map { TrunklinePlanningTests.moment($0) },
            timeZone: zone,
            previousID: previousID
        )
    )
}

func lead(_ id: String, details: [String: String] = [:], person: SourceFact.Person = ana) -> SourceFact {
    .lead(.init(record: .init(id: id, at: noon), person: person, origin: "form", details: details))
}

func line(_ id: String) -> LineID {
    do { return try LineID(id) } catch { preconditionFailure("no line: \(id)") }
}

func key(_ text: String) -> IdempotencyKey {
    do { return try IdempotencyKey(text) } catch { preconditionFailure("no key: \(text)") }
}
