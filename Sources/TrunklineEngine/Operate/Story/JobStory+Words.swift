internal import TrunklineCore

extension JobStory {
    /// A stored reason as a phrase; the word itself when it is none of ours.
    package static func words(forReason reason: String?) -> String {
        guard let reason else { return "no reason was recorded" }
        if let known = Reason(rawValue: reason) { return known.sentence }
        // A gate's reason is a word and what the line's health said.
        if let colon = reason.firstRange(of: ": "), let known = Reason(rawValue: String(reason[..<colon.lowerBound])) {
            return known.sentence + " (" + reason[colon.upperBound...] + ")"
        }
        switch reason {
        case "worker_lost": return "its worker was lost in the middle of the call"
        case "send_before_passed": return "its sendBefore had passed"
        case "send_before_passed_unknown": return "its sendBefore has passed, and an earlier attempt may have sent it"
        case "superseded_unknown": return "a newer fact replaced it, and an earlier attempt may have sent it"
        case "newer_fact": return "a notice with a newer fact replaced it"
        case "cancelled": return "somebody cancelled it"
        case "discarded": return "somebody discarded it"
        case "said_sent": return "somebody said that it was sent"
        case "said_not_sent": return "somebody said that it was not sent, and has not replayed or discarded it yet"
        case "claim_reply_lost": return "its worker did not learn that the attempt had begun"
        case "dead_lettered": return "its message came back to the broker too often"
        case "late": return "the answer came after its worker had been given up for lost"
        case "unknown_horizon": return "nobody could say for 12 h whether it was sent"
        default: return reason
        }
    }

    /// A stored number, masked.
    static func masked(_ number: String?) -> String {
        guard let number else { return "-" }
        return (try? PhoneNumber(number))?.masked ?? "•••"
    }
}
