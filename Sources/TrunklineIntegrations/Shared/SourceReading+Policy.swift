package import TrunklineCore

extension SourceReading {
    /// The facts, or in words why they are not for us: a recipient that is no person is refused, whoever sent it.
    package init(checking facts: [SourceFact]) {
        for fact in facts {
            for phone in fact.person.phones {
                if let ask = PolicyAsk(recipient: phone) {
                    self = .refused(ask)
                    return
                }
            }
        }
        self = facts.isEmpty ? .ignored(.nothingNew) : .facts(facts)
    }
}

extension PolicyAsk {
    /// What a recipient is when it is no person: by the endings of WhatsApp's ids, and by its invitation links.
    package init?(recipient: String) {
        let text = recipient.lowercased()
        if text.hasSuffix("@g.us") || text.contains("chat.whatsapp.com/") {
            self = .group
        } else if text.hasSuffix("@newsletter") || text.contains("whatsapp.com/channel/") {
            self = .channel
        } else if text.hasSuffix("@broadcast") {
            self = .broadcast
        } else {
            return nil
        }
    }

    /// What a caller's own word for an event asks for, where that is refused; nil for all others.
    package init?(word: some StringProtocol) {
        switch word.lowercased() {
        case "group": self = .group
        case "channel", "newsletter": self = .channel
        case "broadcast", "bulk": self = .broadcast
        case "campaign", "marketing", "promotion", "promo", "offer", "ad", "ads": self = .campaign
        case "cold", "outreach", "cold_outreach", "cold_outbound", "prospecting": self = .coldOutbound
        case "bot", "chatbot", "autoreply", "auto_reply": self = .bot
        case "waba", "template": self = .waba
        default: return nil
        }
    }
}
