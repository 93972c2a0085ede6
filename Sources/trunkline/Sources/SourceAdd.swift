internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

extension SourceCommand {
    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "add",
            abstract: "Add a source. Its id belongs to the workspace for ever.",
            discussion: """
                Its sender posts to the path that is printed once. The secret that proves the sender is read now and stored \
                encrypted under TRUNKLINE_MASTER_KEY; two lines are two secrets, while the sender changes from one to the \
                other. Settings by kind are in the pages of docs/sources. A removed source of the same workspace comes back, \
                with a new token.
                """
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var secretOptions: SecretOptions
        @OptionGroup var tokenOptions: TokenOptions

        @Argument(help: "The source's id, unique in the install: A-Z a-z 0-9 . _ -, at most 64.")
        var id: String

        @Option(help: "What it is: \(SourceRegistry.standard.all.map(\.kind.value).joined(separator: ", ")).")
        var kind: String

        @Option(help: "The workspace (client) that owns it.")
        var workspace: String

        @Option(help: "The line that its notices usually go out on, for whoever reads the list; rules name their own.")
        var line: String?

        @Option(help: "Whose people write national phone numbers so, where an event names no country: two letters.")
        var country: String?

        @Option(help: ArgumentHelp("A setting of its kind; may be given several times.", valueName: "name=value"))
        var setting: [String] = []

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let (id, workspace) = (try SourceID(id), try WorkspaceID(workspace))
                let kind = try SourceCommand.kind(kind)
                let given = try SourceCommand.settings(setting)
                let new = NewSource(
                    workspace: workspace,
                    source: kind,
                    secret: try secret(settings, kind, given),
                    settings: given,
                    country: country?.uppercased(),
                    line: try line.map { try LineID($0) }
                )
                let token = try tokenOptions.token()
                let used = token ?? TokenOptions.new()
                let publicURL = try settings.publicURL()
                try await settings.operate(as: SourceCommand.name) { install in
                    try await LineCommand.warnOfOtherKey(settings, install)
                    let source = try await install.addSource(id, new, token: used)
                    try SourceCommand.say(
                        source,
                        json: json,
                        // Whoever gave it has it.
                        intake: token == nil ? used.path : nil,
                        at: publicURL,
                        "added source \(id) of workspace \(workspace), \(SourceCommand.words(source))"
                    )
                }
            }
        }

        private func secret(_ settings: Settings, _ kind: any Source, _ given: [String: String]) throws -> LaneSecret {
            if let secret = try secretOptions.secret(settings, for: kind, given) {
                _ = try kind.checked(given)
                return secret
            }
            // For kinds that can do without; the others say what they want.
            let account = try kind.account(secret: [], settings: given)
            guard let key = try settings.masterKey() else {
                throw CommandError(
                    .usage,
                    "storing a source needs TRUNKLINE_MASTER_KEY (or TRUNKLINE_MASTER_KEY_FILE), 32 bytes in base64"
                )
            }
            return .sealed([], hint: account.secrets.hint ?? "", key)
        }
    }
}
