internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension DestinationCommand {
    struct Hold: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "hold",
            abstract:
                "Hold a destination: no delivery to it begins until it is resumed. Its jobs wait in order and use no attempts."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The destination's id.")
        var id: String

        @OptionGroup var hold: HoldOptions

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try DestinationID(id)
                let end = try hold.end()
                try await settings.operate(as: DestinationCommand.name) { install in
                    let destination = try await install.holdDestination(id, reason: hold.reason, until: end)
                    let until = destination.hold?.until.map { " until \(Output.time($0))" } ?? ""
                    try DestinationCommand.say(destination, json: json, "destination \(id) is held\(until)")
                }
            }
        }
    }
}
