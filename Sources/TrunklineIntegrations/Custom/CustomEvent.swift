internal import TrunklineCore

/// An event in the shape of `docs/sources/custom.md`, as JSON or as a form with dotted names. Strict in what it knows: the
/// caller is told of a name that is spelled wrong; what is in `data` is the caller's own.
struct CustomEvent {
    private let type: String
    private let at: Timestamp?
    private let object: JSONValue
    private let customer: JSONValue
    private let data: JSONValue
    private let isTest: Bool

    private static let names = ["type", "id", "occurred_at", "object", "customer", "data", "test"]
    private static let objectNames = ["kind", "id", "number", "revision", "state"]
    private static let customerNames = ["phone", "name", "first_name", "last_name", "locale", "language", "country"]

    static func document(_ event: ReceivedEvent) throws(Refusal) -> JSONValue {
        let contentType = event.header("content-type") ?? "application/json"
        guard MediaType(contentType).name == "application/x-www-form-urlencoded" else {
            return try JSONValue.event(event.body)
        }
        return try tree(FormBody(event.body, contentType: contentType).fields)
    }

    /// `data.customer.phone=…` is what `{"data": {"customer": {"phone": "…"}}}` says.
    private static func tree(_ fields: [FormBody.Field]) throws(Refusal) -> JSONValue {
        var root: JSONValue = .object([])
        for (name, value) in fields {
            let path = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
            guard path.count <= 4, !path.contains("") else {
                throw Refusal(kind: .malformed, reason: "a field's name has empty parts, or more than four")
            }
            guard let next = inserting(.string(value), at: path[...], into: root) else {
                throw Refusal(kind: .malformed, reason: "the same field is there twice")
            }
            root = next
        }
        return root
    }

    private static func inserting(_ value: JSONValue, at path: ArraySlice<String>, into tree: JSONValue) -> JSONValue? {
        guard case .object(var members) = tree, let name = path.first else { return nil }
        let rest = path.dropFirst()
        if let index = members.firstIndex(where: { $0.name == name }) {
            guard !rest.isEmpty, let inner = inserting(value, at: rest, into: members[index].value) else { return nil }
            members[index] = .init(name, inner)
        } else {
            guard let inner = rest.isEmpty ? value : inserting(value, at: rest, into: .object([])) else { return nil }
            members.append(.init(name, inner))
        }
        return .object(members)
    }

    init(_ document: JSONValue) throws(Refusal) {
        try Self.check(document, Self.names, "")
        guard let type = document["type"]?.given else { throw Self.invalid("type", "type is missing") }
        self.type = type.lowercased()
        if let text = document["occurred_at"]?.given {
            guard let at = Timestamp(rfc3339: text) else {
                throw Self.invalid("occurred_at", "occurred_at is not a time with its offset (RFC 3339)")
            }
            self.at = at
        } else {
            at = nil
        }
        object = document["object"] ?? .object([])
        customer = document["customer"] ?? .object([])
        data = document["data"] ?? .object([])
        isTest = document["test"]?.isTrue ?? false
        try Self.check(object, Self.objectNames, "object.")
        try Self.check(customer, Self.customerNames, "customer.")
        guard case .object = data else { throw Self.invalid("data", "data is not an object") }
    }

    private static func check(_ value: JSONValue, _ known: [String], _ path: String) throws(Refusal) {
        guard case .object(let members) = value else {
            throw invalid(path.isEmpty ? nil : String(path.dropLast()), "\(path.dropLast()) is not an object")
        }
        for member in members where !known.contains(member.name) {
            throw invalid(
                path + Printable.line(String(member.name.prefix(64))),
                "no field of that name; known: \(known.joined(separator: ", "))"
            )
        }
    }

    private static func invalid(_ field: String?, _ reason: String) -> Refusal {
        Refusal(kind: .invalid, field: field, reason: reason)
    }

    func reading(isForAppointments: Bool) throws(Refusal) -> SourceReading {
        let parts = type.split(separator: ".", maxSplits: 1).map(String.init)
        for part in parts {
            if let ask = PolicyAsk(word: part) { return .refused(ask) }
        }
        if isTest { return .ignored(.test) }
        guard parts.count == 2 else { return .ignored(.unknownTopic) }
        if isForAppointments, parts[0] != "appointment" { return .ignored(.unknownTopic) }
        switch parts[0] {
        case "order": return try order(parts[1])
        case "appointment": return try appointment(parts[1])
        case "lead", "contact": return try someone(isLead: parts[0] == "lead", parts[1])
        default: return .ignored(.unknownTopic)
        }
    }

    // MARK: Orders

    private func order(_ word: String) throws(Refusal) -> SourceReading {
        guard let moment = try orderMoment(word) else { return .ignored(.unknownTopic) }
        let number = data["tracking_number"]?.word
        let url = data["tracking_url"]?.given
        var shipment: SourceFact.Shipment?
        if let id = data["shipment_id"]?.id ?? number {
            shipment = .init(
                id: id,
                company: data["tracking_company"]?.given,
                trackingNumber: number,
                trackingURL: url,
                expectedAt: data["expected_at"]?.moment
            )
        }
        if data["total"]?.word != nil, money(data["total"], data["currency"]) == nil {
            throw Self.invalid("data.total", "total and currency are not an amount (59.90) and three letters (EUR)")
        }
        return SourceReading(checking: [
            .order(
                .init(
                    record: try record(),
                    moment: moment,
                    number: object["number"]?.word ?? object["id"]?.id,
                    state: object["state"]?.given ?? data["status"]?.given,
                    person: person,
                    total: money(data["total"], data["currency"]),
                    shipment: shipment,
                    pickupPlace: data["pickup_point"]?.given,
                    links: links(
                        (.status, data["status_url"]),
                        (.payment, data["payment_url"]),
                        (.invoice, data["invoice_url"]),
                        (.tracking, data["tracking_url"])
                    ),
                    details: details
                )
            )
        ])
    }

