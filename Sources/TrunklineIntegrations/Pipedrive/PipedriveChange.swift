internal import TrunklineCore

/// A change of a record, in one shape for both versions.
struct PipedriveChange {
    private enum Action {
        case create, change, delete, other
    }

    private let action: Action
    private let entity: String
    private let id: String?
    private let account: String?
    private let at: Timestamp?
    private let data: JSONValue
    let user: String?
    let isByAPI: Bool
    let isBulk: Bool

    init(_ body: JSONValue) throws(Refusal) {
        guard let meta = body["meta"] else {
            throw Refusal(kind: .invalid, field: "meta", reason: "meta is missing")
        }
        user = meta["user_id"]?.id
        isByAPI = meta["change_source"]?.given == "api"
        isBulk = meta["is_bulk_edit"]?.isTrue == true || meta["is_bulk_update"]?.isTrue == true
        account = meta["company_id"]?.id
        let isSecond = meta["version"]?.word?.hasPrefix("2") == true
        entity = (isSecond ? meta["entity"] : meta["object"])?.given ?? ""
        id = isSecond ? meta["entity_id"]?.id : meta["id"]?.id
        data = (isSecond ? body["data"] : body["current"]) ?? .null
        at = isSecond ? meta["timestamp"]?.moment : meta["timestamp"]?.momentInSeconds
        switch meta["action"]?.given {
        case "create", "added": action = .create
        case "change", "updated": action = .change
        case "delete", "deleted": action = .delete
        default: action = .other
        }
    }

    func reading() throws(Refusal) -> SourceReading {
        if action == .delete || action == .other { return .ignored(.nothingNew) }
        switch entity {
        case "person": return try person()
        // None of these has a phone: whom it is about is asked for.
        case "deal", "lead", "activity":
            return .fetch(
                RecordToFetch(
                    type: entity,
                    id: try required(),
                    account: account,
                    event: action == .create ? "create" : "change",
                    version: data["update_time"]?.given,
                    at: at
                )
            )
        default: return .ignored(.unknownTopic)
        }
    }

    private func required() throws(Refusal) -> String {
        guard let id = id ?? data["id"]?.id else {
            throw Refusal(kind: .invalid, field: "meta.entity_id", reason: "the record's id is missing, or is no id")
        }
        return id
    }

    private func person() throws(Refusal) -> SourceReading {
        let record = SourceFact.Record(
            id: try required(),
            at: at,
            version: data["update_time"]?.given,
            createdAt: data["add_time"]?.momentInUTC
        )
        // `phones` in version 2, `phone` in version 1; the primary one first.
        let entries = data["phones"]?.elements ?? data["phone"]?.elements ?? []
        let sorted = entries.filter { $0["primary"]?.isTrue == true } + entries.filter { $0["primary"]?.isTrue != true }
        let whom = SourceFact.Person(
            name: data["name"]?.given ?? Given.joined(data["first_name"]?.given, data["last_name"]?.given),
            firstName: data["first_name"]?.given,
            phones: sorted.compactMap { $0["value"]?.word }
        )
        let contact = SourceFact.contact(.init(record: record, person: whom))
        guard action == .create else { return SourceReading(checking: [contact]) }
        return SourceReading(checking: [contact, .lead(.init(record: record, person: whom, origin: "person"))])
    }
}
