internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension SourceCommand {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "List the sources.")

        @OptionGroup var options: GlobalOptions

        @Option(help: "Only this workspace's.")
        var workspace: String?

        @Flag(help: "Removed ones too.")
        var all = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let workspace = try workspace.map { try WorkspaceID($0) }
                try await settings.operate(as: SourceCommand.name) { install in
                    let found = try await install.allSources(workspace: workspace, withRemoved: all)
                    if json {
                        try Output.json(["sources": found.map { SourceDocument($0) }])
                        return
                    }
                    guard !found.isEmpty else {
                        Output.note("There are no sources; 'trunkline source add' adds one.")
                        return
                    }
                    Output.table(
                        [
                            "SOURCE", "KIND", "WORKSPACE", "STATE", "LINE", "COUNTRY", "SECRET", "UNFINISHED", "PARKED",
                        ],
                        found.map { source in
                            [
                                source.id.value, source.kind, source.workspace.value, source.state,
                                source.line?.value ?? "-", source.country ?? "-",
                                SourceCommand.secretWords(source),
                                String(source.unfinished.values.reduce(0, +)), String(source.unfinished["parked"] ?? 0),
                            ]
                        }
                    )
                }
            }
        }
    }

    static func secretWords(_ source: SourceRecord) -> String {
        let words = LaneWords.secret(source.record)
        return words.isEmpty ? "none" : words
    }
}
