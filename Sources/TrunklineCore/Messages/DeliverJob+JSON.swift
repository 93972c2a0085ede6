extension DeliverJob {
    /// Reads one `trunkline.deliver.v1` message, strictly.
    ///
    /// - Parameters:
    ///   - json: the bytes of one JSON object, at most 64 KiB.
    ///   - key: a key that came beside the message (the `Idempotency-Key` header). Then the field may be absent, and
    ///     must be the same where it is present.
    public static func decode(json: [UInt8], key: IdempotencyKey? = nil) throws(Refusal) -> DeliverJob {
        try MessageSchema.check(json, isOneOf: [.deliver])
        return try decodeChecked(json, key: key)
    }

    /// The same where the place that it came to says what it is: the schema may be absent.
    package static func decode(addressed json: [UInt8], key: IdempotencyKey? = nil) throws(Refusal) -> DeliverJob {
        try MessageSchema.check(json, isOneOf: [.deliver], absent: .deliver)
        return try decodeChecked(json, key: key)
    }

    /// The same for bytes whose schema is known to be ours.
    static func decodeChecked(_ json: [UInt8], key: IdempotencyKey?) throws(Refusal) -> DeliverJob {
        try Rule.size(json.count, longest: maximumMessageBytes)
        var fields = MessageFields(json)
        var draft = Draft()
        do throws(JSONError) {
            try draft.read(&fields)
        } catch {
            throw fields.refusal(error)
        }
        if let problem = fields.problem { throw problem }
        return try draft.job(key: key)
    }

    /// The canonical message: fields in the order of the documentation, absent ones left out, `data` with its members by
    /// name.
    public func encode() -> [UInt8] {
        var json = JSONWriter(capacity: 1_024)
        json.beginObject()
        json.member("schema", DeliverJob.schema)
        json.member("destination", destination.value)
        json.member("key", key.value)
        json.member("type", type)
        json.member("timestamp", happenedAt.rfc3339)
        json.name("data")
        json.canonical(data)
        json.member("notBefore", notBefore?.rfc3339)
        json.member("sendBefore", sendBefore?.rfc3339)
        json.member("supersedeKey", supersedeKey)
        json.member("factAt", factAt?.rfc3339)
        json.member("orderingKey", orderingKey)
        json.tags(tags)
        json.endObject()
        return json.bytes
    }

    /// The fields as they came, before the rules.
    private struct Draft {
        var destination: String?
        var key: String?
        var type: String?
        var timestamp: Timestamp?
        var data: JSONValue?
        var notBefore: Timestamp?
        var sendBefore: Timestamp?
        var supersedeKey: String?
        var factAt: Timestamp?
        var orderingKey: String?
        var tags: [String: String] = [:]

        mutating func read(_ fields: inout MessageFields) throws(JSONError) {
            try fields.reader.beginObject()
            var first = true
            while let name = try fields.reader.nextName(first: &first) {
                switch fields.match(name, DeliverJob.names) {
                case 0: _ = try fields.text(name, 0, "schema")
                case 1: destination = try fields.text(name, 1, "destination")
                case 2: key = try fields.text(name, 2, "key")
                case 3: type = try fields.text(name, 3, "type")
                case 4: timestamp = try fields.moment(name, 4, "timestamp")
                case 5:
                    if try fields.begin(name, 5, "data", .object, "an object") {
                        data = try JSONValue(from: &fields.reader)
                    }
                case 6: notBefore = try fields.moment(name, 6, "notBefore")
                case 7: sendBefore = try fields.moment(name, 7, "sendBefore")
                case 8: supersedeKey = try fields.text(name, 8, "supersedeKey")
                case 9: factAt = try fields.moment(name, 9, "factAt")
                case 10: orderingKey = try fields.text(name, 10, "orderingKey")
                case 11: tags = try fields.tags(name, 11)
                default: try fields.unknown(name)
                }
            }
            try fields.reader.end()
        }

        func job(key outer: IdempotencyKey?) throws(Refusal) -> DeliverJob {
            let destination = try DestinationID(Rule.required(destination, "destination"))
            let key = try Rule.key(key, beside: outer)
            let type = try Rule.required(type, "type")
            guard let timestamp else { throw .invalid("timestamp", "timestamp is missing") }
            guard let data else { throw .invalid("data", "data is missing") }
            return try DeliverJob(
                destination: destination,
                key: key,
                type: type,
                happenedAt: timestamp,
                data: data,
                notBefore: notBefore,
                sendBefore: sendBefore,
                supersedeKey: supersedeKey,
                factAt: factAt,
                orderingKey: orderingKey,
                tags: tags
            )
        }
    }

    private static let names: [StaticString] = [
        "schema", "destination", "key", "type", "timestamp", "data", "notBefore", "sendBefore", "supersedeKey",
        "factAt",
        "orderingKey", "tags",
    ]
}
