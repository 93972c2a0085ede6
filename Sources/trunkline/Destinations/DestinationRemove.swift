internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension DestinationCommand {
    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove",
            abstract: "Remove a destination that has no unfinished jobs. Its id, its keys and its history stay."
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
                    let destination = try await install.removeDestination(id)
                    try DestinationCommand.say(destination, json: json, "removed destination \(id)")
                }
            }
        }
    }
}
