internal import ArgumentParser
internal import TrunklineCore

/// What an operator says when a line or a destination is to be held.
struct HoldOptions: ParsableArguments {
    @Option(help: "Why, for whoever asks at night.")
    var reason: String

    @Option(
        help: ArgumentHelp(
            "When the hold ends by itself: a time like 2026-12-01T18:00:00Z, or a span like 2h.",
            valueName: "time"
        )
    )
    var until: String?

    /// Nil: until it is resumed.
    func end() throws -> Timestamp? {
        guard let until else { return nil }
        if let time = Timestamp(rfc3339: until) { return time }
        guard let span = try? Pace.span(parsing: until, field: "until"), span > .zero else {
            throw CommandError(
                .usage,
                "--until takes a time with its offset, like 2026-12-01T18:00:00Z, or a span of at most a day, like 2h"
            )
        }
        return WallClock.now + span
    }
}
