/// One event for one destination: a `trunkline.deliver.v1` message. Every value of this type has passed every rule that needs
/// neither a clock nor a database.
public struct DeliverJob: Sendable, Hashable {
    /// The schema of the message that this program writes and reads.
    public static let schema = "trunkline.deliver.v1"
    /// The most bytes a message may have.
    public static let maximumMessageBytes = 65_536
    /// How deep `data` may nest.
    static let maximumDepth = 16

    public let destination: DestinationID
    /// One key, one delivery to this destination, for ever.
    public let key: IdempotencyKey
    /// What happened, in dotted words: `message.received`. `[A-Za-z0-9._-]{1,64}`.
    public let type: String
    /// When it happened.
    public let happenedAt: Timestamp
    /// What the destination gets to know of it: a JSON object.
    package let data: JSONValue
    /// Not delivered before this moment; a scheduled job blocks nobody.
    public let notBefore: Timestamp?
    /// Worthless from this moment on: an attempt that has not begun by then never begins.
    public let sendBefore: Timestamp?
    /// Names the thing whose newer fact makes this one worthless; needs `factAt`.
    public let supersedeKey: String?
    /// When the fact happened, by the sender's clock.
    public let factAt: Timestamp?
    /// Jobs of one destination with the same ordering key are delivered in order; without one a job waits for no other.
    public let orderingKey: String?
    /// The sender's own labels, as a send's.
    public let tags: [String: String]

    /// Checks every rule that needs no clock; see ``validate(now:)`` for the rest.
    package init(
        destination: DestinationID,
        key: IdempotencyKey,
        type: String,
        happenedAt: Timestamp,
        data: JSONValue,
        notBefore: Timestamp? = nil,
        sendBefore: Timestamp? = nil,
        supersedeKey: String? = nil,
        factAt: Timestamp? = nil,
        orderingKey: String? = nil,
        tags: [String: String] = [:]
    ) throws(Refusal) {
        try Rule.identifier(type, field: "type", longest: 64, colon: false)
        guard case .object = data else { throw .invalid("data", "data is not an object") }
        guard data.depth <= DeliverJob.maximumDepth else {
            throw .invalid("data", "data nests deeper than \(DeliverJob.maximumDepth)")
        }
        try Rule.year(happenedAt, field: "timestamp")
        try Rule.times(notBefore: notBefore, sendBefore: sendBefore)
        try Rule.fact(supersedeKey: supersedeKey, factAt: factAt)
        if let orderingKey { try Rule.identifier(orderingKey, field: "orderingKey", longest: 128, colon: true) }
        try Rule.tags(tags)
        self.destination = destination
        self.key = key
        self.type = type
        self.happenedAt = happenedAt
        self.data = data
        self.notBefore = notBefore
        self.sendBefore = sendBefore
        self.supersedeKey = supersedeKey
        self.factAt = factAt
        self.orderingKey = orderingKey
        self.tags = tags
    }

    /// The rule that needs a clock: a `sendBefore` that has passed is refused (kind `late`).
    public func validate(now: Timestamp) throws(Refusal) { try Rule.isInTime(sendBefore: sendBefore, now: now) }

    /// The name under which the job keeps its order in its lane.
    public var orderingName: String { orderingKey ?? key.value }

    /// The name of the job's lane: `destination:ID`.
    public var laneName: String { destination.laneName }

    /// 16 bytes that name the content: the first half of SHA-256 over ``content(type:happenedAt:data:)`` without its time. Same
    /// key and same digest is the same job; times and tags do not count, as they do not of a send: whoever repeats an event may
    /// look at the clock anew. Stored for ever: the form must never change.
    public var contentDigest: [UInt8] { DeliverJob.contentDigest(type: type, data: data) }

    /// The same for content that is no job (any more): how stored requests are compared with the ledger.
    package static func contentDigest(type: String, data: JSONValue) -> [UInt8] {
        Array(Digest.sha256(content(type: type, happenedAt: nil, data: data)).prefix(16))
    }

    /// The event as one canonical JSON object, `type`, `timestamp` and `data`: members of `data` by name, numbers as they were
    /// written. It is also the body of a Standard Webhook.
    package static func content(type: String, happenedAt: Timestamp?, data: JSONValue) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", type)
        json.member("timestamp", happenedAt?.rfc3339)
        json.name("data")
        json.canonical(data)
        json.endObject()
        return json.bytes
    }

    /// ``content(type:happenedAt:data:)`` of this job.
    package var content: [UInt8] { DeliverJob.content(type: type, happenedAt: happenedAt, data: data) }
}

extension DeliverJob: CustomStringConvertible {
    /// Without what happened to whom: safe to log.
    public var description: String { "deliver \(key) to \(destination)" }
}
