/// One notice to one person: a `trunkline.send.v1` message. Every value of this type has passed every rule that needs
/// neither a clock nor a database.
public struct SendJob: Sendable, Hashable {
    /// The schema of the message that this program writes and reads.
    public static let schema = "trunkline.send.v1"
    /// The most bytes a message may have.
    public static let maximumMessageBytes = 65_536
    /// The most UTF-16 units the text may have.
    public static let maximumBodyUnits = 4_096
    /// The most tags a job may have.
    public static let maximumTags = 20

    public let line: LineID
    public let key: IdempotencyKey
    public let to: PhoneNumber
    /// The text: 1 to 4,096 UTF-16 units, not blank, no control character but newline.
    public let body: String
    public let button: Button?
    public let purpose: Purpose
    /// Not sent before this moment; a scheduled job blocks nobody.
    public let notBefore: Timestamp?
    /// Worthless from this moment on: an attempt that has not begun by then never begins.
    public let sendBefore: Timestamp?
    /// Names the thing whose newer fact makes this one worthless; needs `factAt`.
    public let supersedeKey: String?
    /// When the fact happened, by the sender's clock.
    public let factAt: Timestamp?
    /// Jobs of one line with the same ordering key go out in order; the recipient when nil.
    public let orderingKey: String?
    /// The sender's own labels, at most 20: names 1 to 64 characters, values up to 256.
    public let tags: [String: String]

    /// Checks every rule that needs no clock; see `validate(now:)` for the rest.
    public init(
        line: LineID,
        key: IdempotencyKey,
        to: PhoneNumber,
        body: String,
        button: Button? = nil,
        purpose: Purpose,
        notBefore: Timestamp? = nil,
        sendBefore: Timestamp? = nil,
        supersedeKey: String? = nil,
        factAt: Timestamp? = nil,
        orderingKey: String? = nil,
        tags: [String: String] = [:]
    ) throws(Refusal) {
        try Rule.messageBody(body)
        try Rule.times(notBefore: notBefore, sendBefore: sendBefore)
        try Rule.fact(supersedeKey: supersedeKey, factAt: factAt)
        if let orderingKey { try Rule.identifier(orderingKey, field: "orderingKey", longest: 128, colon: true) }
        try Rule.tags(tags)
        self.line = line
        self.key = key
        self.to = to
        self.body = body
        self.button = button
        self.purpose = purpose
        self.notBefore = notBefore
        self.sendBefore = sendBefore
        self.supersedeKey = supersedeKey
        self.factAt = factAt
        self.orderingKey = orderingKey
        self.tags = tags
    }

    /// The rule for a `notBefore` that is given later; ``Refusal`` outside the years 2000 to 2100.
    public static func checkYear(ofNotBefore moment: Timestamp) throws(Refusal) {
        try Rule.year(moment, field: "notBefore")
    }

    /// The rule that needs a clock: a `sendBefore` that has passed is refused (kind `late`).
    public func validate(now: Timestamp) throws(Refusal) {
        try Rule.isInTime(sendBefore: sendBefore, now: now)
    }

    /// The name under which the job keeps its order on its line: the ordering key, or the recipient's whole number
    /// (customers' data: not for logs).
    public var orderingName: String { orderingKey ?? to.value }

    /// The name of the job's lane: `line:ID`.
    public var laneName: String { line.laneName }

    /// 16 bytes that name the content: the first half of SHA-256 over recipient, text, button text and button URL, each
    /// as UTF-8 behind its length in four big-endian bytes, an absent button as two empty texts. Same key and same
    /// digest is the same job; tags, times and purpose do not count. Stored for ever: the form must never change.
    public var contentDigest: [UInt8] {
        SendJob.contentDigest(to: to.value, body: body, buttonText: button?.text, buttonURL: button?.url)
    }

    /// The same for content that is no job (any more): how stored requests are compared with the ledger.
    package static func contentDigest(to: String, body: String, buttonText: String?, buttonURL: String?) -> [UInt8] {
        var input: [UInt8] = []
        input.reserveCapacity(body.utf8.count + 512)
        for text in [to, body, buttonText ?? "", buttonURL ?? ""] {
            let count = UInt32(text.utf8.count)
            for shift in [24, 16, 8, 0] as [UInt32] { input.append(UInt8(truncatingIfNeeded: count >> shift)) }
            input.append(contentsOf: text.utf8)
        }
        return Array(Digest.sha256(input).prefix(16))
    }
}

extension SendJob: CustomStringConvertible {
    /// Without text and number: safe to log.
    public var description: String { "send \(key) on \(line) to \(to.masked)" }
}

/// What every kind of job obeys.
extension Rule {
    private static let firstMoment = Timestamp(year: 2000, month: 1, day: 1, secondOfDay: 0)
    private static let endOfTime = Timestamp(year: 2101, month: 1, day: 1, secondOfDay: 0)

    /// Years 2000 to 2100 (UTC): a moment outside is a unit's mistake (seconds for milliseconds), not a wish.
    static func year(_ moment: Timestamp?, field: String) throws(Refusal) {
        guard let moment else { return }
        guard moment >= firstMoment, moment < endOfTime else {
            throw .invalid(field, "\(field) is not in the years 2000 to 2100")
        }
    }

    static func times(notBefore: Timestamp?, sendBefore: Timestamp?) throws(Refusal) {
        try year(notBefore, field: "notBefore")
        try year(sendBefore, field: "sendBefore")
        if let notBefore, let sendBefore, notBefore >= sendBefore {
            throw .invalid("sendBefore", "sendBefore is not after notBefore, so the notice could never be sent")
        }
    }

    static func fact(supersedeKey: String?, factAt: Timestamp?) throws(Refusal) {
        try year(factAt, field: "factAt")
        guard let supersedeKey else { return }
        try identifier(supersedeKey, field: "supersedeKey", longest: 128, colon: true)
        if factAt == nil {
            throw .invalid("factAt", "supersedeKey needs factAt: without it nobody knows which fact is newer")
        }
    }

    static func tags(_ tags: [String: String]) throws(Refusal) {
        if tags.count > SendJob.maximumTags {
            throw .invalid("tags", "tags has \(tags.count) entries, at most \(SendJob.maximumTags) are allowed")
        }
        for (name, value) in tags {
            try label(name, field: "tags", longest: 64)
            try label(value, field: "tags", longest: 256, mayBeEmpty: true)
        }
    }

    static func isInTime(sendBefore: Timestamp?, now: Timestamp) throws(Refusal) {
        guard let sendBefore, sendBefore <= now else { return }
        throw Refusal(
            kind: .late,
            field: "sendBefore",
            reason: "sendBefore (\(sendBefore)) has already passed: nobody wants the notice any more"
        )
    }
}
