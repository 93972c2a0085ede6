internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension LineCommand {
    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove",
            abstract: "Remove a line that has no unfinished jobs. Its id, its keys and its history stay."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The line's id.")
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                try await settings.operate(as: LineCommand.name) { install in
                    let line = try await install.removeLine(id)
                    try LineCommand.say(line, json: json, "removed line \(line.id)")
                }
            }
        }
    }
}
