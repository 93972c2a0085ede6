internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension DestinationCommand {
    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set",
            abstract: "Change a destination's pace, URL or secret; workers follow within a second.",
            discussion:
                "Another host needs the secret again. What is accepted keeps the content that it was accepted with."
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var secretOptions: SecretOptions
        @OptionGroup var paceOptions: PaceOptions

        @Argument(help: "The destination's id.")
        var id: String

        @Option(help: ArgumentHelp("Where it is delivered to.", valueName: "url"))
        var url: String?

        @Flag(help: "With --url: it may lead into a private network.")
        var allowPrivateNetwork = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func validate() throws {
            guard !allowPrivateNetwork || url != nil else {
                throw ValidationError("--allow-private-network needs --url.")
            }
        }

        func run() async throws {
            try await options.run { settings in
                let id = try DestinationID(id)
                try await settings.operate(as: DestinationCommand.name) { install in
                    var secret: LaneSecret?
                    if secretOptions.isGiven {
                        let carrier = try Carriers.destination(try await install.destination(id).kind)
                        secret = try secretOptions.secret(settings, for: carrier)
                        try await LineCommand.warnOfOtherKey(settings, install)
                    }
                    let changes = DestinationChanges(
                        url: url,
                        mayBePrivate: allowPrivateNetwork,
                        secret: secret,
                        pace: try paceOptions.change(),
                        dailyCap: try paceOptions.cap(),
                        timeZone: paceOptions.timeZone
                    )
                    guard !changes.isEmpty else {
                        throw CommandError(
                            .usage,
                            "say what to change: --pace, --concurrency, --daily-cap, --time-zone, --url or a secret"
                        )
                    }
                    let destination = try await install.changeDestination(
                        id,
                        changes,
                        carriers: Carriers.destinations
                    )
                    try DestinationCommand.say(
                        destination,
                        json: json,
                        "changed destination \(id): \(DestinationCommand.words(destination)), secret "
                            + LaneWords.secret(destination.record)
                    )
                }
            }
        }
    }
}
