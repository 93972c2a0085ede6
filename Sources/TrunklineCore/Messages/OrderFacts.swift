/// The id of an order in its workspace. Opaque; a workspace with several stores puts the store in front: `acme.1042`.
package struct OrderID: Sendable, Hashable, CustomStringConvertible {
    package let value: String

    /// 1 to 128 characters, no control character or line break; anything else is a refusal of kind `invalid` on the field
    /// `id`. Never read as a number.
    package init(_ value: String) throws(Refusal) {
        try Rule.label(value, field: "id", longest: 128)
        self.value = value
    }

    package var description: String { value }
}

/// What is said about an order.
///
/// ```json
/// {"factAt":"2026-12-01T09:00:00Z","phone":"+34600111222","number":"#1042","state":"shipped","placedAt":"2026-11-30T17:12:00Z",
///  "total":{"amount":"84.50","currency":"EUR"},"refunded":{"amount":"10.00","currency":"EUR"},
///  "items":[{"title":"Mug","quantity":2}],"parcels":[{"company":"Correos","number":"PQ1"}],
///  "links":{"status":"https://shop.example/o/1042"}}
/// ```
package struct OrderFacts: RecordFacts {
    /// An exact amount: never a binary fraction.
    package struct Amount: Sendable, Hashable {
        /// As it was written: a minus at most, up to 15 digits, a point and up to 6 more.
        package let amount: String
        /// Three capital letters (ISO 4217).
        package let currency: String

        /// Throws a refusal on `field`.
        package init(amount: String, currency: String, field: String) throws(Refusal) {
            guard amount.wholeMatch(of: /-?[0-9]{1,15}(\.[0-9]{1,6})?/) != nil else {
                throw .invalid(field, "\(field).amount is not a decimal number, such as 84.50")
            }
            guard currency.utf8.count == 3, currency.utf8.allSatisfy({ (0x41...0x5A).contains($0) }) else {
                throw .invalid(field, "\(field).currency is not three capital letters (ISO 4217), such as EUR")
            }
            self.amount = amount
            self.currency = currency
        }

        fileprivate init?(stored value: JSONValue?) {
            guard let amount = value?["amount"]?.text, let currency = value?["currency"]?.text else { return nil }
            self.amount = amount
            self.currency = currency
        }

        fileprivate var value: JSONValue {
            .object([.init("amount", .string(amount)), .init("currency", .string(currency))])
        }
    }

    package let factAt: Timestamp?
    /// The customer's.
    package let phone: PhoneNumber?
    /// What customers know it by, at most 64 characters: `#1042`.
    package let number: String?
    /// The sender's own word, at most 64 characters.
    package let state: String?
    package let placedAt: Timestamp?
    package let total: Amount?
    package let refunded: Amount?
    package let discounts: Amount?
    /// A list of the sender's own shape, at most 16 KiB: what was ordered.
    package let items: JSONValue?
    /// The same: what is under way.
    package let parcels: JSONValue?
    /// Addresses by what they lead to; https.
    package let links: [String: String]

    /// Checks every rule that needs no clock.
    package init(
        factAt: Timestamp? = nil,
        phone: PhoneNumber? = nil,
        number: String? = nil,
        state: String? = nil,
        placedAt: Timestamp? = nil,
        total: Amount? = nil,
        refunded: Amount? = nil,
        discounts: Amount? = nil,
        items: JSONValue? = nil,
        parcels: JSONValue? = nil,
        links: [String: String] = [:]
    ) throws(Refusal) {
        self.init(unchecked: factAt, phone, number, state, placedAt, total, refunded, discounts, items, parcels, links)
        try Rule.optionalLabel(number, field: "number", longest: 64)
        try Rule.optionalLabel(state, field: "state", longest: 64)
        try Rule.year(placedAt, field: "placedAt")
        try Rule.document(items, field: "items", longest: 16_384)
        try Rule.document(parcels, field: "parcels", longest: 16_384)
        try Rule.links(links)
        try Rule.facts(fields, at: factAt)
    }

    package init(stored fields: [FactField], factAt: Timestamp?) {
        self.init(
            unchecked: factAt,
            fields.text("phone").flatMap { try? PhoneNumber($0) },
            fields.text("number"),
            fields.text("state"),
            fields.text("placedAt").flatMap { Timestamp(rfc3339: $0) },
            Amount(stored: fields.document("total")),
            Amount(stored: fields.document("refunded")),
            Amount(stored: fields.document("discounts")),
            fields.document("items"),
            fields.document("parcels"),
            fields.members("links")
        )
    }

    private init(
        unchecked factAt: Timestamp?,
        _ phone: PhoneNumber?,
        _ number: String?,
        _ state: String?,
        _ placedAt: Timestamp?,
        _ total: Amount?,
        _ refunded: Amount?,
        _ discounts: Amount?,
        _ items: JSONValue?,
        _ parcels: JSONValue?,
        _ links: [String: String]
    ) {
        self.factAt = factAt
        self.phone = phone
        self.number = number
        self.state = state
        self.placedAt = placedAt
        self.total = total
        self.refunded = refunded
        self.discounts = discounts
        self.items = items
        self.parcels = parcels
        self.links = links
    }

    package var fields: [FactField] {
        var fields: [FactField] = []
        fields.add("phone", phone?.value)
        fields.add("number", number)
        fields.add("state", state)
        fields.add("placedAt", placedAt?.rfc3339)
        fields.add("total", total?.value)
        fields.add("refunded", refunded?.value)
        fields.add("discounts", discounts?.value)
        fields.add("items", items)
        fields.add("parcels", parcels)
        fields.add("links", links)
        return fields
    }

    // MARK: JSON

    package static func decode(json: [UInt8]) throws(Refusal) -> OrderFacts {
        var draft = Draft()
        try MessageFields.read(json, names) { (fields, name, index) throws(JSONError) in
            try draft.read(&fields, name, index)
        }
        return try OrderFacts(
            factAt: draft.factAt,
            phone: draft.texts[1].map { text throws(Refusal) in try PhoneNumber(text, field: "phone") },
            number: draft.texts[2],
            state: draft.texts[3],
            placedAt: draft.placedAt,
            total: amount(draft.amounts[5], "total"),
            refunded: amount(draft.amounts[6], "refunded"),
            discounts: amount(draft.amounts[7], "discounts"),
            items: draft.documents[8],
            parcels: draft.documents[9],
            links: draft.links
        )
    }

    /// `{"amount": …, "currency": …}`, the amount as text or as a number, whose digits count.
    private static func amount(_ value: JSONValue?, _ field: String) throws(Refusal) -> Amount? {
        guard let value else { return nil }
        guard case .object(let members) = value else { return nil }
        for member in members where member.name != "amount" && member.name != "currency" {
            throw .invalid(field, "\(field) may hold only amount and currency")
        }
        let amount: String? =
            switch value["amount"] {
            case .string(let text): text
            case .number(let text): text
            default: nil
            }
        guard let amount else { throw .invalid(field, "\(field).amount is missing or not a number") }
        guard let currency = value["currency"]?.text else {
            throw .invalid(field, "\(field).currency is missing or not a text")
        }
        return try Amount(amount: amount, currency: currency, field: field)
    }

    /// The fields as they came, before the rules.
    private struct Draft {
        var factAt: Timestamp?
        var placedAt: Timestamp?
        /// These three by the place of their names.
        var texts: [Int: String] = [:]
        var amounts: [Int: JSONValue] = [:]
        var documents: [Int: JSONValue] = [:]
        var links: [String: String] = [:]

        mutating func read(
            _ fields: inout MessageFields,
            _ name: JSONReader.Name,
            _ index: Int
        ) throws(JSONError) {
            let (bit, path) = (UInt32(index), OrderFacts.names[index])
            switch index {
            case 0: factAt = try fields.moment(name, bit, path)
            case 1...3: texts[index] = try fields.text(name, bit, path)
            case 4: placedAt = try fields.moment(name, bit, path)
            case 5...7: amounts[index] = try fields.document(name, bit, path, .object)
            case 8, 9: documents[index] = try fields.document(name, bit, path, .array)
            default: links = try fields.texts(name, bit, path)
            }
        }
    }

    private static let names: [StaticString] = [
        "factAt", "phone", "number", "state", "placedAt", "total", "refunded", "discounts", "items", "parcels", "links",
    ]
}
