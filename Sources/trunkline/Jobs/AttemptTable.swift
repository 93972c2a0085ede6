internal import TrunklineCore
internal import TrunklineEngine

/// Attempts as they are shown.
enum AttemptTable {
    struct Document: Encodable {
        let number: Int32
        let startedAt: String
        let endedAt: String
        let outcome: String
        let reason: String?
        let status: Int32?

        init(_ attempt: JobStory.Attempt) {
            number = attempt.number
            startedAt = attempt.startedAt.rfc3339
            endedAt = attempt.endedAt.rfc3339
            outcome = attempt.outcome
            reason = attempt.reason
            status = attempt.status
        }
    }

    static func print(_ attempts: [JobStory.Attempt]) {
        guard !attempts.isEmpty else { return }
        Output.line()
        Output.table(
            ["ATTEMPT", "BEGAN", "ENDED", "OUTCOME", "STATUS", "REASON"],
            attempts.map { attempt in
                [
                    String(attempt.number), Output.time(attempt.startedAt),
                    Output.time(attempt.endedAt), attempt.outcome,
                    attempt.status.map { String($0) } ?? "-",
                    attempt.reason.map { JobStory.words(forReason: $0) } ?? "-",
                ]
            }
        )
    }
}
