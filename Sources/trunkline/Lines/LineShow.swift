internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension LineCommand {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "Show all about one line.")

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The line's id.")
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                try await settings.operate(as: LineCommand.name) { install in
                    let line = try await install.line(id)
                    if json {
                        try Output.json(LineDocument(line))
                        return
                    }
                    Output.facts(
                        [("line", line.id.value), ("workspace", line.workspace.value), ("state", line.state)]
                            + LaneWords.gate(line.record)
                            + [
                                ("base URL", line.baseURL), ("token", LaneWords.secret(line.record)),
                                ("pace", LaneWords.pace(line.pace)),
                            ] + LaneWords.rest(line.record)
                    )
                }
            }
        }
    }
}
