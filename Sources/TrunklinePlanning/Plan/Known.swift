package import Foundation
package import TrunklineCore

/// What is known beside a fact when notices are planned from it: values that whoever plans has read before.
package struct Known: Sendable {
    package struct Contact: Sendable, Hashable {
        package enum Consent: Sendable, Hashable { case given, withdrawn }

        package var name: String?
        package var firstName: String?
        package var language: String?
        package var country: String?
        package var timeZone: TimeZone?
        /// Nil when the person was never asked.
        package var consent: Consent?

        package init(
            name: String? = nil,
            firstName: String? = nil,
            language: String? = nil,
            country: String? = nil,
            timeZone: TimeZone? = nil,
            consent: Consent? = nil
        ) {
            self.name = name
            self.firstName = firstName
            self.language = language
            self.country = country
            self.timeZone = timeZone
            self.consent = consent
        }
    }

    /// A notice that was planned before: about the same record, or a first touch of the same number.
    package struct Notice: Sendable, Hashable {
        package let key: IdempotencyKey
        package let subject: String
        package let moment: Moment
        package let line: LineID
        package let supersedeKey: String?
        package let factAt: Timestamp
        /// Of a parcel's notice.
        package let trackingNumber: String?
        /// Whether it may still be cancelled.
        package let isWaiting: Bool
        /// Whether it was cancelled or replaced, and not sent.
        package let isCancelled: Bool

        package init(
            key: IdempotencyKey,
            subject: String,
            moment: Moment,
            line: LineID,
            supersedeKey: String?,
            factAt: Timestamp,
            trackingNumber: String? = nil,
            isWaiting: Bool,
            isCancelled: Bool = false
        ) {
            self.key = key
            self.subject = subject
            self.moment = moment
            self.line = line
            self.supersedeKey = supersedeKey
            self.factAt = factAt
            self.trackingNumber = trackingNumber
            self.isWaiting = isWaiting
            self.isCancelled = isCancelled
        }
    }

    /// The person behind the fact's number.
    package var contact: Contact?
    /// What is known of the same record: whatever the fact does not say itself, a refund's customer for one.
    package var record: SourceFact?
    /// When the order was cancelled, refunded in full or removed, by the sender's clock.
    package var endedAt: Timestamp?
    package var notices: [Notice]

    package init(
        contact: Contact? = nil,
        record: SourceFact? = nil,
        endedAt: Timestamp? = nil,
        notices: [Notice] = []
    ) {
        self.contact = contact
        self.record = record
        self.endedAt = endedAt
        self.notices = notices
    }
}
