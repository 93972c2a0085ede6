package import TrunklineCore

/// A WooCommerce store's webhooks.
///
/// Signed over the raw body, Base64, no time. The first request to a new webhook is a ping without signature, which must be
/// answered with 200 or the webhook stays off. WooCommerce never sends a failed delivery again, and switches a webhook off
/// after some six failures in a row. Source: WooCommerce's `includes/class-wc-webhook.php`.
package struct WooCommerceSource: Source {
    package let kind: SourceKind = "woocommerce"
    package let settings = [
        SourceSetting(
            "pickup_status",
            "the status that means ready for pickup (a plugin's; ready-for-pickup unless said otherwise)"
        )
    ]

    package init() {}

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        SourceAccount(
            secrets: try SourceSecrets(secret, key: { Array(WooCommerce.signingText($0).utf8) }),
            settings: try checked(settings)
        )
    }

    /// `webhook_id=7`, as a form, and nothing of the headers that every event has. It says nothing and does nothing.
    package func handshake(_ request: ReceivedRequest, _ account: SourceAccount) -> SourceAnswer? {
        let isEvent = request.headers.contains { $0.name.lowercased().hasPrefix("x-wc-webhook-") }
        let start = Array("webhook_id=".utf8)
        guard request.method == .post, !isEvent, request.body.starts(with: start) else { return nil }
        let id = request.body.dropFirst(start.count)
        guard (1...20).contains(id.count), id.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return .ok
    }

    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        try BodySignature(header: "x-wc-webhook-signature", .base64).verify(request, account.secrets, now: now)
    }

    /// The delivery id is a hash of webhook and current second: two orders within one second share it. So it is no part of the
    /// key, and the body is.
    package func eventKey(of event: ReceivedEvent) -> EventKey {
        guard let webhook = event.header("x-wc-webhook-id") else { return EventKey(digestOf: event.body) }
        let site = event.header("x-wc-webhook-source") ?? ""
        let topic = event.header("x-wc-webhook-topic") ?? ""
        return EventKey("woocommerce:\(site)|\(webhook)|\(topic)|\(Digest.hex(Digest.sha256(event.body)))")
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        let topic = event.header("x-wc-webhook-topic") ?? ""
        switch topic {
        case "order.created", "order.updated", "order.restored":
            return try WooCommerce.order(try JSONValue.event(event.body), settings)
        case "order.deleted":
            guard let id = try JSONValue.event(event.body)["id"]?.id else { throw WooCommerce.missingID }
            return SourceReading(checking: [.order(.init(record: .init(id: id, at: nil), moment: .removed))])
        case "customer.created", "customer.updated":
            return try WooCommerce.customer(try JSONValue.event(event.body), isNew: topic == "customer.created")
        default:
            return .ignored(.unknownTopic)
        }
    }
}
