extension WebhookJob {
    /// Reads one `trunkline.webhook.v1` message, strictly.
    public static func decode(json: [UInt8]) throws(Refusal) -> WebhookJob {
        try MessageSchema.check(json, isOneOf: [.webhook])
        return try decodeChecked(json)
    }

    /// The same for bytes whose schema is known to be ours.
    static func decodeChecked(_ json: [UInt8]) throws(Refusal) -> WebhookJob {
        var fields = MessageFields(json)
        var source: String?
        var body: String?
        var headers: [Header]?
        var receivedAt: Timestamp?
        do throws(JSONError) {
            try fields.reader.beginObject()
            var first = true
            while let name = try fields.reader.nextName(first: &first) {
                switch fields.match(name, WebhookJob.names) {
                case 0: _ = try fields.text(name, 0, "schema")
                case 1: source = try fields.text(name, 1, "source")
                case 2: headers = try readHeaders(name, &fields)
                case 3: body = try fields.text(name, 3, "bodyBase64")
                case 4: receivedAt = try fields.moment(name, 4, "receivedAt")
                default: try fields.unknown(name)
                }
            }
            try fields.reader.end()
        } catch {
            throw fields.refusal(error)
        }
        if let problem = fields.problem { throw problem }
        guard let source else { throw .invalid("source", "source is missing") }
        guard let headers else { throw .invalid("headers", "headers is missing") }
        guard let body else { throw .invalid("bodyBase64", "bodyBase64 is missing") }
        guard let receivedAt else { throw .invalid("receivedAt", "receivedAt is missing") }
        guard let bytes = Base64.decode(body.utf8) else {
            throw .invalid("bodyBase64", "bodyBase64 is not standard Base64 with padding")
        }
        return try WebhookJob(source: SourceID(source), headers: headers, body: bytes, receivedAt: receivedAt)
    }

    /// Each header is a text, or a list of texts when its name came more than once.
    private static func readHeaders(
        _ name: JSONReader.Name,
        _ fields: inout MessageFields
    ) throws(JSONError) -> [Header]? {
        guard try fields.begin(name, 2, "headers", .object, "an object of texts or lists of texts") else { return nil }
        var headers: [Header] = []
        var seen: Set<String> = []
        try fields.reader.beginObject()
        var first = true
        while let inner = try fields.reader.nextName(first: &first) {
            let header = fields.reader.text(of: inner)
            guard seen.insert(header).inserted else { throw fields.reader.duplicate(inner) }
            switch try fields.reader.peek() {
            case .string: headers.append((header, try fields.reader.string()))
            case .array:
                try fields.reader.beginArray()
                var firstElement = true
                while try fields.reader.nextElement(first: &firstElement) {
                    if try fields.reader.peek() == .string {
                        headers.append((header, try fields.reader.string()))
                    } else {
                        fields.note(.invalid("headers", "headers may hold only texts and lists of texts"))
                        try fields.reader.skip()
                    }
                }
            case .object, .number, .bool, .null:
                fields.note(.invalid("headers", "headers may hold only texts and lists of texts"))
                try fields.reader.skip()
            }
        }
        return headers
    }

    /// The canonical message. Headers of one and the same name are gathered behind the first of them.
    public func encode() -> [UInt8] {
        var json = JSONWriter(capacity: body.count / 3 * 4 + 1_024)
        json.beginObject()
        json.member("schema", WebhookJob.schema)
        json.member("source", source.value)
        json.name("headers")
        json.beginObject()
        var order: [String] = []
        var values: [String: [String]] = [:]
        for header in headers {
            if values[header.name] == nil { order.append(header.name) }
            values[header.name, default: []].append(header.value)
        }
        for name in order {
            let list = values[name] ?? []
            json.name(name)
            if list.count == 1 {
                json.string(list[0])
                continue
            }
            json.beginArray()
            for value in list { json.string(value) }
            json.endArray()
        }
        json.endObject()
        json.name("bodyBase64")
        json.base64(body)
        json.member("receivedAt", receivedAt.rfc3339)
        json.endObject()
        return json.bytes
    }

    private static let names: [StaticString] = ["schema", "source", "headers", "bodyBase64", "receivedAt"]
}
