/// What is said about a person, whose phone number is the contact's name.
///
/// ```json
/// {"factAt":"2026-12-01T09:00:00Z","name":"Marta Soler","email":"marta@example.net","language":"es-ES","country":"ES",
///  "status":"Repeat customer","consent":"given","ids":{"shopify":"88"},"tags":["vip"],"notes":["Prefers the afternoon."],
///  "links":{"shop":"https://backoffice.example.net/customers/88"},"loyalty":{"points":120},"metrics":{"visits":3}}
/// ```
package struct ContactFacts: RecordFacts {
    package let factAt: Timestamp?
    /// At most 200 characters.
    package let name: String?
    /// At most 254 bytes, with one `@`.
    package let email: String?
    /// As the sender has it: `es`, `es-ES`; at most 35 letters, digits, `-` and `_`.
    package let language: String?
    /// Two capital letters (ISO 3166).
    package let country: String?
    /// A label of the sender's own, at most 64 characters: a segment.
    package let status: String?
    /// `given` or `withdrawn`: whether the person agrees to be written to; nil and empty: nobody has asked, or nobody knows any more.
    package let consent: String?
    /// The person's id in other systems, by the system's name.
    package let ids: [String: String]
    /// At most 50, of at most 64 characters.
    package let tags: [String]?
    /// At most 50, of at most 1,000 characters each.
    package let notes: [String]?
    /// Addresses by what they lead to; https.
    package let links: [String: String]
    /// An object of the sender's own shape, at most 4 KiB.
    package let loyalty: JSONValue?
    /// The same.
    package let metrics: JSONValue?

    package static let consentGiven = "given"
    package static let consentWithdrawn = "withdrawn"

    /// Checks every rule that needs no clock.
    package init(
        factAt: Timestamp? = nil,
        name: String? = nil,
        email: String? = nil,
        language: String? = nil,
        country: String? = nil,
        status: String? = nil,
        consent: String? = nil,
        ids: [String: String] = [:],
        tags: [String]? = nil,
        notes: [String]? = nil,
        links: [String: String] = [:],
        loyalty: JSONValue? = nil,
        metrics: JSONValue? = nil
    ) throws(Refusal) {
        self.init(
            unchecked: factAt,
            name,
            email,
            language,
            country,
            status,
            consent,
            ids,
            tags,
            notes,
            links,
            loyalty,
            metrics
        )
        try Rule.optionalLabel(name, field: "name", longest: 200)
        if let email, !email.isEmpty { try Rule.email(email) }
        if let language, !language.isEmpty { try Rule.language(language) }
        if let country, !country.isEmpty { try Rule.country(country) }
        try Rule.optionalLabel(status, field: "status", longest: 64)
        if let consent, !consent.isEmpty { try Rule.consent(consent) }
        try Rule.members(ids, field: "ids")
        try Rule.list(tags, field: "tags", longest: 64)
        try Rule.list(notes, field: "notes", longest: 1_000)
        try Rule.links(links)
        try Rule.document(loyalty, field: "loyalty", longest: 4_096)
        try Rule.document(metrics, field: "metrics", longest: 4_096)
        try Rule.facts(fields, at: factAt)
    }

    package init(stored fields: [FactField], factAt: Timestamp?) {
        self.init(
            unchecked: factAt,
            fields.text("name"),
            fields.text("email"),
            fields.text("language"),
            fields.text("country"),
            fields.text("status"),
            fields.text("consent"),
            fields.members("ids"),
            fields.list("tags"),
            fields.list("notes"),
            fields.members("links"),
            fields.document("loyalty"),
            fields.document("metrics")
        )
    }

    private init(
        unchecked factAt: Timestamp?,
        _ name: String?,
        _ email: String?,
        _ language: String?,
        _ country: String?,
        _ status: String?,
        _ consent: String?,
        _ ids: [String: String],
        _ tags: [String]?,
        _ notes: [String]?,
        _ links: [String: String],
        _ loyalty: JSONValue?,
        _ metrics: JSONValue?
    ) {
        self.factAt = factAt
        self.name = name
        self.email = email
        self.language = language
        self.country = country
        self.status = status
        self.consent = consent
        self.ids = ids
        self.tags = tags
        self.notes = notes
        self.links = links
        self.loyalty = loyalty
        self.metrics = metrics
    }

    package var fields: [FactField] {
        var fields: [FactField] = []
        fields.add("name", name)
        fields.add("email", email)
        fields.add("language", language)
        fields.add("country", country)
        fields.add("status", status)
        fields.add("consent", consent)
        fields.add("ids", ids)
        fields.add("tags", tags)
        fields.add("notes", notes)
        fields.add("links", links)
        fields.add("loyalty", loyalty)
        fields.add("metrics", metrics)
        return fields
    }

    // MARK: JSON

    package static func decode(json: [UInt8]) throws(Refusal) -> ContactFacts {
        var draft = Draft()
        try MessageFields.read(json, names) { (fields, name, index) throws(JSONError) in
            try draft.read(&fields, name, index)
        }
        return try ContactFacts(
            factAt: draft.factAt,
            name: draft.texts[1],
            email: draft.texts[2],
            language: draft.texts[3],
            country: draft.texts[4],
            status: draft.texts[5],
            consent: draft.texts[6],
            ids: draft.ids,
            tags: draft.tags,
            notes: draft.notes,
            links: draft.links,
            loyalty: draft.loyalty,
            metrics: draft.metrics
        )
    }

    /// The fields as they came, before the rules.
    private struct Draft {
        var factAt: Timestamp?
        /// By the place of their names.
        var texts: [Int: String] = [:]
        var ids: [String: String] = [:]
        var tags: [String]?
        var notes: [String]?
        var links: [String: String] = [:]
        var loyalty: JSONValue?
        var metrics: JSONValue?

        mutating func read(
            _ fields: inout MessageFields,
            _ name: JSONReader.Name,
            _ index: Int
        ) throws(JSONError) {
            let (bit, path) = (UInt32(index), ContactFacts.names[index])
            switch index {
            case 0: factAt = try fields.moment(name, bit, path)
            case 1...6: texts[index] = try fields.text(name, bit, path)
            case 7: ids = try fields.texts(name, bit, path)
            case 8: tags = try fields.list(name, bit, path)
            case 9: notes = try fields.list(name, bit, path)
            case 10: links = try fields.texts(name, bit, path)
            case 11: loyalty = try fields.document(name, bit, path, .object)
            default: metrics = try fields.document(name, bit, path, .object)
            }
        }
    }

    private static let names: [StaticString] = [
        "factAt", "name", "email", "language", "country", "status", "consent", "ids", "tags", "notes", "links",
        "loyalty",
        "metrics",
    ]
}

