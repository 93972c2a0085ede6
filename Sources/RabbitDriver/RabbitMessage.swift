/// A message that the broker handed to a consumer.
public struct RabbitDelivery: Sendable {
    /// Names the delivery on its channel; acknowledged there and only while the channel lives.
    public let tag: UInt64
    /// Whether it was delivered before, to anybody.
    public let redelivered: Bool
    public let exchange: String
    public let routingKey: String
    public let contentType: String?
    public let messageID: String?
    /// Header `x-delivery-count` of quorum queues: how often it came back. 0 if the broker did not say.
    public let deliveryCount: Int
    /// How often it was dead-lettered: the sum over header `x-death`.
    public let deathCount: Int
    /// The queue it was first dead-lettered from, if it was.
    public let firstDeathQueue: String?
    /// The body's size as published; ``body`` may be cut to `RabbitConfiguration.bodyLimit`.
    public let bodySize: UInt64
    public let body: [UInt8]
    /// Whether ``body`` was cut.
    public var isTruncated: Bool { UInt64(body.count) < bodySize }
}

/// A mandatory message that no queue took. It comes before its confirm.
public struct RabbitReturn: Sendable, Hashable {
    /// For example 312, `NO_ROUTE`.
    public let replyCode: UInt16
    public let replyText: String
    public let exchange: String
    public let routingKey: String
    public let messageID: String?
}

/// What travels with a body.
public struct RabbitProperties: Sendable, Hashable {
    /// Default `application/json`.
    public var contentType: String? = "application/json"
    public var messageID: String?
    /// Written to disk before it is confirmed. Default true.
    public var isPersistent = true
    public var headers: [String: RabbitValue] = [:]

    public init(messageID: String? = nil, headers: [String: RabbitValue] = [:]) {
        self.messageID = messageID
        self.headers = headers
    }
}

/// A message to publish.
public struct RabbitMessage: Sendable, Hashable {
    /// Empty for the default exchange, which routes by queue name.
    public var exchange: String
    public var routingKey: String
    public var properties: RabbitProperties
    public var body: [UInt8]
    /// Whether the broker must return it when no queue takes it. Default true.
    public var isMandatory = true

    public init(exchange: String, routingKey: String, properties: RabbitProperties = .init(), body: [UInt8]) {
        self.exchange = exchange
        self.routingKey = routingKey
        self.properties = properties
        self.body = body
    }

    /// What it costs in the publisher's byte limits.
    var size: Int { body.count + exchange.utf8.count + routingKey.utf8.count + 128 }
}
