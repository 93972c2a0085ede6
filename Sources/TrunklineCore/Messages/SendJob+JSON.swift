extension SendJob {
    /// Reads one `trunkline.send.v1` message, strictly.
    ///
    /// - Parameters:
    ///   - json: the bytes of one JSON object, at most 64 KiB.
    ///   - key: a key that came beside the message (the `Idempotency-Key` header). Then the field may be absent, and
    ///     must be the same where it is present.
    public static func decode(json: [UInt8], key: IdempotencyKey? = nil) throws(Refusal) -> SendJob {
        try MessageSchema.check(json, isOneOf: [.send])
        return try decodeChecked(json, key: key)
    }

    /// The same where the place that it came to says what it is: the schema may be absent.
    package static func decode(addressed json: [UInt8], key: IdempotencyKey? = nil) throws(Refusal) -> SendJob {
        try MessageSchema.check(json, isOneOf: [.send], absent: .send)
        return try decodeChecked(json, key: key)
    }

    /// The same for bytes whose schema is known to be ours.
    static func decodeChecked(_ json: [UInt8], key: IdempotencyKey?) throws(Refusal) -> SendJob {
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

    /// The canonical message: fields in the order of the documentation, absent ones left out.
    public func encode() -> [UInt8] {
        var json = JSONWriter(capacity: body.utf8.count + 512)
        json.beginObject()
        json.member("schema", SendJob.schema)
        json.member("line", line.value)
        json.member("key", key.value)
        json.member("to", to.value)
        json.member("body", body)
        if let button {
            json.name("button")
            json.beginObject()
            json.member("text", button.text)
            json.member("url", button.url)
            json.endObject()
        }
        json.member("purpose", purpose.rawValue)
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
        var line: String?
        var key: String?
        var to: String?
        var body: String?
        var hasButton = false
        var buttonText: String?
        var buttonURL: String?
        var purpose: String?
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
                switch fields.match(name, SendJob.names) {
                case 0: _ = try fields.text(name, 0, "schema")
                case 1: line = try fields.text(name, 1, "line")
                case 2: key = try fields.text(name, 2, "key")
                case 3: to = try fields.text(name, 3, "to")
                case 4: body = try fields.text(name, 4, "body")
                case 5: try readButton(name, &fields)
                case 6: purpose = try fields.text(name, 6, "purpose")
                case 7: notBefore = try fields.moment(name, 7, "notBefore")
                case 8: sendBefore = try fields.moment(name, 8, "sendBefore")
                case 9: supersedeKey = try fields.text(name, 9, "supersedeKey")
                case 10: factAt = try fields.moment(name, 10, "factAt")
                case 11: orderingKey = try fields.text(name, 11, "orderingKey")
                case 12: tags = try fields.tags(name, 12)
                default: try fields.unknown(name)
                }
            }
            try fields.reader.end()
        }

        private mutating func readButton(_ name: JSONReader.Name, _ fields: inout MessageFields) throws(JSONError) {
            guard try fields.begin(name, 5, "button", .object, "an object with text and url") else { return }
            hasButton = true
            try fields.reader.beginObject()
            var first = true
            while let inner = try fields.reader.nextName(first: &first) {
                if fields.reader.name(inner, is: "text") {
                    buttonText = try fields.text(inner, 13, "button.text")
                } else if fields.reader.name(inner, is: "url") {
                    buttonURL = try fields.text(inner, 14, "button.url")
                } else {
                    fields.path = "button"
                    try fields.unknown(inner)
                }
            }
        }

        func job(key outer: IdempotencyKey?) throws(Refusal) -> SendJob {
            let line = try LineID(Rule.required(line, "line"))
            let key = try Rule.key(key, beside: outer)
            let to = try PhoneNumber(Rule.required(to, "to"))
            let body = try Rule.required(body, "body")
            var button: Button?
            if hasButton {
                guard let text = buttonText else {
                    throw .invalid("button.text", "half a button: button.text is missing")
                }
                guard let url = buttonURL else {
                    throw .invalid("button.url", "half a button: button.url is missing")
                }
                button = try Button(text: text, url: url)
            }
            return try SendJob(
                line: line,
                key: key,
                to: to,
                body: body,
                button: button,
                purpose: Purpose(word: Rule.required(purpose, "purpose")),
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
        "schema", "line", "key", "to", "body", "button", "purpose", "notBefore", "sendBefore", "supersedeKey", "factAt",
        "orderingKey", "tags",
    ]
}
