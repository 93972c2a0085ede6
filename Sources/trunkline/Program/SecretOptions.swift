internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

/// Where a secret comes from. Never the command line itself, which others can read.
struct SecretOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Read the secret from this environment variable, now.", valueName: "name"))
    var secretEnv: String?

    @Option(help: ArgumentHelp("Read the secret from this file, now.", valueName: "file"))
    var secretFile: String?

    @Flag(help: "Read the secret from standard input.")
    var secretStdin = false

    @Flag(
        help:
            "Store where the secret is (env:NAME or file:/path) instead of the secret, sealed like it; whoever needs it reads it there."
    )
    var byReference = false

    private var input: SecretInput {
        SecretInput(
            word: "secret",
            environment: secretEnv,
            file: secretFile,
            isStandardInput: secretStdin,
            byReference: byReference
        )
    }

    func validate() throws { try input.validate() }

    var isGiven: Bool { secretEnv != nil || secretFile != nil || secretStdin }

    /// The secret as the operator gave it, nil when none was given. Needs the master key, also for a reference.
    ///
    /// - Parameter hint: checks it, and says what of it may be shown.
    func secret(_ settings: Settings, hint: ([UInt8]) throws(Refusal) -> String) throws -> LaneSecret? {
        try input.read(settings, hint: hint)
    }
}
