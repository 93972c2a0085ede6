internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension APIKeyCommand {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "List the API keys.")

        @OptionGroup var options: GlobalOptions

        @OptionGroup var only: WorkspaceOption

        @Flag(help: "Revoked ones too.")
        var all = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let workspace = try only.id()
                let keys = try await settings.operate(as: APIKeyCommand.name) {
                    try await $0.allAPIKeys(workspace: workspace, withRevoked: all)
                }
                if json {
                    try Output.json(["apiKeys": keys.map { APIKeyDocument($0) }])
                    return
                }
                guard !keys.isEmpty else {
                    Output.note("There are no API keys; 'trunkline apikey create' makes one.")
                    return
                }
                Output.table(
                    [
                        "KEY", "WORKSPACE", "SCOPES", "SECRET", "LINE", "PURPOSE", "PER MINUTE", "CREATED", "REVOKED",
                        "LABEL",
                    ],
                    keys.map { key in
                        [
                            key.id.value, key.workspace.value,
                            key.scopes.map(\.rawValue).sorted().joined(separator: ","),
                            key.hint, key.binding?.line.value ?? "-", key.binding?.purpose.rawValue ?? "-",
                            key.requestsPerMinute.map(String.init) ?? "-", Output.time(key.createdAt),
                            Output.time(key.revokedAt), key.label ?? "-",
                        ]
                    }
                )
            }
        }
    }
}
