package import TrunklineCore

/// Notifications of Zoho CRM.
///
/// Unsigned: proven by the token that the channel was made with, in the body, which is taken out before anything is stored. One
/// callback names several records: an event for each. They are thin: the records are fetched. Source: zoho.com/crm/developer,
/// "Notification APIs".
package struct ZohoSource: Source {
    package let kind: SourceKind = "zoho"
    package let settings = [
        SourceSetting("channel_id", "the channel that this source was made for; another one's callbacks are refused")
    ]

    package init() {}

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        // Zoho's own limit is 50 characters.
        SourceAccount(secrets: try SourceSecrets(secret, length: 8...50), settings: try checked(settings))
    }

    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        guard let body = try? JSONValue.event(request.body) else { throw SourceRefusal(.malformed) }
        guard let token = body["token"]?.text else { throw SourceRefusal(.unsigned) }
        try SharedSecret.check(Array(token.utf8), account.secrets, header: nil)
        if let channel = account.settings["channel_id"], body["channel_id"]?.id != channel {
            throw SourceRefusal(.foreign)
        }
    }

    package func events(in request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) -> [ReceivedEvent] {
        guard let body = try? JSONValue.event(request.body) else {
            // Nothing of what cannot be read is kept: its token might be in it.
            return [ReceivedEvent(request, body: [], receivedAt: now)]
        }
        let common = body.members.filter {
            !["token", "id", "ids", "values", "affected_values", "query_params"].contains($0.name)
        }
        let ids = body["ids"]?.elements.compactMap(\.id) ?? []
        let whole = Self.event(common, request, now)
        guard (1...EventPack.largest).contains(ids.count), whole.body.count * ids.count <= EventPack.largestCommon
        else {
            return [whole]
        }
        return ids.map { id in
            let values = body["affected_values"]?.elements.first { $0["record_id"]?.id == id }?["values"]
            return Self.event(common + [.init("id", .string(id)), .init("values", values ?? .null)], request, now)
        }
    }

    private static func event(_ members: [JSONValue.Member], _ request: ReceivedRequest, _ now: Timestamp)
        -> ReceivedEvent
    {
        var json = JSONWriter()
        json.canonical(.object(members))
        return ReceivedEvent(request, body: json.bytes, receivedAt: now)
    }

    package func eventKey(of event: ReceivedEvent) -> EventKey {
        guard let body = try? JSONValue.event(event.body), let id = body["id"]?.id else {
            return EventKey(digestOf: event.body)
        }
        let parts = ["channel_id", "module", "operation", "server_time"].map { body[$0]?.id ?? "" }
        return EventKey("zoho:" + (parts + [id]).joined(separator: "|"))
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        let body = try JSONValue.event(event.body)
        guard let module = body["module"]?.given else {
            throw Refusal(kind: .invalid, field: "module", reason: "module is missing")
        }
        guard ["Leads", "Contacts", "Deals", "Events"].contains(module) else { return .ignored(.unknownTopic) }
        let operation: String
        // Both spellings are about: the documentation's and what accounts really send.
        switch body["operation"]?.given {
        case "insert", "create": operation = "create"
        case "update", "edit": operation = "edit"
        case "delete": return .ignored(.nothingNew)
        default: return .ignored(.unknownTopic)
        }
        guard let id = body["id"]?.id else {
            throw Refusal(kind: .invalid, field: "ids", reason: "ids is missing, or holds no id")
        }
        return .fetch(
            RecordToFetch(
                type: module,
                id: id,
                event: operation,
                version: body["server_time"]?.id,
                at: body["server_time"]?.momentInMilliseconds
            )
        )
    }
}
