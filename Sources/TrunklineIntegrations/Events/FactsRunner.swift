package import TrunklineCore

/// Reads received events by their kinds of source, and makes of what they say facts about contacts and orders. Plans no notice.
package struct FactsRunner: EventRunner {
    private let registry: SourceRegistry

    package init(_ registry: SourceRegistry) { self.registry = registry }

    package func reads(_ kind: String) -> Bool { registry[kind] != nil }

    /// Of a kind that is not read here the digest of the bytes.
    package func name(_ event: ReceivedEvent, from source: SourceID, kind: String) -> EventName {
        guard let reader = registry[kind] else {
            return EventName(key: EventKey(digestOf: event.body), orderingName: source.laneName)
        }
        let key = reader.eventKey(of: event)
        // What its operator said may name a field otherwise; then the event keeps its order by less, never by more.
        switch try? reader.read(event, SourceSettings()) {
        case .facts(let facts):
            let name = facts.first?.subject(from: source) ?? source.laneName
            return EventName(key: key, orderingName: name)
        case .fetch(let record):
            return EventName(key: key, orderingName: "\(source.laneName):\(record.type):\(record.id)")
        // Nothing follows from it that could overtake anything.
        case .ignored, .refused: return EventName(key: key, orderingName: "event:" + key.value)
        case nil: return EventName(key: key, orderingName: source.laneName)
        }
    }

    package func run(_ event: StoredEvent, now: Timestamp) -> EventOutcome {
        guard let reader = registry[event.kind] else {
            return .unreadable(Refusal(kind: .invalid, field: "kind", reason: "nothing here reads \(event.kind)"))
        }
        do throws(Refusal) {
            switch try reader.read(event.event, event.settings) {
            case .facts(let facts): return .planned(plan(facts, of: event, now))
            case .fetch(let record): return .needsFetch(record)
            case .ignored(let why): return .ignored(why)
            case .refused(let ask): return .refused(ask)
            }
        } catch {
            return .unreadable(error)
        }
    }

    private func plan(_ facts: [SourceFact], of event: StoredEvent, _ now: Timestamp) -> EventPlan {
        var plan = EventPlan()
        for fact in facts {
            let records = FactRecords(fact, of: event, now: now)
            if let contact = records.contact { plan.contacts.append(contact) }
            if let order = records.order { plan.orders.append(order) }
            plan.notes += records.notes
        }
        return plan
    }
}
