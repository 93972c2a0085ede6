package import TrunklineCore

/// A Shopify shop's webhooks, in both families of headers: the classic ones (`X-Shopify-…`) and those of "Events"
/// subscriptions (`shopify-…`).
///
/// Signed over the raw body with the app's client secret, or with the secret that the shop's admin shows for webhooks made
/// there; no time is signed, so that a repeat is only known by its key. Shopify wants a 2xx within five seconds, and deletes a
/// subscription after eight failed retries. Source: shopify.dev, "HTTPS webhooks" and "Ignore duplicates"; its app library
/// (shopify-app-js, `lib/webhooks`).
package struct ShopifySource: Source {
    package let kind: SourceKind = "shopify"

    package init() {}

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        SourceAccount(secrets: try SourceSecrets(secret), settings: try checked(settings))
    }

    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        // The newer family comes first where both are there, as in Shopify's own library.
        let isEvents = request.has("shopify-hmac-sha256")
        // A signature of an empty body says nothing about anything.
        guard !request.body.isEmpty else { throw SourceRefusal(.malformed) }
        try BodySignature(header: isEvents ? "shopify-hmac-sha256" : "x-shopify-hmac-sha256", .base64)
            .verify(request, account.secrets, now: now)
    }

    /// An event id is shared by all subscriptions that one action of the merchant triggers (an order that is paid at once tells
    /// `orders/create` and `orders/paid` under one), so that shop and topic belong to the key. Whether the webhook id stays the
    /// same over retries is told both ways: it is used where there is no event id.
    package func eventKey(of event: ReceivedEvent) -> EventKey {
        let headers = ShopifyHeaders(event)
        if let id = headers["event-id"] {
            return EventKey("shopify:\(headers["shop-domain"] ?? "")|\(headers.topic)|\(id)")
        }
        if let id = headers["webhook-id"] {
            return EventKey("shopify:\(headers["shop-domain"] ?? "")|\(headers.topic)|webhook:\(id)")
        }
        return EventKey(digestOf: event.body)
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        let headers = ShopifyHeaders(event)
        if headers["test"]?.lowercased() == "true" { return .ignored(.test) }
        let body = try JSONValue.event(event.body)
        if body["test"]?.isTrue == true { return .ignored(.test) }
        let triggered = headers["triggered-at"].flatMap { Timestamp(rfc3339: $0) }
        return try Shopify.reading(headers.topic, body, triggered)
    }
}

/// The headers of either family, by the name behind their prefix.
private struct ShopifyHeaders {
    private let event: ReceivedEvent
    private let prefix: String

    init(_ event: ReceivedEvent) {
        self.event = event
        prefix = event.header("shopify-topic") != nil ? "shopify-" : "x-shopify-"
    }

    subscript(_ name: String) -> String? { event.header(prefix + name) }

    /// `orders/create`. The newer family has an object and a verb apart, `Order` and `create`.
    var topic: String {
        let topic = self["topic"] ?? ""
        guard let action = self["action"] else { return topic.lowercased() }
        return Shopify.topic(object: topic, action: action)
    }
}
