package import TrunklineCore

/// Meta's lead ads: a page's `leadgen` events. They only say that there is a lead: it is fetched.
///
/// Signed over the bytes as they were sent, escapes and all (`X-Hub-Signature-256`, the app's secret). Up to a thousand changes
/// come in one request: an event for each. Retried for 36 hours. Source: developers.facebook.com, Graph API webhooks, "Getting
/// started".
package struct MetaLeadsSource: Source {
    package let kind: SourceKind = "meta-leads"
    package let settings = [
        SourceSetting("verify_token", "the word that Meta's dashboard repeats when the webhook is set up (needed)")
    ]

    package init() {}

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        let settings = try checked(settings)
        guard settings["verify_token"] != nil else {
            throw Refusal(
                kind: .invalid,
                field: "settings.verify_token",
                reason: "verify_token is missing: Meta asks for it when the webhook is set up"
            )
        }
        return SourceAccount(secrets: try SourceSecrets(secret), settings: settings)
    }

    /// `?hub.mode=subscribe&hub.challenge=…&hub.verify_token=…`
    package func handshake(_ request: ReceivedRequest, _ account: SourceAccount) -> SourceAnswer? {
        guard request.method == .get else { return nil }
        let refused = SourceAnswer(status: 403)
        guard
            let query = try? FormBody(Array(request.query.utf8), contentType: "application/x-www-form-urlencoded"),
            query["hub.mode"] == "subscribe", let token = query["hub.verify_token"],
            let challenge = query["hub.challenge"], let expected = account.settings["verify_token"],
            Digest.areSameSecret(Array(token.utf8), Array(expected.utf8)),
            // It is repeated: nothing but a word.
            challenge.utf8.count <= 128, SignatureSettings.isHeaderName(challenge)
        else { return refused }
        return SourceAnswer(status: 200, contentType: "text/plain; charset=utf-8", body: Array(challenge.utf8))
    }

    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        try BodySignature(header: "x-hub-signature-256", prefix: "sha256=", .hex)
            .verify(request, account.secrets, now: now)
    }

    package func events(in request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) -> [ReceivedEvent] {
        let whole = [ReceivedEvent(request, receivedAt: now)]
        guard let body = try? JSONValue.event(request.body) else { return whole }
        let entries = body["entry"]?.elements ?? []
        // What each change is written with, before any is: the names of pages are short.
        let changes = entries.reduce(0) { $0 + ($1["changes"]?.elements.count ?? 0) }
        let common = EventPack.bytes(of: body["object"]) + (entries.map { EventPack.bytes(of: $0["id"]) }.max() ?? 0)
        guard changes <= EventPack.largest, changes * common <= EventPack.largestCommon else { return whole }
        var events: [ReceivedEvent] = []
        for entry in entries {
            for change in entry["changes"]?.elements ?? [] {
                var json = JSONWriter()
                json.canonical(
                    .object([
                        .init("object", body["object"] ?? .null), .init("page", entry["id"] ?? .null),
                        .init("change", change),
                    ])
                )
                events.append(ReceivedEvent(request, body: json.bytes, receivedAt: now))
            }
        }
        return (1...EventPack.largest).contains(events.count) ? events : whole
    }

    package func eventKey(of event: ReceivedEvent) -> EventKey {
        guard let lead = try? MetaLead(event) else { return EventKey(digestOf: event.body) }
        return EventKey("meta:\(lead.page)|\(lead.id)")
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        let body = try JSONValue.event(event.body)
        guard body["object"]?.given == "page", body.at("change", "field")?.given == "leadgen" else {
            return .ignored(.unknownTopic)
        }
        let lead = try MetaLead(event)
        return .fetch(
            RecordToFetch(type: "lead", id: lead.id, account: lead.page, event: "leadgen", at: lead.createdAt)
        )
    }
}

/// One change of a page, as it is stored.
private struct MetaLead {
    let page: String
    let id: String
    let createdAt: Timestamp?

    init(_ event: ReceivedEvent) throws(Refusal) {
        let body = try JSONValue.event(event.body)
        let value = body.at("change", "value")
        // Ids come as numbers or as texts.
        guard let id = value?["leadgen_id"]?.id, let page = value?["page_id"]?.id ?? body["page"]?.id else {
            throw Refusal(kind: .invalid, field: "leadgen_id", reason: "leadgen_id or page_id is missing, or is no id")
        }
        self.id = id
        self.page = page
        createdAt = value?["created_time"]?.momentInSeconds
    }
}
