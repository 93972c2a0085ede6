package import TrunklineCore

/// Pipedrive's webhooks, version 2 and the older version 1 by what their bodies say.
///
/// Unsigned: HTTP Basic, where the webhook was made with a user and a password, and else only the address. A 2xx within ten
/// seconds; ten first failures ban the webhook for half an hour, and nothing of that time is sent again. Source:
/// pipedrive.readme.io, "Guide for webhooks v2".
package struct PipedriveSource: Source {
    package let kind: SourceKind = "pipedrive"
    package let settings = [
        SourceSetting("own_user_id", "the Pipedrive user whose changes are made from here, and are passed over")
    ]

    package init() {}

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        let settings = try checked(settings)
        if secret.isEmpty { return SourceAccount(secrets: .none, settings: settings) }
        let secrets = try SourceSecrets(secret) { text in
            text.split(separator: ":", maxSplits: 1).count == 2 ? Array(text.utf8) : nil
        }
        return SourceAccount(secrets: secrets, settings: settings)
    }

    /// `user:password`, as the webhook was made with.
    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        if account.secrets.values.isEmpty { return }
        let header = "authorization"
        let parts = try request.only(header).split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "basic", let given = Base64.decode(parts[1].utf8) else {
            throw SourceRefusal(.malformed, header: header)
        }
        try SharedSecret.check(given, account.secrets, header: header)
    }

    /// What differs from try to try (`meta.attempt`, version 1's `retry`) is left out, so that a repeat has the bytes of the first.
    package func events(in request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) -> [ReceivedEvent] {
        guard case .object(let members)? = try? JSONValue.event(request.body) else {
            return [ReceivedEvent(request, receivedAt: now)]
        }
        let kept = members.compactMap { member in
            switch member.name {
            case "retry": nil as JSONValue.Member?
            case "meta": .init("meta", member.value.without("attempt"))
            default: member
            }
        }
        var json = JSONWriter()
        json.canonical(.object(kept))
        return [ReceivedEvent(request, body: json.bytes, receivedAt: now)]
    }

    /// `meta.id` of version 2 is the event's own, but for users it is the user: so the time and what it is of stand beside it.
    package func eventKey(of event: ReceivedEvent) -> EventKey {
        guard let body = try? JSONValue.event(event.body), let meta = body["meta"], let id = meta["id"]?.id else {
            return EventKey(digestOf: event.body)
        }
        let what = meta["entity"]?.given ?? body["event"]?.given ?? ""
        let time = meta["timestamp_micro"]?.word ?? meta["timestamp"]?.word ?? ""
        let parts = [meta["company_id"]?.id ?? "", meta["webhook_id"]?.id ?? "", what, id, time]
        return EventKey("pipedrive:" + parts.joined(separator: "|"))
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        let change = try PipedriveChange(JSONValue.event(event.body))
        if change.isBulk { return .ignored(.bulk) }
        if change.isByAPI, let own = settings["own_user_id"], own == change.user { return .ignored(.ownChange) }
        return try change.reading()
    }
}
