/// Every message that travels through the broker, by its schema.
public enum QueueMessage: Sendable, Hashable {
    case send(SendJob)
    case deliver(DeliverJob)
    case webhook(WebhookJob)
    case wake(WakeUp)

    /// Reads the body of a delivery. The schema is looked at first, wherever it stands in the message: a version newer
    /// than this program's is told apart (`unknownSchema`) from a broken message (`malformed`).
    public static func decode(_ bytes: [UInt8]) throws(Refusal) -> QueueMessage {
        switch try MessageSchema.check(bytes, isOneOf: MessageSchema.allCases) {
        case .send: .send(try SendJob.decodeChecked(bytes, key: nil))
        case .deliver: .deliver(try DeliverJob.decodeChecked(bytes, key: nil))
        case .webhook: .webhook(try WebhookJob.decodeChecked(bytes))
        case .wake: .wake(try WakeUp.decodeChecked(bytes))
        }
    }
}

/// The schemas that this program reads.
enum MessageSchema: String, CaseIterable {
    case send = "trunkline.send.v1"
    case deliver = "trunkline.deliver.v1"
    case webhook = "trunkline.webhook.v1"
    case wake = "trunkline.wake.v1"

    /// The schema of a message, or the refusal that says why it is none of `wanted`.
    ///
    /// - Parameter absent: what a message without one is; nil: that is refused.
    @discardableResult
    static func check(
        _ bytes: [UInt8],
        isOneOf wanted: [MessageSchema],
        absent: MessageSchema? = nil
    ) throws(Refusal) -> MessageSchema {
        if bytes.isEmpty { throw Refusal(kind: .malformed, reason: "the message is empty") }
        if bytes.count > WebhookJob.maximumMessageBytes {
            throw Refusal(
                kind: .tooLarge,
                reason: "the message has \(bytes.count) bytes, at most \(WebhookJob.maximumMessageBytes) are allowed"
            )
        }
        let found: Found
        do throws(JSONError) {
            found = try find(bytes)
        } catch {
            // Before the parts are told apart, the size is what can be mended first.
            if wanted == [.send] { try Rule.size(bytes.count, longest: SendJob.maximumMessageBytes) }
            if wanted == [.deliver] { try Rule.size(bytes.count, longest: DeliverJob.maximumMessageBytes) }
            throw Refusal(kind: .malformed, reason: "not a well-formed message: \(error.sentence)")
        }
        switch found {
        case .text(let found):
            if let schema = MessageSchema(rawValue: found), wanted.contains(schema) { return schema }
            throw refusal(of: found, wanted: wanted)
        case .absent:
            if let absent { return absent }
            fallthrough
        case .other: throw Refusal(kind: .unknownSchema, field: "schema", reason: "schema is missing or not a text")
        }
    }

    private enum Found {
        case text(String)
        case absent
        /// It is there, and no text.
        case other
    }

    /// The value of the top-level member `schema`: at once when it comes first, as every encoder of ours writes it.
    private static func find(_ bytes: [UInt8]) throws(JSONError) -> Found {
        var reader = JSONReader(bytes)
        try reader.beginObject()
        var first = true
        while let name = try reader.nextName(first: &first) {
            guard reader.name(name, is: "schema") else {
                try reader.skip()
                continue
            }
            switch try reader.peek() {
            case .string: return .text(try reader.string())
            case .null: return .absent
            default: return .other
            }
        }
        try reader.end()
        return .absent
    }

    private static func refusal(of found: String, wanted: [MessageSchema]) -> Refusal {
        let reads = wanted.map(\.rawValue).joined(separator: ", ")
        guard let word = MessageFields.printable(found) else {
            return Refusal(kind: .unknownSchema, field: "schema", reason: "schema is none of ours; read here: \(reads)")
        }
        let isNewer = wanted.contains { ours in
            guard let mark = ours.rawValue.lastIndex(of: "v") else { return false }
            guard word.hasPrefix(ours.rawValue[...mark]), let version = Int(word[mark...].dropFirst()) else {
                return false
            }
            return version > 1
        }
        return Refusal(
            kind: .unknownSchema,
            field: "schema",
            reason: isNewer
                ? "schema \(word) is newer than this program reads (\(reads))"
                : "schema \(word) is not read here; read here: \(reads)"
        )
    }
}
