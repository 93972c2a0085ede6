internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension LineCommand {
    /// Where a token comes from. Never the command line itself, which others can read.
    struct TokenOptions: ParsableArguments {
        @Option(help: ArgumentHelp("Read the token from this environment variable, now.", valueName: "name"))
        var tokenEnv: String?

        @Option(help: ArgumentHelp("Read the token from this file, now.", valueName: "file"))
        var tokenFile: String?

        @Flag(help: "Read the token from standard input.")
        var tokenStdin = false

        @Flag(
            help:
                "Store where the token is (env:NAME or file:/path) instead of the token, sealed like it; every worker reads it there."
        )
        var byReference = false

        private var input: SecretInput {
            SecretInput(
                word: "token",
                environment: tokenEnv,
                file: tokenFile,
                isStandardInput: tokenStdin,
                byReference: byReference
            )
        }

        func validate() throws { try input.validate() }

        /// The token as the operator gave it, nil when none was given. Needs the master key, also for a reference.
        func token(_ settings: Settings) throws -> LaneSecret? {
            try input.read(settings) { bytes throws(Refusal) in try Carriers.line.secretHint(bytes) }
        }
    }
}
