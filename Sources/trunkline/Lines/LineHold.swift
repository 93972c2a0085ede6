internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension LineCommand {
    struct Hold: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "hold",
            abstract:
                "Hold a line: no send of it begins until it is resumed. Its jobs wait in order and use no attempts."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The line's id.")
        var id: String

        @Option(help: "Why, for whoever asks at night.")
        var reason: String

        @Option(
            help: ArgumentHelp(
                "When the hold ends by itself: a time like 2026-12-01T18:00:00Z, or a span like 2h.",
                valueName: "time"
            )
        )
        var until: String?

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                let end = try until.map { try Self.end($0) }
                try await settings.operate(as: LineCommand.name) { install in
                    let line = try await install.holdLine(id, reason: reason, until: end)
                    let until = line.hold?.until.map { " until \(Output.time($0))" } ?? ""
                    try LineCommand.say(line, json: json, "line \(line.id) is held\(until)")
                }
            }
        }

        private static func end(_ text: String) throws -> Timestamp {
            if let time = Timestamp(rfc3339: text) { return time }
            guard let span = try? Pace.span(parsing: text, field: "until"), span > .zero else {
                throw CommandError(
                    .usage,
                    "--until takes a time with its offset, like 2026-12-01T18:00:00Z, or a span of at most a day, like 2h"
                )
            }
            return WallClock.now + span
        }
    }
}
