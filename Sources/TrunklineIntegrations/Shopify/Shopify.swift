internal import TrunklineCore

/// What Shopify's events say, by topic. Bodies have the shape of the REST API; money is text, ids are numbers beyond 2^53.
enum Shopify {
    /// The classic topic of an object and a verb of the newer family: `Order`, `create` → `orders/create`,
    /// `FulfillmentOrder`, `moved` → `fulfillment_orders/moved`.
    static func topic(object: String, action: String) -> String {
        var name = ""
        for character in object {
            if character.isUppercase, !name.isEmpty { name += "_" }
            name += character.lowercased()
        }
        return name + "s/" + action.lowercased()
    }

    static func reading(_ topic: String, _ body: JSONValue, _ triggered: Timestamp?) throws(Refusal) -> SourceReading {
        switch topic {
        case "orders/create": SourceReading(checking: [.order(try order(body, .confirmed))])
        case "orders/paid": SourceReading(checking: [.order(try order(body, .paid))])
        case "orders/cancelled": SourceReading(checking: [.order(try order(body, .cancelled))])
        // Fires many times within seconds, also before `orders/create`: it makes facts, never a notice.
        case "orders/updated", "orders/partially_fulfilled":
            SourceReading(checking: [.order(try order(body, .changed))])
        // Each of these is told by a topic with more in it, and both would be two notices of one thing.
        case "orders/fulfilled", "order_transactions/create": .ignored(.covered)
        case "orders/delete":
            SourceReading(checking: [.order(.init(record: try record(body, at: triggered), moment: .removed))])
        case "orders/edited": try edited(body, triggered)
        case "fulfillments/create", "fulfillments/update": try fulfillment(body, isNew: topic == "fulfillments/create")
        case "fulfillment_events/create": try fulfillmentEvent(body)
        case "fulfillment_orders/line_items_prepared_for_pickup",
            "fulfillment_orders/line_items_prepared_for_local_delivery", "fulfillment_orders/rescheduled",
            "fulfillment_orders/moved", "fulfillment_orders/cancelled":
            try fulfillmentOrder(body, topic, triggered)
        case "refunds/create": try refund(body)
        case "draft_orders/create", "draft_orders/update": try draft(body)
        case "customers/create": try customer(body, isNew: true)
        case "customers/update": try customer(body, isNew: false)
        case "checkouts/create", "checkouts/update": try checkout(body)
        case "app/uninstalled", "shop/update": .ignored(.lifecycle)
        case "customers/data_request", "customers/redact", "shop/redact": .ignored(.privacy)
        default: .ignored(.unknownTopic)
        }
    }

    // MARK: Orders

    private static func order(_ body: JSONValue, _ moment: SourceFact.OrderMoment) throws(Refusal) -> SourceFact.Order {
        SourceFact.Order(
            record: try record(body, at: body["updated_at"]?.moment),
            moment: moment,
            number: body["name"]?.given ?? body["order_number"]?.id,
            state: body["fulfillment_status"]?.given,
            payment: body["financial_status"]?.given,
            person: person(body),
            total: money(body["current_total_price"] ?? body["total_price"], body["currency"]),
            items: items(body),
            links: links((.status, body["order_status_url"])),
            details: details(body)
        )
    }

    /// Only the edit's own delta is in it.
    private static func edited(_ body: JSONValue, _ triggered: Timestamp?) throws(Refusal) -> SourceReading {
        guard let id = body.at("order_edit", "order_id")?.id ?? body["order_id"]?.id else { throw missing("order_id") }
        let at = body.at("order_edit", "committed_at")?.moment ?? triggered
        return SourceReading(checking: [.order(.init(record: .init(id: id, at: at), moment: .changed))])
    }

