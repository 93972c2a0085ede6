package import Foundation
package import TrunklineCore

/// What `trunkline.yaml` says of lines and sources as far as notices are planned from it: which fact sends which text on which
/// line.
package struct RuleBook: Sendable {
    package let lines: [LineID: LineRules]
    /// In the order of the file.
    package let sources: [SourceRules]
    /// What it was read from, in the one form in which it is kept: `lines` and `sources` as YAML, without comments and without
    /// anything else that the file holds. Read again it is the same book with the same text.
    package let text: String

    package subscript(source id: SourceID) -> SourceRules? { sources.first { $0.id == id } }
}

/// When a line writes, and to whom.
package struct LineRules: Sendable {
    package enum Consent: String, Sendable, Hashable, CaseIterable {
        /// Everybody who has not withdrawn it.
        case unlessWithdrawn
        /// Only people who are known to have given it.
        case required
    }

    package let id: LineID
    /// Of its customers, where nothing better is known.
    package let timeZone: TimeZone?
    package let quietHours: QuietHours?
    package let consent: Consent
}

/// One source: how its events are read, and what they lead to.
package struct SourceRules: Sendable {
    package let id: SourceID
    package let kind: SourceKind
    package let settings: SourceSettings
    /// What the file says of them, by name; nil where it says nothing of settings.
    package let givenSettings: [String: String]?
    /// What national numbers are read by when the record names no country; two capital letters.
    package var country: String?
    package let timeZone: TimeZone?
    /// The field (`data.NAME`) that must be ticked before a lead is written to; nil where asking is consent enough.
    package let leadConsent: String?
    package let rules: [NoticeRule]
    /// Its lines by id: those that its rules name.
    let lines: [LineID: LineRules]
}

/// One rule: a moment, conditions, and what is sent.
package struct NoticeRule: Sendable {
    /// `sources.acme-shop.rules[2]`.
    package let path: String
    package let moment: Moment
    /// Of reminders.
    package let before: Offset?
    let condition: RuleCondition
    package let line: LineID
    /// The template's name.
    package let template: String
    let text: LocalTemplate
    let button: ButtonRule?
    package let purpose: Purpose
    /// What stands behind the fact's own key.
    let keySuffix: String
    /// How long after the fact the notice is worth sending.
    let lifetime: Duration?
}

struct ButtonRule: Sendable {
    let label: LocalTemplate
    let url: NoticeTemplate
}
