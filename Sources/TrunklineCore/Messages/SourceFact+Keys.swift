/// The keys of notices: one business fact, one key, whatever the number of events that tell it. The workspace is the scope of a
/// key, so that it stands in none.
///
/// `order:{source}.{id}:{moment}`, and a revision behind it where a repeat is a new message. Ids that hold anything but
/// `[A-Za-z0-9_-]` are replaced by their SHA-256 in hex, never cut: so the dots and colons of a key are its own, and no two facts
/// have the same one. A key that is still too long is the SHA-256 of itself behind its first word.
extension SourceFact {
    /// The key of the notice that a fact may lead to; nil for facts that no notice is about.
    package func key(from source: SourceID) throws(Refusal) -> IdempotencyKey? {
        switch self {
        case .order(let order): try order.key(from: source)
        case .contact: nil
        case .lead(let lead):
            try FactKey("lead", source, lead.record.id, ["first-touch"]).checked()
        case .appointment(let appointment): try appointment.key(from: source)
        }
    }

    /// Names the record of a fact: notices about it replace each other, are cancelled together, and have one newest fact.
    package func subject(from source: SourceID) -> String {
        let word =
            switch self {
            case .order: "order"
            case .contact: "contact"
            case .lead: "lead"
            case .appointment: "appointment"
            }
        return FactKey(word, source, record.id, []).text
    }
}

extension SourceFact.Order {
    fileprivate func key(from source: SourceID) throws(Refusal) -> IdempotencyKey? {
        let end: [String] =
            switch moment {
            case .confirmed, .paid, .cancelled: [moment.word]
            case .ready(let place): [moment.word] + FactKey.parts(place)
            case .shipped(let shipment), .outForDelivery(let shipment), .delivered(let shipment):
                [moment.word] + FactKey.parts(shipment)
            case .trackingChanged(let shipment, let number):
                [moment.word, FactKey.part(shipment) + "." + FactKey.part(number)]
            // Each change of its day is news.
            case .deliveryChanged(let what, let shipment):
                [moment.word, FactKey.part(what)] + FactKey.parts(shipment) + FactKey.parts(record.at)
            case .refunded(let refund): [moment.word] + FactKey.parts(refund)
            case .invoiced(let time): [moment.word] + FactKey.parts(time)
            case .reached(let status): ["status-" + FactKey.part(status)]
            case .changed, .removed: []
            }
        return end.isEmpty ? nil : try FactKey("order", source, record.id, end).checked()
    }
}

extension SourceFact.Appointment {
    fileprivate func key(from source: SourceID) throws(Refusal) -> IdempotencyKey {
        let end: [String] =
            switch moment {
            case .booked, .cancelled: [moment.rawValue]
            case .moved, .reminder: [moment.rawValue] + FactKey.parts(start)
            }
        return try FactKey("appointment", source, record.id, end).checked()
    }

    /// The key of a reminder. The start stands in it, so that a moved appointment is reminded of anew.
    ///
    /// - Parameter offset: `24h`; letters and digits.
    /// - Returns: nil when the start is not known.
    package func reminderKey(from source: SourceID, offset: String) throws(Refusal) -> IdempotencyKey? {
        guard start != nil else { return nil }
        return try FactKey("appointment", source, record.id, [FactKey.part(offset)] + FactKey.parts(start)).checked()
    }
}

private struct FactKey {
    let text: String

    init(_ word: String, _ source: SourceID, _ id: String, _ end: [String]) {
        let text = ([word, source.value + "." + Self.part(id)] + end).joined(separator: ":")
        self.text = text.utf8.count <= 128 ? text : word + ":" + Digest.hex(Digest.sha256(text.utf8))
    }

    func checked() throws(Refusal) -> IdempotencyKey { try IdempotencyKey(text) }

    static func part(_ id: String) -> String {
        let isPlain = id.utf8.allSatisfy { byte in
            switch byte {
            case 0x61...0x7A, 0x41...0x5A, 0x30...0x39, 0x5F, 0x2D: true
            default: false
            }
        }
        return isPlain && !id.isEmpty && id.utf8.count <= 64 ? id : Digest.hex(Digest.sha256(id.utf8))
    }

    static func parts(_ id: String?) -> [String] { id.map { [part($0)] } ?? [] }

    /// `20261103T083000Z`, seconds of UTC.
    static func parts(_ time: Timestamp?) -> [String] {
        guard let time else { return [] }
        let text = time.rfc3339.prefix { $0 != "." }.filter { $0 != "-" && $0 != ":" }
        return [text.hasSuffix("Z") ? text : text + "Z"]
    }
}
