internal import TrunklineCore
internal import TrunklineEngine

/// Attempts as they are shown.
enum AttemptTable {
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
