internal import TrunklineCore

/// What WooCommerce's events say. There is no topic for "shipped" or "ready": a status says it, and older versions of the API
/// write ids and prices as other JSON types.
enum WooCommerce {
    static let missingID = Refusal(kind: .invalid, field: "id", reason: "id is missing, or is no id")

    /// What a secret signs with: WooCommerce passes it through `wp_specialchars_decode(…, ENT_QUOTES)` first, because WordPress
    /// stores `&` as `&amp;`.
    static func signingText(_ secret: String) -> String {
        let entities = [
            ("&amp;", "&"), ("&#038;", "&"), ("&#x26;", "&"), ("&lt;", "<"), ("&#60;", "<"), ("&gt;", ">"),
            ("&#62;", ">"),
            ("&quot;", "\""), ("&#34;", "\""), ("&#x22;", "\""), ("&#039;", "'"), ("&#39;", "'"), ("&#x27;", "'"),
        ]
        var out = ""
        var rest = secret[...]
        // In one pass: what an entity becomes begins no other.
        while !rest.isEmpty {
            if let (entity, character) = entities.first(where: { rest.hasPrefix($0.0) }) {
                out += character
                rest = rest.dropFirst(entity.count)
            } else {
                out.append(rest.removeFirst())
            }
        }
        return out
    }

    private static let mostParts = 200

    static func order(_ body: JSONValue, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        guard let id = body["id"]?.id else { throw missingID }
        guard let status = body["status"]?.given.map(plain) else {
            throw Refusal(kind: .invalid, field: "status", reason: "status is missing")
        }
        if ["draft", "auto-draft", "checkout-draft"].contains(status) { return .ignored(.draft) }
        let tracked = shipments(body)
        var moments = moments(of: status, isPaid: body["date_paid_gmt"]?.given != nil, settings)
        if status != "cancelled", status != "refunded", status != "failed" {
            moments += tracked.map { .shipped(shipment: $0.id) }
        }
        let refunds = body["refunds"]?.elements ?? []
        // Each is a fact with the whole order in it: more than this is no shop's order.
        guard refunds.count + tracked.count <= mostParts else {
            throw Refusal(kind: .invalid, field: "refunds", reason: "more than \(mostParts) refunds and parcels")
        }
        moments += refunds.map { .refunded(refund: $0["id"]?.id) }
        if status == "refunded", refunds.isEmpty { moments.append(.refunded(refund: nil)) }
        if moments.isEmpty { moments = [.changed] }
        return SourceReading(
            checking: moments.map { .order(order(body, id: id, status: status, $0, tracked)) }
        )
    }

    private static func order(
        _ body: JSONValue,
        id: String,
        status: String,
        _ moment: SourceFact.OrderMoment,
        _ tracked: [SourceFact.Shipment]
    ) -> SourceFact.Order {
        let shipment: SourceFact.Shipment? =
            if case .shipped(let id) = moment { tracked.first { $0.id == id } } else { tracked.first }
        return SourceFact.Order(
            record: .init(
                id: id,
                at: body["date_modified_gmt"]?.momentInUTC,
                version: body["date_modified_gmt"]?.given,
                createdAt: body["date_created_gmt"]?.momentInUTC
            ),
            moment: moment,
            // A plugin may count orders in its own way: the number is for people, the id is the order.
            number: body["number"]?.word ?? id,
            state: status,
            payment: body["date_paid_gmt"]?.given == nil ? nil : "paid",
            person: person(body),
            total: total(body, moment),
            items: (body["line_items"]?.elements ?? []).compactMap { item in
                item["name"]?.given.map { .init(title: $0, quantity: item["quantity"]?.word) }
            },
            shipment: shipment,
            pickupPlace: pickupPlace(body),
            links: links((.payment, body["payment_url"]), (.tracking, shipment?.trackingURL.map { .string($0) })),
            details: details(body)
        )
    }

