package import TrunklineCore

extension EZWhatsApp {
    /// The path under which the Channel API lives.
    private static let usualPath = "/api/v1"

    /// What a person who has just set up the line would do about what came of a question for its health; nil when it is
    /// sendable.
    package static func advice(on result: CallResult, base: BaseURL) -> String? {
        switch result {
        case .success(let answer):
            advice(status: answer.status, health(status: answer.status, body: answer.body), base)
        case .failure(let failure):
            failure.advice(calling: base.origin, addressWords: "base URL")
        }
    }

    private static func advice(status: Int, _ verdict: HealthVerdict, _ base: BaseURL) -> String? {
        if case .open = verdict { return nil }
        switch status {
        case 200:
            switch verdict {
            case .held(_, .unclearHealth, _): return "is this the Channel API? " + address(base)
            case .held(.human, _, _):
                return "somebody must look at the line at EZWhatsApp: does its phone ask to be linked again?"
            default: return "it may clear by itself; workers ask again while there is work"
            }
        case 401:
            return
                "is it this line's token, and still the present one? Give another with --token-file or another --token-…"
        case 402, 403: return "look at the line and its account at EZWhatsApp"
        case 404, 405, 410: return address(base)
        case 300...399: return "redirects are never followed: give the address that it leads to with --base-url"
        case 429: return "workers ask again by themselves"
        case 500...599: return "if it stays, look at the API's own state; workers ask again by themselves"
        default: return address(base)
        }
    }

    private static func address(_ base: BaseURL) -> String {
        base.value.hasSuffix(usualPath)
            ? "look at the base URL \(base)"
            : "the base URL \(base) does not end with \(usualPath), as EZWhatsApp's does: try --base-url \(base.origin + usualPath)"
    }
}
