internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension DestinationCommand {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
            abstract: "Show all about one destination."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The destination's id.")
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try DestinationID(id)
                try await settings.operate(as: DestinationCommand.name) { install in
                    let destination = try await install.destination(id)
                    if json {
                        try Output.json(DestinationDocument(destination))
                        return
                    }
                    Output.facts(
                        [
                            ("destination", id.value), ("kind", destination.kind),
                            ("workspace", destination.workspace.value), ("state", destination.state),
                        ] + LaneWords.gate(destination.record)
                            + [
                                (
                                    "URL",
                                    destination.shownAddress(Carriers.destinations)
                                        + (destination.mayBePrivate ? " (may be in a private network)" : "")
                                ),
                                ("secret", LaneWords.secret(destination.record)),
                                ("pace", LaneWords.pace(destination.pace, hasPersons: false)),
                            ] + LaneWords.rest(destination.record)
                    )
                }
            }
        }
    }
}
