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
}
