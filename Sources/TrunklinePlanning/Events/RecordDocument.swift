internal import TrunklineCore

/// What a fact says of its record, as it is kept for the plans of later events: an object, of whose members the newest are kept.
/// Absent is what the sender does not say.
enum RecordDocument {
    static func document(_ fact: SourceFact, phone: PhoneNumber?) -> JSONValue {
        var members: [JSONValue.Member] = []
        func add(_ name: String, _ text: String?) {
            if let text = text.flatMap(FactValues.clean) { members.append(.init(name, .string(text))) }
        }
        func add(_ name: String, _ elements: [JSONValue]) {
            if !elements.isEmpty { members.append(.init(name, .array(elements))) }
        }
        let person = fact.person
        add("name", person.name)
        add("firstName", person.firstName)
        // By which its person is found.
        add("phone", phone?.value)
        add("phones", person.phones.compactMap(FactValues.clean).map { .string($0) })
        add("country", person.country)
        add("language", person.language)
        switch fact {
        case .order(let order):
            add("number", order.number)
            add("state", order.state)
            add("payment", order.payment)
            // A refund's amount is not the order's.
            if let total = order.total, !order.isRefund { members.append(.init("total", document(total))) }
            add("items", order.items.compactMap(document))
            if let parcel = order.shipment { members.append(.init("parcel", document(parcel))) }
            add("pickupPlace", order.pickupPlace)
            add("links", order.links.map(document))
        case .appointment(let appointment):
            add("start", appointment.start?.rfc3339)
            add("end", appointment.end?.rfc3339)
            add("timeZone", appointment.timeZone)
            add("title", appointment.title)
            add("place", appointment.place)
            add("staff", appointment.staff)
            add("links", appointment.links.map(document))
        case .contact, .lead: break
        }
        let details = fact.details.sorted { $0.key < $1.key }.compactMap { name, value in
            FactValues.clean(value).flatMap { value in
                FactValues.clean(name).map { JSONValue.Member($0, .string(value)) }
            }
        }
        if !details.isEmpty { members.append(.init("details", .object(details))) }
        return .object(members)
    }

    /// A fact of the same kind as `fact` that says what is kept.
    static func fact(_ kept: JSONValue, like fact: SourceFact, at: Timestamp) -> SourceFact? {
        let record = SourceFact.Record(id: fact.record.id, at: at)
        let person = SourceFact.Person(
            name: kept["name"]?.text,
            firstName: kept["firstName"]?.text,
            phones: kept["phones"]?.elements.compactMap(\.text) ?? [],
            country: kept["country"]?.text,
            language: kept["language"]?.text
        )
        let details = Dictionary(
            (kept["details"]?.members ?? []).compactMap { member in member.value.text.map { (member.name, $0) } },
            uniquingKeysWith: { first, _ in first }
        )
        let links = kept["links"]?.elements.compactMap(link) ?? []
        switch fact {
        case .order:
            return .order(
                .init(
                    record: record,
                    moment: .changed,
                    number: kept["number"]?.text,
                    state: kept["state"]?.text,
                    payment: kept["payment"]?.text,
                    person: person,
                    total: kept["total"].flatMap(money),
                    items: kept["items"]?.elements.compactMap(item) ?? [],
                    shipment: kept["parcel"].map(parcel),
                    pickupPlace: kept["pickupPlace"]?.text,
                    links: links,
                    details: details
                )
            )
        case .appointment:
            return .appointment(
                .init(
                    record: record,
                    moment: .booked,
                    person: person,
                    start: kept["start"]?.text.flatMap { Timestamp(rfc3339: $0) },
                    end: kept["end"]?.text.flatMap { Timestamp(rfc3339: $0) },
                    timeZone: kept["timeZone"]?.text,
                    title: kept["title"]?.text,
                    place: kept["place"]?.text,
                    staff: kept["staff"]?.text,
                    links: links,
                    details: details
                )
            )
        case .contact, .lead: return nil
        }
    }

    /// The same of an order of which only other programs have told.
    static func fact(_ order: EventKnowledge.Order, like fact: SourceFact) -> SourceFact {
        let facts = order.facts
        let links = facts.links.sorted { $0.key < $1.key }.compactMap { name, url in
            SourceFact.Link.Kind(rawValue: name).map { SourceFact.Link($0, url) }
        }
        return .order(
            .init(
                record: .init(id: fact.record.id, at: facts.factAt),
                moment: .changed,
                number: facts.number,
                state: facts.state,
                person: .init(phones: facts.phone.map { [$0.value] } ?? []),
                total: facts.total,
                items: facts.items?.elements.compactMap(item) ?? [],
                shipment: facts.parcels?.elements.last.map(parcel),
                links: links
            )
        )
    }

    // MARK: Parts

    private static func document(_ money: SourceFact.Money) -> JSONValue {
        .object([.init("amount", .string(money.amount)), .init("currency", .string(money.currency))])
    }

    private static func money(_ value: JSONValue) -> SourceFact.Money? {
        guard let amount = value["amount"]?.text, let currency = value["currency"]?.text else { return nil }
        return SourceFact.Money(amount: amount, currency: currency)
    }

    private static func document(_ item: SourceFact.Item) -> JSONValue? {
        guard let title = FactValues.clean(item.title) else { return nil }
        let quantity = item.quantity.flatMap(FactValues.clean).map { [JSONValue.Member("quantity", .string($0))] }
        return .object([.init("title", .string(title))] + (quantity ?? []))
    }

    private static func item(_ value: JSONValue) -> SourceFact.Item? {
        let quantity: String? =
            switch value["quantity"] {
            case .string(let text), .number(let text): text
            default: nil
            }
        return value["title"]?.text.map { SourceFact.Item(title: $0, quantity: quantity) }
    }

    private static func document(_ parcel: SourceFact.Shipment) -> JSONValue {
        let members: [(String, String?)] = [
            ("id", parcel.id), ("company", parcel.company), ("number", parcel.trackingNumber),
            ("url", parcel.trackingURL), ("expectedAt", parcel.expectedAt?.rfc3339),
        ]
        return .object(
            members.compactMap { name, value in value.flatMap(FactValues.clean).map { .init(name, .string($0)) } }
        )
    }

    private static func parcel(_ value: JSONValue) -> SourceFact.Shipment {
        SourceFact.Shipment(
            id: value["id"]?.text,
            company: value["company"]?.text,
            trackingNumber: value["number"]?.text,
            trackingURL: value["url"]?.text,
            expectedAt: value["expectedAt"]?.text.flatMap { Timestamp(rfc3339: $0) }
        )
    }

    private static func document(_ link: SourceFact.Link) -> JSONValue {
        .object([
            .init("kind", .string(link.kind.rawValue)), .init("url", .string(FactValues.clean(link.url) ?? "")),
        ])
    }

    private static func link(_ value: JSONValue) -> SourceFact.Link? {
        guard let kind = value["kind"]?.text.flatMap({ SourceFact.Link.Kind(rawValue: $0) }),
            let url = value["url"]?.text, !url.isEmpty
        else { return nil }
        return SourceFact.Link(kind, url)
    }
}

extension JSONValue {
    fileprivate var elements: [JSONValue] {
        guard case .array(let elements) = self else { return [] }
        return elements
    }

    fileprivate var members: [Member] {
        guard case .object(let members) = self else { return [] }
        return members
    }
}
