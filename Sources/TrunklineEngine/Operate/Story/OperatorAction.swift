package import TrunklineCore

/// A decision as it was written down.
package struct OperatorAction: Sendable, Hashable {
    package let at: Timestamp
    package let action: String
    package let by: String
    package let why: String?

    /// In words: `replayed by anna@desk: the line is back`.
    package var words: String {
        let what =
            switch action {
            case "sent": "said to have been sent"
            case "not_sent": "said not to have been sent"
            case "discard": "discarded"
            case "replay": "replayed"
            case "accept_refused": "accepted from a refusal"
            default: action
            }
        return "\(what) by \(by)" + (why.map { ": " + $0 } ?? "")
    }
}
