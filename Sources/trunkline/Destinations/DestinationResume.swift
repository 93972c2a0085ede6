internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension DestinationCommand {
    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "resume",
            abstract: "End the hold of a destination."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The destination's id.")
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try DestinationID(id)
                try await settings.operate(as: DestinationCommand.name) { install in
                    let destination = try await install.resumeDestination(id)
                    try DestinationCommand.say(
                        destination,
                        json: json,
                        "destination \(id) is not held by anybody; its own gate is \(destination.gate)"
                    )
                }
            }
        }
    }
}
