internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension DestinationCommand {
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
                "Store where the secret is (env:NAME or file:/path) instead of the secret, sealed like it; every worker reads it there."
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
        func secret(_ settings: Settings, for carrier: any Carrier) throws -> LaneSecret? {
            try input.read(settings) { bytes throws(Refusal) in try carrier.secretHint(bytes) }
        }
    }

    /// How fast it is delivered to.
    struct PaceOptions: ParsableArguments {
        @Option(help: ArgumentHelp("20/min, 1/3s or unlimited; default: what the kind usually has.", valueName: "pace"))
        var pace: String?

        @Option(help: "Deliveries in the air at once, 1 to 256; default: what the kind usually has.")
        var concurrency: Int?

        @Option(help: ArgumentHelp("Deliveries a day at most, or none; default none.", valueName: "number"))
        var dailyCap: String?

        @Option(
            help: ArgumentHelp("Whose midnight ends the day, like Asia/Jerusalem; default UTC.", valueName: "area/city")
        )
        var timeZone: String?

        func cap() throws(Refusal) -> DailyCap? {
            try dailyCap.map { text throws(Refusal) in try DailyCap(parsing: text) }
        }

        func change() throws(Refusal) -> PaceChange {
            PaceChange(
                interval: try pace.map { text throws(Refusal) in try Pace.interval(parsing: text) },
                concurrency: concurrency
            )
        }
    }
}
