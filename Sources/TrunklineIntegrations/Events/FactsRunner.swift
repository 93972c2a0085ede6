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

    package func read(_ event: StoredEvent) -> ReadEvent {
        guard let reader = registry[event.kind] else {
            let refusal = Refusal(kind: .invalid, field: "kind", reason: "nothing here reads \(event.kind)")
            return ReadEvent(event, .failure(refusal))
        }
        do throws(Refusal) {
            return ReadEvent(event, .success(try reader.read(event.event, event.settings)))
        } catch {
            return ReadEvent(event, .failure(error))
        }
    }

    package func run(_ event: ReadEvent, knowing _: EventKnowledge, now: Timestamp) -> EventOutcome {
        switch event.reading {
        case .success(.facts(let facts)): .planned(plan(facts, of: event.event, now))
        case .success(.fetch(let record)): .needsFetch(record)
        case .success(.ignored(let why)): .ignored(why)
        case .success(.refused(let ask)): .refused(ask)
        case .failure(let refusal): .unreadable(refusal)
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
