internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension APIKeyCommand {
    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "create",
            abstract: "Make an API key. Its secret is printed once, and stored nowhere.",
            discussion: """
                Whoever bears it acts for one workspace, within its scopes: send (give notices, deliveries, contacts and \
                orders), read (look at what became of them), operate (cancel, reschedule), admin (all of it).

                With --line and --purpose it serves programs that were made for EZWhatsApp's own API, whose requests name \
                neither: they change their host and their token, and nothing else.
                """
        )

        @OptionGroup var options: GlobalOptions

        @Option(help: "The workspace (client) that it acts for.")
        var workspace: String

        @Option(help: "One or several of send, read, operate and admin, with commas between.")
        var scope: String

        @Option(help: "The line of what comes by the drop-in for EZWhatsApp's API.")
        var line: String?

        @Option(help: "The purpose of what comes by the drop-in, like order or appointment.")
        var purpose: String?

        @Option(help: "At most so many requests a minute at each gateway; default: unlimited.")
        var requestsPerMinute: Int?

        @Option(help: "What people call it, like 'shop backend'.")
        var label: String?

        @Flag(help: "Print one JSON document.")
        var json = false

        func validate() throws {
            guard (line == nil) == (purpose == nil) else {
                throw ValidationError("--line and --purpose go together")
            }
        }

        func run() async throws {
            try await options.run { settings in
                var new = NewAPIKey(
                    workspace: try WorkspaceID(workspace),
                    scopes: try APIScope.list(parsing: scope),
                    requestsPerMinute: requestsPerMinute,
                    label: label
                )
                if let line, let purpose {
                    new.binding = APIKey.Binding(line: try LineID(line), purpose: try Purpose(word: purpose))
                }
                let (key, secret) = try await settings.operate(as: APIKeyCommand.name) {
                    try await $0.createAPIKey(new)
                }
                if json {
                    try Output.json(APIKeyDocument(key, secret: secret))
                    return
                }
                Output.note(
                    "created \(key.id) of workspace \(key.workspace), for \(key.scopes.map(\.rawValue).sorted().joined(separator: ", "))."
                        + " This is its secret; it is not shown again:"
                )
                Output.line(secret.text)
            }
        }
    }
}
