internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension LineCommand {
    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "add",
            abstract: "Add a line. Its id belongs to the workspace for ever.",
            discussion: """
                The token is read now and stored encrypted under TRUNKLINE_MASTER_KEY, for this line and this address's \
                host only: another host needs the token again. A removed line of the same workspace comes back with its keys.

                Afterwards the line's API is asked once whether it can send, which sends and wakes nothing. Whatever it says, \
                the line is stored and the exit code is 0; trouble is a warning with its likely mend. --no-check asks nothing; \
                'trunkline line preflight' asks at any time and exits 1 when the line cannot send.
                """
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var tokenOptions: TokenOptions
        @OptionGroup var paceOptions: PaceOptions
        @OptionGroup var checkOptions: CheckOptions

        @Argument(help: "The line's id, unique in the install: A-Z a-z 0-9 . _ -, at most 64.")
        var id: String

        @Option(help: "The workspace (client) that owns the line.")
        var workspace: String

        @Option(help: ArgumentHelp("Where the line's API lives.", valueName: "url"))
        var baseURL: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let (id, workspace) = (try LineID(id), try WorkspaceID(workspace))
                let base = try Carriers.line.address(baseURL, mayBePrivate: true)
                let pace = try paceOptions.change().applied(to: .standard)
                guard let token = try tokenOptions.token(settings) else {
                    throw CommandError(.usage, "give the token with --token-env, --token-file or --token-stdin")
                }
                try await settings.operate(as: LineCommand.name) { install in
                    try await LineCommand.warnOfOtherKey(settings, install)
                    let line = try await install.addLine(
                        id,
                        workspace: workspace,
                        carrier: Carriers.line,
                        baseURL: base,
                        token: token,
                        pace: pace,
                        dailyCap: try paceOptions.cap() ?? .unlimited,
                        timeZone: paceOptions.timeZone ?? "UTC"
                    )
                    try LineCommand.say(
                        line,
                        health: try await checkOptions.ask(id, settings, install),
                        json: json,
                        "added line \(line.id) of workspace \(line.workspace), \(LaneWords.pace(line.pace))\(LaneWords.cap(line.record))"
                    )
                }
            }
        }
    }
}
