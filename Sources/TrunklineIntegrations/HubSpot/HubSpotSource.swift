package import TrunklineCore

/// HubSpot's app webhooks, and its workflows' action "send a webhook".
///
/// Signed in three versions, of which the third covers method, address, body and time; the older ones are taken where it is not
/// sent. Up to a hundred events come in one request, in no order: an event for each, so that one bad one costs no other. They are
/// thin: the record is fetched. More than five seconds, or any 4xx, and HubSpot sends again, ten times in a day. Source:
/// developers.hubspot.com, "Webhooks" and "Validating requests"; hubspot-api-nodejs, `src/utils/signature.ts`.
package struct HubSpotSource: Source {
    package let kind: SourceKind = "hubspot"
    private static let v3 = "x-hubspot-signature-v3"
    private static let older = "x-hubspot-signature"
    private static let timestamp = "x-hubspot-request-timestamp"
    private static let window: Duration = .seconds(300)

    package init() {}

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        SourceAccount(secrets: try SourceSecrets(secret), settings: try checked(settings))
    }

    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        let head = Array((request.method.rawValue + Self.signedAddress(request.url)).utf8)
        guard request.has(Self.v3) || !request.has(Self.older) else {
            return try verifyOlder(request, account.secrets, head)
        }
        let code = try BodySignature.code(request.only(Self.v3)[...], .base64, header: Self.v3)
        let time = try request.only(Self.timestamp)
        try SignedTime.check(time, milliseconds: true, now: now, window: Self.window, header: Self.timestamp)
        try BodySignature.check(code, of: [head, request.body, Array(time.utf8)], account.secrets, header: Self.v3)
    }

    /// A plain digest behind the secret: nothing in it says when it was made.
    private func verifyOlder(_ request: ReceivedRequest, _ secrets: SourceSecrets, _ head: [UInt8])
        throws(SourceRefusal)
    {
        let version =
            request.has("x-hubspot-signature-version") ? try request.only("x-hubspot-signature-version") : "v1"
        guard ["v1", "v2"].contains(version) else {
            throw SourceRefusal(.malformed, header: "x-hubspot-signature-version")
        }
        let code = try BodySignature.code(request.only(Self.older)[...], .hex, header: Self.older)
        var isRight = false
        for secret in secrets.values {
            let digest = Digest.sha256(secret + (version == "v2" ? head : []) + request.body)
            if Digest.areSameSecret(code, digest) { isRight = true }
        }
        guard isRight else { throw SourceRefusal(.forged, header: Self.older) }
    }

    /// The address as HubSpot signs it: with these escapes taken back (its list is on a page that was not at hand).
    private static func signedAddress(_ url: String) -> String {
        let escapes: [(String, String)] = [
            ("3A", ":"), ("2F", "/"), ("3F", "?"), ("40", "@"), ("21", "!"), ("24", "$"), ("27", "'"), ("28", "("),
            ("29", ")"), ("2A", "*"), ("2C", ","), ("3B", ";"),
        ]
        guard url.contains("%") else { return url }
        var out = ""
        var rest = url[...]
        while let character = rest.first {
            let code = rest.dropFirst().prefix(2).uppercased()
            if character == "%", let (_, plain) = escapes.first(where: { $0.0 == code }) {
                out += plain
                rest = rest.dropFirst(3)
            } else {
                out.append(character)
                rest = rest.dropFirst()
            }
        }
        return out
    }

    /// What differs from try to try is left out, so that a repeat has the bytes of the first. Of one request, what was made comes before what was changed, and the rest by its time: HubSpot mixes them.
    package func events(in request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) -> [ReceivedEvent] {
        guard case .array(let elements)? = try? JSONValue.any(request.body),
            (1...EventPack.largest).contains(elements.count)
        else {
            return [ReceivedEvent(request, receivedAt: now)]
        }
        let sorted = elements.enumerated().sorted { a, b in
            let (first, second) = (Self.place(a.element), Self.place(b.element))
            return first == second ? a.offset < b.offset : first < second
        }
        return sorted.map { _, element in
            var json = JSONWriter()
            json.canonical(element.without("attemptNumber"))
            return ReceivedEvent(request, body: json.bytes, receivedAt: now)
        }
    }

    private static func place(_ event: JSONValue) -> (Int, Int64) {
        let isCreation = event["subscriptionType"]?.given?.hasSuffix(".creation") == true
        return (isCreation ? 0 : 1, event["occurredAt"]?.momentInMilliseconds?.microseconds ?? .max)
    }

    /// `eventId` alone is not unique, as HubSpot says itself; `attemptNumber` differs from try to try.
    package func eventKey(of event: ReceivedEvent) -> EventKey {
        guard let body = try? JSONValue.event(event.body), let id = body["eventId"]?.id else {
            return EventKey(digestOf: event.body)
        }
        let parts = ["portalId", "subscriptionId", "objectId", "occurredAt", "propertyName"].map { body[$0]?.id ?? "" }
        return EventKey("hubspot:" + ([id] + parts).joined(separator: "|"))
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        let body = try JSONValue.event(event.body)
        if body["vid"] != nil, body["properties"] != nil { return try HubSpot.contact(body) }
        return try HubSpot.reading(body)
    }
}
