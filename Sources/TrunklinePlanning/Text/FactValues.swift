internal import Foundation
internal import TrunklineCore

/// What templates may name, and what a fact has of it.
package enum Placeholder {
    private static let ofEverybody = ["name", "first_name", "id", "source"]
    private static let ofOrders = [
        "number", "state", "payment", "total", "items", "item_count", "tracking", "tracking_number", "tracking_url",
        "tracking_company", "expected_date", "expected_time", "pickup_place", "change", "status_url", "payment_url",
        "invoice_url", "record_url",
    ]
    private static let ofAppointments = [
        "title", "place", "staff", "date", "time", "end_time", "cancel_url", "reschedule_url", "meeting_url",
        "record_url",
    ]
    /// Inside the section `items`.
    static let ofItems = ["title", "quantity"]

    /// `data.NAME` besides: what else the sender says, by its own names.
    package static func names(of kind: Moment.Kind) -> [String] {
        switch kind {
        case .order: ofEverybody + ofOrders
        case .lead: ofEverybody + ["origin", "record_url"]
        case .appointment: ofEverybody + ofAppointments
        }
    }

    static func isKnown(_ name: String, of kind: Moment.Kind) -> Bool {
        names(of: kind).contains(name) || (name.hasPrefix("data.") && name.utf8.count > 5)
    }
}

/// What one fact fills a template with. Every text is on one line, without blanks around it, and never empty.
struct FactValues {
    struct Item {
        let title: String
        let quantity: String?
    }

    private(set) var texts: [String: String] = [:]
    private(set) var items: [Item] = []

    subscript(_ name: String) -> String? { texts[name] }

    /// - Parameters:
    ///   - record: what was known of the same record before, for what this fact does not say.
    ///   - words: how times and amounts are written.
    init(_ fact: SourceFact, person: SourceFact.Person, record: SourceFact?, source: SourceID, words: LocalWords) {
        set("id", fact.record.id)
        set("source", source.value)
        set("name", person.name ?? person.firstName)
        set("first_name", person.firstName ?? person.name?.split(separator: " ").first.map(String.init))
        switch fact {
        case .order(let order):
            if case .order(let known) = record {
                takeOrder(known)
                // A refund's amount is not the order's, and a parcel not the one before.
                if !order.isRefund { set("total", known.total.flatMap(words.money)) }
                if let parcel = known.shipment, parcel.id != nil, parcel.id == order.shipment?.id {
                    take(parcel, words)
                }
            }
            takeOrder(order)
            takeMoment(order, words)
        case .contact(let contact): take(contact.details)
        case .lead(let lead):
            set("origin", lead.origin)
            take(lead.details)
        case .appointment(let appointment):
            if case .appointment(let known) = record { take(known, words) }
            take(appointment, words)
        }
    }

    private mutating func takeOrder(_ order: SourceFact.Order) {
        take(order.details)
        set("number", order.number)
        set("pickup_place", order.pickupPlace)
        take(order.links)
        guard !order.items.isEmpty else { return }
        items = order.items.compactMap { item in
            Self.clean(item.title).map { Item(title: $0, quantity: item.quantity.flatMap(Self.clean)) }
        }
        set("item_count", String(items.count))
    }

    private mutating func takeMoment(_ order: SourceFact.Order, _ words: LocalWords) {
        set("state", order.state)
        set("payment", order.payment)
        set("total", order.total.flatMap(words.money))
        if case .deliveryChanged(let what, _) = order.moment { set("change", what) }
        if case .reached(let status) = order.moment { set("state", status) }
        if let parcel = order.shipment { take(parcel, words) }
        if case .trackingChanged(_, let number) = order.moment { set("tracking_number", number) }
        set("tracking", texts["tracking_url"] ?? texts["tracking_number"])
    }

    private mutating func take(_ parcel: SourceFact.Shipment, _ words: LocalWords) {
        set("tracking_number", parcel.trackingNumber)
        set("tracking_url", parcel.trackingURL)
        set("tracking_company", parcel.company)
        set("expected_date", parcel.expectedAt.map(words.day))
        set("expected_time", parcel.expectedAt.map(words.time))
    }

    private mutating func take(_ appointment: SourceFact.Appointment, _ words: LocalWords) {
        take(appointment.details)
        set("title", appointment.title)
        set("place", appointment.place)
        set("staff", appointment.staff)
        take(appointment.links)
        set("date", appointment.start.map(words.day))
        set("time", appointment.start.map(words.time))
        set("end_time", appointment.end.map(words.time))
    }

    private mutating func take(_ links: [SourceFact.Link]) {
        for link in links { set(link.kind.rawValue + "_url", link.url) }
    }

    private mutating func take(_ details: [String: String]) {
        for (name, value) in details { set("data." + name, value) }
    }

    private mutating func set(_ name: String, _ value: String?) {
        if let value = value.flatMap(Self.clean) { texts[name] = value }
    }

    /// Senders leave tabs and line breaks in names; what the customer reads has single blanks. Nil when nothing would be seen.
    static func clean(_ text: String) -> String? {
        var out = String.UnicodeScalarView()
        var isBetween = false
        for scalar in text.unicodeScalars {
            let isBlank =
                scalar.properties.isWhitespace && scalar != "\u{A0}" && scalar != "\u{202F}"
                || scalar.properties.generalCategory == .control
            if isBlank {
                isBetween = !out.isEmpty
                continue
            }
            if isBetween { out.append(" ") }
            isBetween = false
            out.append(scalar)
        }
        let isSeen = out.contains { !$0.properties.isDefaultIgnorableCodePoint && !$0.properties.isWhitespace }
        return isSeen ? String(out) : nil
    }
}

extension SourceFact.Order {
    var isRefund: Bool {
        if case .refunded = moment { true } else { false }
    }
}