    /// The order's; of a refund its own, which is written below zero.
    private static func total(_ body: JSONValue, _ moment: SourceFact.OrderMoment) -> SourceFact.Money? {
        guard case .refunded(let refund) = moment else { return money(body["total"], body["currency"]) }
        let own = body["refunds"]?.elements.first { $0["id"]?.id == refund }?["total"]?.word
        guard let refund, let own, !refund.isEmpty else { return nil }
        return money(.string(own.hasPrefix("-") ? String(own.dropFirst()) : own), body["currency"])
    }

    /// Statuses are sometimes written with the prefix that the database has.
    private static func plain(_ status: String) -> String {
        status.hasPrefix("wc-") ? String(status.dropFirst(3)) : status
    }

    private static func moments(of status: String, isPaid: Bool, _ settings: SourceSettings) -> [SourceFact.OrderMoment]
    {
        switch status {
        // The shopper is still at the till.
        case "pending", "trash": []
        case "on-hold": [.confirmed]
        case "processing": isPaid ? [.confirmed, .paid] : [.confirmed]
        case "cancelled": [.cancelled]
        // The refunds themselves stand in the order.
        case "refunded": []
        case settings["pickup_status"].map(plain) ?? "ready-for-pickup": [.ready(place: nil)]
        default: [.reached(status: status)]
        }
    }

    /// The Shipment Tracking extension keeps its parcels in the order's meta data (its key is known from the extension's REST
    /// answers only).
    private static func shipments(_ body: JSONValue) -> [SourceFact.Shipment] {
        (meta("_wc_shipment_tracking_items", body)?.elements ?? []).compactMap { item in
            guard let number = item["tracking_number"]?.word else { return nil }
            return SourceFact.Shipment(
                id: number,
                company: item["tracking_provider"]?.given ?? item["custom_tracking_provider"]?.given,
                trackingNumber: number,
                trackingURL: item["custom_tracking_link"]?.given ?? item["tracking_link"]?.given
            )
        }
    }

    private static func pickupPlace(_ body: JSONValue) -> String? {
        let line = body["shipping_lines"]?.elements.first { line in
            ["local_pickup", "pickup_location"].contains(line["method_id"]?.given)
        }
        return line?["method_title"]?.given
    }

    private static func meta(_ key: String, _ body: JSONValue) -> JSONValue? {
        body["meta_data"]?.elements.first { $0["key"]?.given == key }?["value"]
    }

    private static func details(_ body: JSONValue) -> [String: String] {
        var details: [String: String] = [:]
        details["payment_method"] = body["payment_method_title"]?.given
        details["customer_note"] = body["customer_note"]?.given
        details["shipping"] = body["shipping_lines"]?.elements.first?["method_title"]?.given
        return details
    }

    static func customer(_ body: JSONValue, isNew: Bool) throws(Refusal) -> SourceReading {
        guard let id = body["id"]?.id else { throw missingID }
        let record = SourceFact.Record(
            id: id,
            at: body["date_modified_gmt"]?.momentInUTC,
            version: body["date_modified_gmt"]?.given,
            createdAt: body["date_created_gmt"]?.momentInUTC
        )
        let whom = person(body)
        let contact = SourceFact.contact(.init(record: record, person: whom))
        guard isNew else { return SourceReading(checking: [contact]) }
        return SourceReading(checking: [contact, .lead(.init(record: record, person: whom, origin: "customer"))])
    }

    private static func person(_ body: JSONValue) -> SourceFact.Person {
        let places = [body["billing"], body["shipping"], body].compactMap { $0 }
        return SourceFact.Person(
            name: places.lazy.compactMap { Given.joined($0["first_name"]?.given, $0["last_name"]?.given) }.first,
            firstName: places.lazy.compactMap { $0["first_name"]?.given }.first,
            phones: places.compactMap { $0["phone"]?.word },
            country: places.lazy.compactMap { $0["country"]?.given }.first,
            // The keys of the usual translation plugins.
            language: ["wpml_language", "_wpml_language", "trp_language"].lazy.compactMap { meta($0, body)?.given }
                .first
        )
    }
}
