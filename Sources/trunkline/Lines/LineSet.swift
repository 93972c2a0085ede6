internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension LineCommand {
    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set",
            abstract: "Change a line's pace, address or token; workers follow within a second.",
            discussion: """
                Another host needs the token again. After a new address or token the line's API is asked once whether it can \
                send; trouble is a warning, and the exit code 0. --no-check asks nothing.
                """
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var tokenOptions: TokenOptions
        @OptionGroup var paceOptions: PaceOptions
        @OptionGroup var checkOptions: CheckOptions

        @Argument(help: "The line's id.")
        var id: String

        @Option(help: ArgumentHelp("Where the line's API lives.", valueName: "url"))
        var baseURL: String?

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                let changes = LineChanges(
                    baseURL: try baseURL.map { try Carriers.line.address($0, mayBePrivate: true) },
                    token: try tokenOptions.token(settings),
                    pace: try paceOptions.change(),
                    dailyCap: try paceOptions.cap(),
                    timeZone: paceOptions.timeZone
                )
                guard !changes.isEmpty else {
                    throw CommandError(
                        .usage,
                        "say what to change: --pace, --concurrency, --recipient-gap, --daily-cap, --time-zone, --base-url or a token"
                    )
                }
                try await settings.operate(as: LineCommand.name) { install in
                    if changes.token != nil { try await LineCommand.warnOfOtherKey(settings, install) }
                    let line = try await install.changeLine(id, changes)
                    let isOther = changes.baseURL != nil || changes.token != nil
                    try LineCommand.say(
                        line,
                        health: isOther ? try await checkOptions.ask(id, settings, install) : nil,
                        json: json,
                        "changed line \(line.id): \(LaneWords.pace(line.pace))\(LaneWords.cap(line.record)), \(line.baseURL), token \(LaneWords.secret(line.record))"
                    )
                }
            }
        }
    }
}
