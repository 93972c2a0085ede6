internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension DestinationCommand {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "List the destinations.")

        @OptionGroup var options: GlobalOptions

        @OptionGroup var only: WorkspaceOption

        @Flag(help: "Removed ones too.")
        var all = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let workspace = try only.id()
                try await settings.operate(as: DestinationCommand.name) { install in
                    let found = try await install.allDestinations(workspace: workspace, withRemoved: all)
                    if json {
                        try Output.json(["destinations": found.map { DestinationDocument($0) }])
                        return
                    }
                    guard !found.isEmpty else {
                        Output.note("There are no destinations; 'trunkline destination add' adds one.")
                        return
                    }
                    Output.table(
                        [
                            "DESTINATION", "KIND", "WORKSPACE", "STATE", "URL", "PACE", "DAILY CAP", "SECRET",
                            "UNFINISHED",
                            "PARKED",
                        ],
                        found.map { destination in
                            [
                                destination.id.value, destination.kind, destination.workspace.value, destination.state,
                                destination.shownAddress(Carriers.destinations),
                                LaneWords.pace(destination.pace, hasPersons: false),
                                LaneWords.shortCap(destination.record), LaneWords.secret(destination.record),
                                String(destination.unfinished.values.reduce(0, +)),
                                String(destination.unfinished["parked"] ?? 0),
                            ]
                        }
                    )
                }
            }
        }
    }
}
