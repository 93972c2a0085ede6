internal import TrunklineCore
internal import TrunklinePhones

/// What a fact says about a contact and an order, in the form in which those are kept. What does not fit there is left out and
/// said: a strange address must not cost an order its state.
struct FactRecords {
    private(set) var contact: EventPlan.ContactToPut?
    private(set) var order: EventPlan.OrderToPut?
    /// What was left out, without customers' data.
    private(set) var notes: [String] = []
    private let source: SourceID
    private let factAt: Timestamp?

    /// A form whose box must be ticked is only read where it is.
    private let consent: String?

    init(_ fact: SourceFact, of event: StoredEvent, now: Timestamp) {
        source = event.source
        if case .lead = fact, event.settings[FormSource.consentSetting] != nil {
            consent = ContactFacts.consentGiven
        } else {
            consent = nil
        }
        var at = fact.record.at ?? event.event.receivedAt
        if at > now + ContactFacts.tolerance {
            // Nothing newer could follow it.
            at = event.event.receivedAt
            notes.append("its time is more than a day ahead of the clock here: the time of its receipt counts")
        }
        factAt = at
        let phone = phone(of: fact.person, event.country)
        if let phone { put(fact, phone) }
        if case .order(let fact) = fact { put(fact, phone) }
    }

    /// The first of its numbers that can be one.
    private mutating func phone(of person: SourceFact.Person, _ country: String?) -> PhoneNumber? {
        var problem: Refusal?
        for text in person.phones {
            do throws(Refusal) {
                return try PhoneNumbers.e164(text, country: person.country, else: country)
            } catch {
                problem = problem ?? error
            }
        }
        if let problem { notes.append("no phone number: \(problem.reason)") }
        return nil
    }

    private mutating func put(_ fact: SourceFact, _ phone: PhoneNumber) {
        let person = fact.person
        var ids: [String: String] = [:]
        if case .contact(let contact) = fact { ids[source.value] = contact.record.id }
        // Each field by itself, so that one that breaks a rule takes no other along.
        let name = kept("name", person.name) { value throws(Refusal) in _ = try ContactFacts(name: value) }
        let language = kept("language", person.language) { value throws(Refusal) in
            _ = try ContactFacts(language: value)
        }
        let country = kept("country", person.country) { value throws(Refusal) in _ = try ContactFacts(country: value) }
        let email = kept("email", details(of: fact).first { $0.key.lowercased() == "email" }?.value) {
            value throws(Refusal) in
            _ = try ContactFacts(email: value)
        }
        if (try? ContactFacts(ids: ids)) == nil { ids = [:] }
        guard
            let facts = try? ContactFacts(
                factAt: factAt,
                name: name,
                email: email,
                language: language,
                country: country,
                consent: consent,
                ids: ids
            )
        else { return }
        contact = EventPlan.ContactToPut(phone, facts)
    }

    private func details(of fact: SourceFact) -> [String: String] {
        switch fact {
        case .order(let order): order.details
        case .contact(let contact): contact.details
        case .lead(let lead): lead.details
        case .appointment(let appointment): appointment.details
        }
    }

    private mutating func put(_ fact: SourceFact.Order, _ phone: PhoneNumber?) {
        let id: OrderID
        do throws(Refusal) {
            id = try OrderID("\(source.value).\(fact.record.id)")
        } catch {
            notes.append("no order: \(error.reason)")
            return
        }
        let number = kept("number", fact.number) { value throws(Refusal) in _ = try OrderFacts(number: value) }
        let state = kept("state", fact.state ?? Self.state(fact.moment)) { value throws(Refusal) in
            _ = try OrderFacts(state: value)
        }
        var total: OrderFacts.Amount?
        if let money = fact.total {
            total = try? OrderFacts.Amount(amount: money.amount, currency: money.currency, field: "total")
            if total == nil { notes.append("total is left out: not an amount that is kept") }
        }
        var links: [String: String] = [:]
        for link in fact.links where (try? OrderFacts(links: [link.kind.rawValue: link.url])) != nil {
            links[link.kind.rawValue] = links[link.kind.rawValue] ?? link.url
        }
        let items = Self.items(fact.items).flatMap { items in (try? OrderFacts(items: items)) == nil ? nil : items }
        let parcels = fact.shipment.map { Self.parcels($0) }.flatMap { parcels in
            (try? OrderFacts(parcels: parcels)) == nil ? nil : parcels
        }
        guard
            let facts = try? OrderFacts(
                factAt: factAt,
                phone: phone,
                number: number,
                state: state,
                placedAt: fact.record.createdAt,
                total: total,
                items: items,
                parcels: parcels,
                links: links
            )
        else { return }
        order = EventPlan.OrderToPut(id, facts)
    }

    /// Moments that are states; of the others the sender's own word is all there is. A refund may be of a part.
    private static func state(_ moment: SourceFact.OrderMoment) -> String? {
        switch moment {
        case .confirmed, .paid, .ready, .shipped, .outForDelivery, .delivered, .cancelled, .removed:
            moment.word
        case .reached(let status): status
        case .trackingChanged, .deliveryChanged, .refunded, .invoiced, .changed: nil
        }
    }

    private static func items(_ items: [SourceFact.Item]) -> JSONValue? {
        guard !items.isEmpty else { return nil }
        return .array(
            items.map { item in
                .object(
                    [.init("title", .string(item.title))]
                        + (item.quantity.map { [.init("quantity", .string($0))] } ?? [])
                )
            }
        )
    }

    private static func parcels(_ shipment: SourceFact.Shipment) -> JSONValue {
        let members: [(String, String?)] = [
            ("id", shipment.id), ("company", shipment.company), ("number", shipment.trackingNumber),
            ("url", shipment.trackingURL), ("expectedAt", shipment.expectedAt?.rfc3339),
        ]
        return .array([.object(members.compactMap { name, value in value.map { .init(name, .string($0)) } })])
    }

    /// The value, unless it breaks its rule.
    private mutating func kept(_ field: String, _ value: String?, _ check: (String) throws(Refusal) -> Void) -> String?
    {
        guard let value, !value.isEmpty else { return nil }
        do throws(Refusal) {
            try check(value)
            return value
        } catch {
            notes.append("\(field) is left out: \(error.reason)")
            return nil
        }
    }
}
