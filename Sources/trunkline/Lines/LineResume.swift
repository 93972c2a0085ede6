internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension LineCommand {
    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "resume", abstract: "End the hold of a line.")

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The line's id.")
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                try await settings.operate(as: LineCommand.name) { install in
                    let line = try await install.resumeLine(id)
                    try LineCommand.say(
                        line,
                        json: json,
                        "line \(line.id) is not held by anybody; its own gate is \(line.gate)"
                    )
                }
            }
        }
    }
}