extension Rule {
    fileprivate static func email(_ text: String) throws(Refusal) {
        try label(text, field: "email", longest: 254)
        let parts = text.utf8.split(separator: 0x40, omittingEmptySubsequences: false)
        guard text.utf8.count <= 254, parts.count == 2, parts.allSatisfy({ !$0.isEmpty }),
            !text.unicodeScalars.contains(where: \.properties.isWhitespace)
        else {
            throw .invalid("email", "email is not one address (at most 254 bytes, one @, no spaces)")
        }
    }

    fileprivate static func consent(_ text: String) throws(Refusal) {
        guard text == ContactFacts.consentGiven || text == ContactFacts.consentWithdrawn else {
            throw .invalid("consent", "consent is not given or withdrawn")
        }
    }

    fileprivate static func language(_ text: String) throws(Refusal) {
        let isTag = text.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || $0 == 0x2D || $0 == 0x5F
        }
        guard isTag, (2...35).contains(text.utf8.count) else {
            throw .invalid("language", "language is not a language tag, such as es or es-ES")
        }
    }

    fileprivate static func country(_ text: String) throws(Refusal) {
        guard text.utf8.count == 2, text.utf8.allSatisfy({ (0x41...0x5A).contains($0) }) else {
            throw .invalid("country", "country is not two capital letters (ISO 3166), such as ES")
        }
    }
}
