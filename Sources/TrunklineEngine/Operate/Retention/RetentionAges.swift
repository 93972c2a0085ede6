/// From what age on, in days, rows are dropped; nil: never.
public struct RetentionAges: Sendable, Hashable {
    /// Notices that have ended, by the day of their end.
    public var finished: Int?
    /// Attempts, by the day on which they began.
    public var attempts: Int?
    /// Refused input, by when it came last.
    public var refusals: Int?
    /// Bodies and headers of received events. Their keys stay.
    public var inboxBodies: Int?

    public init(finished: Int? = nil, attempts: Int? = nil, refusals: Int? = nil, inboxBodies: Int? = nil) {
        self.finished = finished
        self.attempts = attempts
        self.refusals = refusals
        self.inboxBodies = inboxBodies
    }

    public var isEmpty: Bool { self == RetentionAges() }
}

/// An age as people write it: `90d`, or `never`.
public struct RetentionAge: Sendable, Hashable {
    /// Nil: never.
    public let days: Int?

    public init?(_ text: String) {
        if text == "never" {
            days = nil
            return
        }
        guard text.hasSuffix("d"), let days = Int(text.dropLast()), (1...36_500).contains(days) else { return nil }
        self.days = days
    }
}
