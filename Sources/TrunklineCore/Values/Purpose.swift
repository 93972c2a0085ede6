/// Why a notice is sent: the closed list of transactional purposes.
public enum Purpose: String, Sendable, Hashable, CaseIterable {
    case order, pickup, invoice, delivery, appointment, reminder
    case firstTouch = "first_touch"
    case account

    /// Purposes that people ask for and that are refused by policy, in writing, rather than as a spelling mistake.
    private static let refused: Set<String> = [
        "ad", "ads", "advertising", "bot", "broadcast", "bulk", "campaign", "channel", "chatbot", "cold",
        "cold_outbound", "cold_outreach", "group", "marketing", "newsletter", "offer", "outbound", "outreach", "promo",
        "promotion", "sales", "spam", "template", "waba",
    ]

    /// Reads the word of a message. Unknown words are refused (`invalid`); campaigns, cold outbound, groups and bots
    /// are refused as `policy`.
    public init(word: String) throws(Refusal) {
        if let known = Purpose(rawValue: word) {
            self = known
            return
        }
        let plain = String(word.prefix(32)).lowercased().split { $0 == "-" || $0 == " " }.joined(separator: "_")
        if Purpose.refused.contains(plain) {
            throw Refusal(
                kind: .policy,
                field: "purpose",
                reason: "purpose \(plain) is not sent: Trunkline sends transactional notices only"
            )
        }
        let list = Purpose.allCases.map(\.rawValue).joined(separator: ", ")
        throw .invalid("purpose", "purpose is not one of \(list)")
    }
}
