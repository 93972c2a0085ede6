internal import TrunklineCore

/// Answers in the shapes of EZWhatsApp's Channel API, for modules that were built for it.
enum EZWhatsAppShapes {
    /// An error as that API tells it: by its status first of all.
    static func error(_ problem: Problem) -> Answer {
        // Its clients know 409 for a key with other content, and 422 for a message that is bad.
        let status =
            switch problem.kind {
            case .keyConflict: 409
            default: problem.kind.status
            }
        let code =
            problem.kind == .keyConflict ? "idempotency_conflict" : problem.kind.rawValue.replacing("-", with: "_")
        return problem.withHeaders(
            Answer.json(status) { json in
                json.name("error")
                json.beginObject()
                json.member("code", code)
                json.member("message", problem.detail)
                json.member("field", problem.field)
                json.endObject()
            }
        )
    }
}
