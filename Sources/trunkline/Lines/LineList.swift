internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension LineCommand {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "List the lines.")

        @OptionGroup var options: GlobalOptions

        @OptionGroup var only: WorkspaceOption

        @Flag(help: "Removed ones too.")
        var all = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let workspace = try only.id()
                try await settings.operate(as: LineCommand.name) { install in
                    let lines = try await install.allLines(workspace: workspace, withRemoved: all)
                    if json {
                        try Output.json(["lines": lines.map { LineDocument($0) }])
                        return
                    }
                    guard !lines.isEmpty else {
                        Output.note("There are no lines; 'trunkline line add' adds one.")
                        return
                    }
                    Output.table(
                        ["LINE", "WORKSPACE", "STATE", "PACE", "DAILY CAP", "TOKEN", "UNFINISHED", "PARKED"],
                        lines.map { line in
                            [
                                line.id.value, line.workspace.value, line.state, LaneWords.pace(line.pace),
                                LaneWords.shortCap(line.record),
                                LaneWords.secret(line.record), String(line.unfinished.values.reduce(0, +)),
                                String(line.unfinished["parked"] ?? 0),
                            ]
                        }
                    )
                }
            }
        }
    }
}
