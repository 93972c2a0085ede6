internal import TrunklineCore

/// What HubSpot's events say.
enum HubSpot {
    static func reading(_ event: JSONValue) throws(Refusal) -> SourceReading {
        guard let type = event["subscriptionType"]?.given ?? event["eventType"]?.given else {
            throw Refusal(kind: .invalid, field: "subscriptionType", reason: "subscriptionType is missing")
        }
        let parts = type.split(separator: ".", maxSplits: 1).map(String.init)
        guard parts.count == 2, let object = object(parts[0], event["objectTypeId"]?.given) else {
            return .ignored(.unknownTopic)
        }
        // Imports tell of people whom nothing has happened to.
        if event["changeSource"]?.given == "IMPORT" { return .ignored(.bulk) }
        switch parts[1] {
        case "creation", "propertyChange", "merge", "restore": break
        case "privacyDeletion": return .ignored(.privacy)
        case "deletion": return .ignored(.nothingNew)
        default: return .ignored(.unknownTopic)
        }
        guard let id = event["primaryObjectId"]?.id ?? event["objectId"]?.id else {
            throw Refusal(kind: .invalid, field: "objectId", reason: "objectId is missing, or is no id")
        }
        let property = event["propertyName"]?.given.map { ":" + $0 } ?? ""
        return .fetch(
            RecordToFetch(
                type: object,
                id: id,
                account: event["portalId"]?.id,
                event: parts[1] + property,
                // A stage may be reached more than once, and each time is another one.
                version: event["occurredAt"]?.id,
                at: event["occurredAt"]?.momentInMilliseconds
            )
        )
    }

    /// What we read of: people, and what they are in the middle of.
    private static func object(_ word: String, _ typeID: String?) -> String? {
        switch (word, typeID) {
        case ("contact", _), ("object", "0-1"): "contact"
        case ("deal", _), ("object", "0-3"): "deal"
        case ("ticket", _), ("object", "0-5"): "ticket"
        default: nil
        }
    }

    /// A workflow sends the whole record, in its oldest form; somebody built that workflow to have this person written to.
    static func contact(_ body: JSONValue) throws(Refusal) -> SourceReading {
        guard let id = body["vid"]?.id else {
            throw Refusal(kind: .invalid, field: "vid", reason: "vid is missing, or is no id")
        }
        func value(_ name: String) -> String? { body.at("properties", name, "value")?.given }
        let modified = body.at("properties", "lastmodifieddate", "value")?.momentInMilliseconds
        let record = SourceFact.Record(
            id: id,
            at: modified,
            version: value("lastmodifieddate"),
            createdAt: body.at("properties", "createdate", "value")?.momentInMilliseconds
        )
        let person = SourceFact.Person(
            name: Given.joined(value("firstname"), value("lastname")),
            firstName: value("firstname"),
            phones: ["hs_whatsapp_phone_number", "mobilephone", "phone"].compactMap(value),
            country: value("hs_country_region_code") ?? value("country"),
            language: value("hs_language")
        )
        return SourceReading(checking: [
            .contact(.init(record: record, person: person)),
            .lead(.init(record: record, person: person, origin: "workflow")),
        ])
    }
}
