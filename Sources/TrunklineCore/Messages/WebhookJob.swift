/// A received event as it came: a `trunkline.webhook.v1` message. Headers and bytes are kept exactly; what follows from
/// the event is decided later.
public struct WebhookJob: Sendable {
    public typealias Header = (name: String, value: String)

    /// The schema of the message that this program writes and reads.
    public static let schema = "trunkline.webhook.v1"
    /// The most bytes an event's body may have.
    public static let maximumBodyBytes = 1_048_576
    /// The most bytes a message may have: the body in Base64, and its headers.
    public static let maximumMessageBytes = 1_572_864
    /// The most headers, and the most bytes of one value and of all of them together.
    public static let maximumHeaders = 128
    static let maximumHeaderValueBytes = 8_192
    static let maximumHeaderBytes = 65_536

    public let source: SourceID
    /// In the order received; names may repeat. Names are compared without regard to case.
    public let headers: [Header]
    /// The raw body, at most 1 MiB; may be empty.
    public let body: [UInt8]
    public let receivedAt: Timestamp

    public init(source: SourceID, headers: [Header], body: [UInt8], receivedAt: Timestamp) throws(Refusal) {
        if body.count > WebhookJob.maximumBodyBytes {
            throw Refusal(
                kind: .tooLarge,
                field: "bodyBase64",
                reason: "the event's body has \(body.count) bytes, at most \(WebhookJob.maximumBodyBytes) are allowed"
            )
        }
        if headers.count > WebhookJob.maximumHeaders {
            throw .invalid(
                "headers",
                "headers has \(headers.count) entries, at most \(WebhookJob.maximumHeaders) are allowed"
            )
        }
        var total = 0
        for header in headers {
            guard (1...256).contains(header.name.utf8.count), header.name.utf8.allSatisfy(WebhookJob.isNameByte) else {
                throw .invalid("headers", "headers holds a name that HTTP does not allow")
            }
            if header.value.utf8.count > WebhookJob.maximumHeaderValueBytes {
                throw .invalid(
                    "headers",
                    "headers holds a value of \(header.value.utf8.count) bytes, "
                        + "at most \(WebhookJob.maximumHeaderValueBytes) are allowed"
                )
            }
            guard header.value.utf8.allSatisfy({ $0 == 0x09 || $0 >= 0x20 && $0 != 0x7F }) else {
                throw .invalid("headers", "headers holds a value with a control character")
            }
            total += header.name.utf8.count + header.value.utf8.count
        }
        if total > WebhookJob.maximumHeaderBytes {
            throw .invalid(
                "headers",
                "headers has \(total) bytes in all, at most \(WebhookJob.maximumHeaderBytes) are allowed"
            )
        }
        try Rule.year(receivedAt, field: "receivedAt")
        self.source = source
        self.headers = headers
        self.body = body
        self.receivedAt = receivedAt
    }

    /// The first value of a header, without blanks around it; nil when it is absent or empty. `name` in lower case.
    public func header(_ name: String) -> String? {
        for header in headers where header.name.lowercased() == name {
            if let value = HeaderText.trimmed(header.value) { return value }
        }
        return nil
    }

    /// The name of the source's lane.
    public var laneName: String { source.laneName }

    /// What names the event within its source; a repeat has the same one. At most 255 bytes.
    ///
    /// EZWhatsApp's delivery id as it came; else the sender's own delivery ids, in the combination that its documentation
    /// makes unique; else `sha256:` and the hex digest of the body. Never invented: no clock, no random.
    public var eventKey: String {
        if let id = header("x-ezw-delivery-id") { return shortened(id) }
        // Standard Webhooks: the id stays the same over all tries.
        if let id = header("webhook-id") { return shortened("webhook-id:" + id) }
        if let key = shopifyKey() { return shortened(key) }
        // WooCommerce's delivery id is a hash of webhook and current second: two orders within one second share it. So
        // the id is only a part of the key, and the body the other.
        if let webhook = header("x-wc-webhook-id") {
            let site = header("x-wc-webhook-source") ?? ""
            let topic = header("x-wc-webhook-topic") ?? ""
            return shortened("woocommerce:\(site)|\(webhook)|\(topic)|\(bodyDigest)")
        }
        // Google Calendar posts an empty body each time: its digest would make all notifications one.
        if let channel = header("x-goog-channel-id"), let number = header("x-goog-message-number") {
            return shortened("google:\(channel)|\(number)")
        }
        if let key = header("idempotency-key") { return shortened("idempotency-key:" + key) }
        return "sha256:" + bodyDigest
    }

    /// An event id is shared by all subscriptions that one action of the merchant triggers, so shop and topic belong to it.
    private func shopifyKey() -> String? {
        let topic = header("x-shopify-topic") ?? header("shopify-topic") ?? ""
        let shop = header("x-shopify-shop-domain") ?? header("shopify-shop-domain") ?? ""
        if let id = header("x-shopify-event-id") ?? header("shopify-event-id") {
            return "shopify:\(shop)|\(topic)|\(id)"
        }
        if let id = header("x-shopify-webhook-id") ?? header("shopify-webhook-id") {
            return "shopify:\(shop)|\(topic)|webhook:\(id)"
        }
        return nil
    }

    private var bodyDigest: String { Digest.hex(Digest.sha256(body)) }

    /// A key that is too long is replaced by its digest, never cut: two events would become one.
    private func shortened(_ key: String) -> String {
        key.utf8.count <= 255 ? key : "id-sha256:" + Digest.hex(Digest.sha256(key.utf8))
    }

    /// The bytes of a token of RFC 9110, section 5.6.2.
    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E, 0x5F, 0x60, 0x7C, 0x7E: true
        default: false
        }
    }
}

extension WebhookJob: Hashable {
    public static func == (a: WebhookJob, b: WebhookJob) -> Bool {
        a.source == b.source && a.body == b.body && a.receivedAt == b.receivedAt
            && a.headers.elementsEqual(b.headers) { $0 == $1 }
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(source)
        hasher.combine(body)
        hasher.combine(receivedAt)
    }
}

extension WebhookJob: CustomStringConvertible {
    /// Without headers and body: safe to log.
    public var description: String { "webhook from \(source), \(body.count) bytes" }
}
