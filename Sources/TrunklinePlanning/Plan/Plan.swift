package import Foundation
package import TrunklineCore

/// What follows from one event. The same event, rules and knowledge give the same plan, byte for byte.
package struct Plan: Sendable, Hashable {
    /// A notice that is to be sent.
    package struct Notice: Sendable, Hashable {
        package let rule: String
        package let moment: Moment
        package let subject: String
        package let job: SendJob
        /// The language of its text.
        package let language: String
        /// The hours that it waits for, when it waits for any: until `job.notBefore`.
        package let quiet: Quiet?
        /// Of a first touch: the day of the fact where the line's people are, `2026-12-01`. A person gets one a day and line.
        package let day: String?
    }

    package struct Quiet: Sendable, Hashable {
        package let hours: QuietHours
        package let timeZone: TimeZone
    }

    /// Notices planned earlier that are not to be sent any more.
    package struct Cancellation: Sendable, Hashable {
        /// The record that they are about.
        package let subject: String
        /// Keys, with `*` for any run of characters.
        package let patterns: [String]
        /// Keys that are waiting, as far as they were known; some may have none of the patterns.
        package let keys: [IdempotencyKey]
        /// Keys of this plan, which the patterns may mean too.
        package let keeping: [IdempotencyKey]
        /// Only notices of facts that are not newer than this.
        package let factAt: Timestamp
        /// One sentence.
        package let reason: String
    }

    /// A rule that did not fire.
    package struct Silence: Sendable, Hashable {
        package let rule: String
        package let reason: String
    }

    /// A notice that waits for a person's consent. Nothing sends it by itself: the event is planned again when consent comes.
    package struct Held: Sendable, Hashable {
        package let rule: String
        package let line: LineID
        package let key: IdempotencyKey
        package let reason: String
        /// Worthless from then on.
        package let until: Timestamp?
    }

    /// A rule that fired, and whose notice cannot be made: somebody must look.
    package struct Failure: Sendable, Hashable {
        package let rule: String
        package let refusal: Refusal
    }

    /// What is refused in writing, for ever (design D12).
    package struct PolicyRefusal: Sendable, Hashable {
        package let ask: PolicyAsk
        /// Nil where no rule was asked.
        package let rule: String?
    }

    package var notices: [Notice] = []
    package var cancellations: [Cancellation] = []
    package var held: [Held] = []
    package var silences: [Silence] = []
    package var failures: [Failure] = []
    package var refused: [PolicyRefusal] = []

    package init() {}
}