    private static func fulfillment(_ body: JSONValue, isNew: Bool) throws(Refusal) -> SourceReading {
        guard let order = body["order_id"]?.id else { throw missing("order_id") }
        guard let id = body["id"]?.id else { throw missing("id") }
        switch body["status"]?.given {
        case "cancelled", "error", "failure": return .ignored(.nothingNew)
        default: break
        }
        let number = body["tracking_number"]?.given ?? body["tracking_numbers"]?.elements.first?.given
        let url = body["tracking_url"]?.given ?? body["tracking_urls"]?.elements.first?.given
        var moments: [SourceFact.OrderMoment] = []
        if isNew {
            moments.append(.shipped(shipment: id))
        } else if let number {
            moments.append(.trackingChanged(shipment: id, number: number))
        }
        if let moment = moment(ofShipmentStatus: body["shipment_status"]?.given, id) {
            // Here it is a state that every later update repeats; that a try has failed is told by `fulfillment_events/create`,
            // which says when.
            if case .deliveryChanged = moment {} else { moments.append(moment) }
        }
        let facts = moments.map { moment in
            SourceFact.order(
                .init(
                    record: .init(id: order, at: body["updated_at"]?.moment),
                    moment: moment,
                    number: body["name"]?.given.map(order(ofParcel:)),
                    state: body["shipment_status"]?.given ?? body["status"]?.given,
                    person: person(of: [body["destination"]], in: body),
                    items: items(body),
                    shipment: .init(
                        id: id,
                        company: body["tracking_company"]?.given,
                        trackingNumber: number,
                        trackingURL: url
                    ),
                    links: links((.tracking, url.map { .string($0) }))
                )
            )
        }
        return SourceReading(checking: facts)
    }

    /// `#1042.1` is the first parcel of #1042; an order's own name may have dots too.
    private static func order(ofParcel name: String) -> String {
        guard let dot = name.lastIndex(of: "."), case let number = name[name.index(after: dot)...], !number.isEmpty,
            number.allSatisfy({ $0.isASCII && $0.isNumber })
        else { return name }
        return String(name[..<dot])
    }

    private static func fulfillmentEvent(_ body: JSONValue) throws(Refusal) -> SourceReading {
        guard let order = body["order_id"]?.id else { throw missing("order_id") }
        guard let shipment = body["fulfillment_id"]?.id else { throw missing("fulfillment_id") }
        guard let moment = moment(ofShipmentStatus: body["status"]?.given, shipment) else {
            return .ignored(.nothingNew)
        }
        // The body has no phone: whom it is about is known from the order's own events.
        return SourceReading(checking: [
            .order(
                .init(
                    record: .init(id: order, at: body["happened_at"]?.moment, version: body["id"]?.id),
                    moment: moment,
                    state: body["status"]?.given,
                    shipment: .init(id: shipment, expectedAt: body["estimated_delivery_at"]?.moment)
                )
            )
        ])
    }

    /// The list of values is not in the documentation that was at hand: unknown words make no notice.
    private static func moment(ofShipmentStatus status: String?, _ shipment: String) -> SourceFact.OrderMoment? {
        switch status {
        case "out_for_delivery": .outForDelivery(shipment: shipment)
        case "delivered": .delivered(shipment: shipment)
        case "ready_for_pickup": .ready(place: nil)
        case "attempted_delivery", "delayed", "failure": .deliveryChanged(what: status ?? "", shipment: shipment)
        default: nil
        }
    }

    /// Neither phone nor order stands in these: the order is asked for, by the fulfillment order's id.
    private static func fulfillmentOrder(_ body: JSONValue, _ topic: String, _ triggered: Timestamp?) throws(Refusal)
        -> SourceReading
    {
        let order = body["fulfillment_order"] ?? body["original_fulfillment_order"]
        guard let id = order?["id"]?.id else { throw missing("fulfillment_order.id") }
        return .fetch(
            RecordToFetch(
                type: "order_of_fulfillment_order",
                id: id,
                event: String(topic.drop { $0 != "/" }.dropFirst()),
                at: order?["updated_at"]?.moment ?? triggered
            )
        )
    }

    private static func refund(_ body: JSONValue) throws(Refusal) -> SourceReading {
        guard let order = body["order_id"]?.id else { throw missing("order_id") }
        guard let id = body["id"]?.id else { throw missing("id") }
        // The sum of several payments is not built here: amounts stay as they were written.
        let payments = body["transactions"]?.elements ?? []
        let payment = payments.count == 1 ? payments.first : nil
        return SourceReading(checking: [
            .order(
                .init(
                    record: .init(id: order, at: body["processed_at"]?.moment ?? body["created_at"]?.moment),
                    moment: .refunded(refund: id),
                    total: money(payment?["amount"], payment?["currency"])
                )
            )
        ])
    }

