internal import Foundation
package import TrunklineCore

extension Plan {
    /// As one JSON document, in the order in which it was planned.
    ///
    /// - Parameter revealing: whether numbers are written whole, and not masked.
    package func json(revealing: Bool = true) -> [UInt8] {
        var json = JSONWriter(capacity: 1_024)
        json.beginObject()
        write(&json, revealing: revealing)
        json.endObject()
        return json.bytes
    }

    /// Its members, into an object that is open.
    package func write(_ json: inout JSONWriter, revealing: Bool) {
        json.list("notices", notices) { json, notice in notice.write(&json, revealing: revealing) }
        json.list("cancellations", cancellations) { json, cancellation in
            json.member("subject", cancellation.subject)
            json.texts("patterns", cancellation.patterns)
            json.texts("keys", cancellation.keys.map(\.value))
            json.texts("keeping", cancellation.keeping.map(\.value))
            json.member("factAt", cancellation.factAt.rfc3339)
            json.member("reason", cancellation.reason)
        }
        json.list("held", held) { json, held in
            json.member("rule", held.rule)
            json.member("line", held.line.value)
            json.member("key", held.key.value)
            json.member("reason", held.reason)
            json.member("until", held.until?.rfc3339)
        }
        json.list("failed", failures) { json, failure in
            json.member("rule", failure.rule)
            json.member("kind", failure.refusal.kind.rawValue)
            json.member("field", failure.refusal.field)
            json.member("reason", failure.refusal.reason)
        }
        json.list("refused", refused) { json, refusal in
            json.member("ask", refusal.ask.rawValue)
            json.member("rule", refusal.rule)
            json.member("reason", refusal.ask.sentence)
        }
        json.list("silent", silences) { json, silence in
            json.member("rule", silence.rule)
            json.member("reason", silence.reason)
        }
    }
}

extension Plan.Notice {
    fileprivate func write(_ json: inout JSONWriter, revealing: Bool) {
        json.member("rule", rule)
        json.member("moment", moment.rawValue)
        json.member("line", job.line.value)
        json.member("key", job.key.value)
        json.member("to", revealing ? job.to.value : job.to.masked)
        json.member("language", language)
        json.member("body", job.body)
        if let button = job.button {
            json.name("button")
            json.beginObject()
            json.member("text", button.text)
            json.member("url", button.url)
            json.endObject()
        }
        json.member("purpose", job.purpose.rawValue)
        json.member("notBefore", job.notBefore?.rfc3339)
        json.member("sendBefore", job.sendBefore?.rfc3339)
        json.member("supersedeKey", job.supersedeKey)
        json.member("factAt", job.factAt?.rfc3339)
        json.member("orderingKey", job.orderingKey)
        json.name("tags")
        json.beginObject()
        for (name, value) in job.tags.sorted(by: { $0.key < $1.key }) { json.member(name, value) }
        json.endObject()
        if let quiet {
            json.member("quietHours", quiet.hours.description)
            json.member("quietTimeZone", quiet.timeZone.identifier)
        }
    }
}
