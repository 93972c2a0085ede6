package import TrunklineCore

/// Lead forms of Google Ads.
///
/// Proven by a key in the body (`google_key`), which is taken out before anything is stored. The button "send test data" posts a
/// lead with `is_test`. A 4xx is shown to the advertiser, a 5xx is sent again. Source: developers.google.com/google-ads/webhook.
package struct GoogleAdsSource: Source {
    package let kind: SourceKind = "google-ads"

    package init() {}

    package var accepted: SourceAnswer {
        SourceAnswer(status: 200, contentType: "application/json", body: Array("{}".utf8))
    }

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        SourceAccount(secrets: try SourceSecrets(secret, length: 6...512), settings: try checked(settings))
    }

    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        guard let body = try? JSONValue.event(request.body) else { throw SourceRefusal(.malformed) }
        guard let key = body["google_key"]?.text else { throw SourceRefusal(.unsigned) }
        try SharedSecret.check(Array(key.utf8), account.secrets, header: nil)
    }

    package func events(in request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) -> [ReceivedEvent] {
        guard let body = try? JSONValue.event(request.body) else {
            // Nothing of what cannot be read is kept: its key might be in it.
            return [ReceivedEvent(request, body: [], receivedAt: now)]
        }
        var json = JSONWriter()
        json.canonical(.object(body.members.filter { $0.name != "google_key" }))
        return [ReceivedEvent(request, body: json.bytes, receivedAt: now)]
    }

    package func eventKey(of event: ReceivedEvent) -> EventKey {
        guard let body = try? JSONValue.event(event.body), let id = body["lead_id"]?.id else {
            return EventKey(digestOf: event.body)
        }
        return EventKey("google-ads:" + id)
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        let body = try JSONValue.event(event.body)
        if body["is_test"]?.isTrue == true { return .ignored(.test) }
        guard let id = body["lead_id"]?.id else {
            throw Refusal(kind: .invalid, field: "lead_id", reason: "lead_id is missing")
        }
        var columns: [String: String] = [:]
        for column in body["user_column_data"]?.elements ?? [] {
            if let name = column["column_id"]?.given { columns[name] = column["string_value"]?.given }
        }
        return SourceReading(checking: [
            .lead(
                .init(
                    record: .init(id: id, at: body["lead_submit_time"]?.moment),
                    person: .init(
                        name: columns["FULL_NAME"] ?? Given.joined(columns["FIRST_NAME"], columns["LAST_NAME"]),
                        firstName: columns["FIRST_NAME"],
                        phones: [columns["PHONE_NUMBER"], columns["WORK_PHONE"]].compactMap { $0 },
                        country: columns["COUNTRY"]
                    ),
                    origin: body["form_id"]?.id,
                    details: columns
                )
            )
        ])
    }
}
