/// A recipient in E.164: `+` and 8 to 15 digits, the first not 0.
public struct PhoneNumber: Sendable, Hashable {
    /// The whole number. Customers' data: never in a log, an error or a metric.
    public let value: String

    /// Accepts `^\+[1-9][0-9]{7,14}$`. An `@` anywhere is the id of a group or a channel and refused by policy;
    /// anything else is a refusal of kind `invalid`. Whether such a number can exist is asked elsewhere.
    public init(_ value: String) throws(Refusal) { try self.init(value, field: "to") }

    /// The same for a field of another name.
    package init(_ value: String, field: String) throws(Refusal) {
        var at = false
        var good = value.utf8.first == 0x2B
        var count = 0
        for byte in value.utf8 {
            if byte == 0x40 { at = true }
            if count == 1, byte == 0x30 { good = false }
            if count >= 1, byte &- 0x30 > 9 { good = false }
            count += 1
        }
        if at {
            throw Refusal(
                kind: .policy,
                field: field,
                reason: "\(field) holds an @: groups and channels get no notices, only single phone numbers do"
            )
        }
        guard good, (9...16).contains(count) else {
            throw .invalid(
                field,
                "\(field) is not a phone number in E.164: + and 8 to 15 digits, no spaces (it has \(count) bytes)"
            )
        }
        self.value = value
    }

    /// A hint for people, `+97250•••4567`: at least three digits are always hidden.
    public var masked: String {
        let digits = value.utf8.count - 1
        let tail = digits >= 11 ? 4 : digits >= 9 ? 3 : 2
        let head = min(5, digits - tail - 3)
        return value.prefix(head + 1) + "•••" + value.suffix(tail)
    }
}

extension PhoneNumber: CustomStringConvertible {
    /// The masked form, so that a number cannot slip into a log by interpolation.
    public var description: String { masked }
}