    private func orderMoment(_ word: String) throws(Refusal) -> SourceFact.OrderMoment? {
        let shipment = data["shipment_id"]?.id ?? data["tracking_number"]?.word
        switch word {
        case "created", "received", "confirmed": return .confirmed
        case "paid": return .paid
        case "ready", "ready_for_pickup": return .ready(place: data["pickup_point_id"]?.id)
        case "shipped": return .shipped(shipment: shipment)
        case "tracking_changed":
            guard let number = data["tracking_number"]?.word, let shipment else {
                throw Self.invalid("data.tracking_number", "tracking_number is missing")
            }
            return .trackingChanged(shipment: shipment, number: number)
        case "out_for_delivery": return .outForDelivery(shipment: shipment)
        case "delivered": return .delivered(shipment: shipment)
        case "delivery_changed":
            return .deliveryChanged(what: data["change"]?.given ?? "changed", shipment: shipment)
        case "cancelled", "canceled": return .cancelled
        case "refunded": return .refunded(refund: data["refund_id"]?.id)
        case "invoice", "invoiced": return .invoiced(at: data["sent_at"]?.moment)
        case "status":
            guard let status = data["status"]?.given else { throw Self.invalid("data.status", "status is missing") }
            return .reached(status: status)
        case "updated", "changed": return .changed
        case "deleted": return .removed
        default: return nil
        }
    }

    // MARK: People and appointments

    private func someone(isLead: Bool, _ word: String) throws(Refusal) -> SourceReading {
        guard ["created", "updated"].contains(word) else { return .ignored(.unknownTopic) }
        let record = try record()
        let contact = SourceFact.contact(.init(record: record, person: person, details: details))
        guard isLead, word == "created" else { return SourceReading(checking: [contact]) }
        return SourceReading(checking: [
            .lead(.init(record: record, person: person, origin: data["origin"]?.given, details: details))
        ])
    }

    private func appointment(_ word: String) throws(Refusal) -> SourceReading {
        let moment: SourceFact.Appointment.Moment
        switch word {
        case "booked", "created": moment = .booked
        case "moved", "rescheduled": moment = .moved
        case "cancelled", "canceled": moment = .cancelled
        case "reminder": moment = .reminder
        default: return .ignored(.unknownTopic)
        }
        let zone = data["time_zone"]?.given
        if let zone, !LocalTime.isZone(zone) {
            throw Self.invalid("data.time_zone", "time_zone is not the name of a zone, like Europe/Madrid")
        }
        let start = try time("starts_at", zone)
        if start == nil, moment != .cancelled { throw Self.invalid("data.starts_at", "starts_at is missing") }
        return SourceReading(checking: [
            .appointment(
                .init(
                    record: try record(),
                    moment: moment,
                    person: person,
                    start: start,
                    end: try time("ends_at", zone),
                    timeZone: zone,
                    previousID: data["previous_id"]?.id,
                    title: data["title"]?.given,
                    place: data["place"]?.given,
                    staff: data["staff"]?.given,
                    links: links(
                        (.cancel, data["cancel_url"]),
                        (.reschedule, data["reschedule_url"]),
                        (.meeting, data["meeting_url"])
                    ),
                    details: details
                )
            )
        ])
    }

    /// With its offset, or in the zone that is named beside it: which of the two is never guessed.
    private func time(_ name: String, _ zone: String?) throws(Refusal) -> Timestamp? {
        guard let text = data[name]?.given else { return nil }
        if let moment = Timestamp(rfc3339: text) { return moment }
        guard let zone else {
            throw Self.invalid("data.\(name)", "\(name) has neither an offset nor a time_zone beside it")
        }
        guard let moment = LocalTime.moment(text, zone: zone) else {
            throw Self.invalid("data.\(name)", "\(name) is not a time like 2026-11-03T09:30:00")
        }
        return moment
    }

    // MARK: Parts

    private func record() throws(Refusal) -> SourceFact.Record {
        guard let id = object["id"]?.id else { throw Self.invalid("object.id", "object.id is missing") }
        return .init(id: id, at: at, version: object["revision"]?.word, createdAt: data["created_at"]?.moment)
    }

    private var person: SourceFact.Person {
        .init(
            name: customer["name"]?.given
                ?? Given.joined(customer["first_name"]?.given, customer["last_name"]?.given),
            firstName: customer["first_name"]?.given,
            phones: [customer["phone"]?.word].compactMap { $0 },
            country: customer["country"]?.given,
            language: customer["locale"]?.given ?? customer["language"]?.given
        )
    }

    /// All texts and numbers of `data`, by their names: for templates.
    private var details: [String: String] {
        var details: [String: String] = [:]
        for member in data.members { details[member.name] = member.value.word }
        return details
    }
}
