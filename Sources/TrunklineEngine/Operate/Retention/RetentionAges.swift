/// From what age on, in days, rows are dropped; nil: never.
package struct RetentionAges: Sendable, Hashable {
    /// Notices that have ended, by the day of their end.
    package var finished: Int?
    /// Attempts, by the day on which they began.
    package var attempts: Int?
    /// Refused input, by when it came last.
    package var refusals: Int?
    /// Bodies and headers of received events. Their keys stay.
    package var inboxBodies: Int?

    package init(finished: Int? = nil, attempts: Int? = nil, refusals: Int? = nil, inboxBodies: Int? = nil) {
        self.finished = finished
        self.attempts = attempts
        self.refusals = refusals
        self.inboxBodies = inboxBodies
    }

    package var isEmpty: Bool { self == RetentionAges() }
}

/// An age as people write it: `90d`, or `never`.
package struct RetentionAge: Sendable, Hashable {
    /// Nil: never.
    package let days: Int?

    package init?(_ text: String) {
        if text == "never" {
            days = nil
            return
        }
        guard text.hasSuffix("d"), let days = Int(text.dropLast()), (1...36_500).contains(days) else { return nil }
        self.days = days
    }
}