    private static func draft(_ body: JSONValue) throws(Refusal) -> SourceReading {
        guard body["completed_at"]?.given == nil, let sent = body["invoice_sent_at"]?.moment else {
            return .ignored(.draft)
        }
        return SourceReading(checking: [
            .order(
                .init(
                    record: try record(body, at: body["updated_at"]?.moment),
                    moment: .invoiced(at: sent),
                    number: body["name"]?.given,
                    state: body["status"]?.given,
                    person: person(body),
                    total: money(body["total_price"], body["currency"]),
                    items: items(body),
                    links: links((.invoice, body["invoice_url"]))
                )
            )
        ])
    }

    // MARK: People

    private static func customer(_ body: JSONValue, isNew: Bool) throws(Refusal) -> SourceReading {
        let record = try record(body, at: body["updated_at"]?.moment)
        let whom = person(of: [body, body["default_address"]], in: body)
        let contact = SourceFact.contact(.init(record: record, person: whom))
        guard isNew else { return SourceReading(checking: [contact]) }
        return SourceReading(checking: [contact, .lead(.init(record: record, person: whom, origin: "customer"))])
    }

    /// One that was completed is an order, which tells for itself.
    private static func checkout(_ body: JSONValue) throws(Refusal) -> SourceReading {
        if body["completed_at"]?.given != nil { return .ignored(.covered) }
        let record = SourceFact.Record(
            // The token is what stays the same over all steps of a checkout.
            id: try required(body["token"]?.id ?? body["id"]?.id, "token"),
            at: body["updated_at"]?.moment,
            createdAt: body["created_at"]?.moment
        )
        return SourceReading(checking: [.lead(.init(record: record, person: person(body), origin: "checkout"))])
    }

    private static func person(_ body: JSONValue) -> SourceFact.Person {
        let customer = body["customer"]
        return person(
            of: [body["shipping_address"], body["billing_address"], customer, customer?["default_address"]],
            in: body
        )
    }

    /// The phone of the record itself comes first, then those of its addresses, in this order.
    private static func person(of addresses: [JSONValue?], in body: JSONValue) -> SourceFact.Person {
        let addresses = addresses.compactMap { $0 }
        let names = addresses.lazy.compactMap { address in
            address["name"]?.given ?? Given.joined(address["first_name"]?.given, address["last_name"]?.given)
        }
        return SourceFact.Person(
            name: names.first,
            firstName: addresses.lazy.compactMap { $0["first_name"]?.given }.first,
            phones: ([body] + addresses).compactMap { $0["phone"]?.word },
            country: addresses.lazy.compactMap { $0["country_code"]?.given }.first,
            language: body["customer_locale"]?.given ?? body.at("customer", "locale")?.given
        )
    }

    // MARK: Parts

    private static func record(_ body: JSONValue, at time: Timestamp?) throws(Refusal) -> SourceFact.Record {
        SourceFact.Record(
            id: try required(body["id"]?.id, "id"),
            at: time,
            version: body["updated_at"]?.given,
            createdAt: body["created_at"]?.moment
        )
    }

    private static func items(_ body: JSONValue) -> [SourceFact.Item] {
        (body["line_items"]?.elements ?? []).compactMap { item in
            guard let title = item["title"]?.given ?? item["name"]?.given else { return nil }
            return SourceFact.Item(title: title, quantity: item["quantity"]?.word)
        }
    }

    private static func details(_ body: JSONValue) -> [String: String] {
        var details: [String: String] = [:]
        details["tags"] = body["tags"]?.given
        details["cancel_reason"] = body["cancel_reason"]?.given
        details["shipping"] = body["shipping_lines"]?.elements.first?["title"]?.given
        return details
    }

    private static func missing(_ field: String) -> Refusal {
        Refusal(kind: .invalid, field: field, reason: "\(field) is missing, or is no id")
    }

    private static func required(_ id: String?, _ field: String) throws(Refusal) -> String {
        guard let id else { throw missing(field) }
        return id
    }
}
