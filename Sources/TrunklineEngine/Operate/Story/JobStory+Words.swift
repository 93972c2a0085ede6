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
        return reason
    }

    /// A stored number, masked.
    static func masked(_ number: String) -> String {
        (try? PhoneNumber(number))?.masked ?? "•••"
    }
}
