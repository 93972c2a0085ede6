/// A message that the broker handed to a consumer.
package struct RabbitDelivery: Sendable {
    /// Names the delivery on its channel; acknowledged there and only while the channel lives.
    package let tag: UInt64
    /// Whether it was delivered before, to anybody.
    package let redelivered: Bool
    package let exchange: String
    package let routingKey: String
    package let contentType: String?
    package let messageID: String?
    /// Header `x-delivery-count` of quorum queues: how often it came back. 0 if the broker did not say.
    package let deliveryCount: Int
    /// How often it was dead-lettered: the sum over header `x-death`.
    package let deathCount: Int
    /// The queue it was first dead-lettered from, if it was.
    package let firstDeathQueue: String?
    /// The body's size as published; ``body`` may be cut to `RabbitConfiguration.bodyLimit`.
    package let bodySize: UInt64
    package let body: [UInt8]
    /// Whether ``body`` was cut.
    package var isTruncated: Bool { UInt64(body.count) < bodySize }
}

/// A mandatory message that no queue took. It comes before its confirm.
package struct RabbitReturn: Sendable, Hashable {
    /// For example 312, `NO_ROUTE`.
    package let replyCode: UInt16
    package let replyText: String
    package let exchange: String
    package let routingKey: String
    package let messageID: String?
}

/// What travels with a body.
package struct RabbitProperties: Sendable, Hashable {
    /// Default `application/json`.
    package var contentType: String? = "application/json"
    package var messageID: String?
    /// Written to disk before it is confirmed. Default true.
    package var isPersistent = true
    package var headers: [String: RabbitValue] = [:]

    package init(messageID: String? = nil, headers: [String: RabbitValue] = [:]) {
        self.messageID = messageID
        self.headers = headers
    }
}

/// A message to publish.
package struct RabbitMessage: Sendable, Hashable {
    /// Empty for the default exchange, which routes by queue name.
    package var exchange: String
    package var routingKey: String
    package var properties: RabbitProperties
    package var body: [UInt8]
    /// Whether the broker must return it when no queue takes it. Default true.
    package var isMandatory = true

    package init(exchange: String, routingKey: String, properties: RabbitProperties = .init(), body: [UInt8]) {
        self.exchange = exchange
        self.routingKey = routingKey
        self.properties = properties
        self.body = body
    }

    /// What it costs in the publisher's byte limits.
    var size: Int { body.count + exchange.utf8.count + routingKey.utf8.count + 128 }
}
