internal import Foundation
internal import TrunklineCore

/// What must be true of a fact beside its moment. A closed list; everything that is given must hold.
struct RuleCondition: Sendable, Hashable {
    struct Amount: Sendable, Hashable {
        let currency: String
        let atLeast: Decimal?
        let below: Decimal?
    }

    /// Two capital letters each: of the record, else of the source.
    var countries: [String] = []
    /// Of the customer, without regions.
    var languages: [LanguageTag] = []
    /// One of the record's tags.
    var tags: [String] = []
    /// A part of the name of how it is sent.
    var shipping: [String] = []
    /// The sender's own word for the state.
    var states: [String] = []
    var amount: Amount?

    /// Why the fact is not meant, in words; nil when it is. Names nothing that a customer wrote.
    func failure(_ fact: SourceFact, country: String?, language: LanguageTag?, total: SourceFact.Money?) -> String? {
        if !countries.isEmpty {
            guard let country else { return "the record names no country (if.country)" }
            guard countries.contains(country) else { return "the country is \(country) (if.country)" }
        }
        if !languages.isEmpty {
            guard let language else { return "the customer's language is not known (if.language)" }
            guard languages.contains(where: { $0.base == language.base }) else {
                return "the customer's language is \(language.base) (if.language)"
            }
        }
        let details = fact.details
        if !tags.isEmpty {
            let given = (details["tags"] ?? "").split(separator: ",").map { Self.plain($0) }
            guard tags.contains(where: { given.contains(Self.plain($0)) }) else {
                return "the record has none of the tags (if.tag)"
            }
        }
        if !shipping.isEmpty {
            let method = Self.plain(details["shipping"] ?? "")
            guard shipping.contains(where: { method.contains(Self.plain($0)) }) else {
                return method.isEmpty
                    ? "the record names no way of shipping (if.shipping)" : "it is shipped in another way (if.shipping)"
            }
        }
        if !states.isEmpty {
            let given = [fact.state, details["status"]].compactMap { $0 }.map { Self.plain($0) }
            guard states.contains(where: { given.contains(Self.plain($0)) }) else {
                return "the record is in another state (if.status)"
            }
        }
        return amount.flatMap { $0.failure(total) }
    }

    private static func plain(_ text: some StringProtocol) -> String {
        text.trimmingCharacters(in: .whitespacesAndNewlines).lowercased()
    }
}

extension RuleCondition.Amount {
    func failure(_ total: SourceFact.Money?) -> String? {
        guard let total, let amount = Decimal(string: total.amount, locale: Locale(identifier: "en_US_POSIX")) else {
            return "the record has no amount (if.amount)"
        }
        guard total.currency == currency else { return "the amount is in \(total.currency) (if.amount.currency)" }
        if let atLeast, amount < atLeast { return "the amount is below \(atLeast) \(currency) (if.amount.atLeast)" }
        if let below, amount >= below { return "the amount is not below \(below) \(currency) (if.amount.below)" }
        return nil
    }
}

extension SourceFact {
    var details: [String: String] {
        switch self {
        case .order(let order): order.details
        case .contact(let contact): contact.details
        case .lead(let lead): lead.details
        case .appointment(let appointment): appointment.details
        }
    }

    /// The sender's own word for the record's state.
    var state: String? {
        guard case .order(let order) = self else { return nil }
        if case .reached(let status) = order.moment { return status }
        return order.state
    }
}
