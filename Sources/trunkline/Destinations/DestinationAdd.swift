internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension DestinationCommand {
    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "add",
            abstract: "Add a destination. Its id belongs to the workspace for ever.",
            discussion: """
                The secret is read now and stored encrypted under TRUNKLINE_MASTER_KEY, for this destination and this URL's \
                host only: another host needs the secret again. For a webhook it is one or two lines whsec_…: the first signs, \
                the second too while receivers change. Of the URL only the origin is ever shown, because it may hold a secret. \
                A removed destination of the same workspace comes back with its keys.
                """
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var secretOptions: SecretOptions
        @OptionGroup var paceOptions: PaceOptions

        @Argument(help: "The destination's id, unique in the install: A-Z a-z 0-9 . _ -, at most 64.")
        var id: String

        @Option(help: "What it is: \(Carriers.destinations.map(\.kind.value).joined(separator: ", ")).")
        var kind: String

        @Option(help: "The workspace (client) that owns it.")
        var workspace: String

        @Option(help: ArgumentHelp("Where it is delivered to.", valueName: "url"))
        var url: String

        @Flag(
            help:
                "The URL may lead into a private network. Without it only hosts of the public internet are connected to."
        )
        var allowPrivateNetwork = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let (id, workspace) = (try DestinationID(id), try WorkspaceID(workspace))
                let carrier = try Carriers.destination(kind)
                guard let secret = try secretOptions.secret(settings, for: carrier) else {
                    throw CommandError(.usage, "give the secret with --secret-env, --secret-file or --secret-stdin")
                }
                try await settings.operate(as: DestinationCommand.name) { install in
                    try await LineCommand.warnOfOtherKey(settings, install)
                    let destination = try await install.addDestination(
                        id,
                        workspace: workspace,
                        carrier: carrier,
                        url: url,
                        mayBePrivate: allowPrivateNetwork,
                        secret: secret,
                        pace: try paceOptions.change(),
                        dailyCap: try paceOptions.cap() ?? .unlimited,
                        timeZone: paceOptions.timeZone ?? "UTC"
                    )
                    try DestinationCommand.say(
                        destination,
                        json: json,
                        "added destination \(id) of workspace \(workspace), \(DestinationCommand.words(destination))"
                    )
                }
            }
        }
    }
}
