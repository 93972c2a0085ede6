internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension APIKeyCommand {
    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "revoke",
            abstract: "Revoke an API key, for ever: gateways refuse it within a second."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The key's id, as 'trunkline apikey list' shows it.")
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try APIKeyID(id)
                let key = try await settings.operate(as: APIKeyCommand.name) { try await $0.revokeAPIKey(id) }
                if json { try Output.json(APIKeyDocument(key)) } else { Output.line("revoked \(key.id)") }
            }
        }
    }
}
