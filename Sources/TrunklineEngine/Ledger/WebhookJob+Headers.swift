internal import TrunklineCore

extension WebhookJob {
    /// The headers as JSON: each name as it came, with its values in order.
    var headersText: String {
        var names: [String] = []
        var values: [String: [String]] = [:]
        for header in headers {
            if values[header.name] == nil { names.append(header.name) }
            values[header.name, default: []].append(header.value)
        }
        var json = JSONWriter(capacity: 512)
        json.beginObject()
        for name in names {
            json.name(name)
            json.beginArray()
            for value in values[name] ?? [] { json.string(value) }
            json.endArray()
        }
        json.endObject()
        return String(decoding: json.bytes, as: UTF8.self)
    }

    /// Reads ``headersText`` back; nil for anything else. Values of one name keep their order; names do not.
    static func headers(text: String) -> [Header]? {
        guard case .object(let members) = try? JSONValue(parsing: Array(text.utf8)) else { return nil }
        var headers: [Header] = []
        for member in members {
            guard case .array(let values) = member.value else { return nil }
            for value in values {
                guard let text = value.text else { return nil }
                headers.append((member.name, text))
            }
        }
        return headers
    }
}
