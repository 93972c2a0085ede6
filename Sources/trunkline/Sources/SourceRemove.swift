internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension SourceCommand {
    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove",
            abstract: "Remove a source all of whose events were run. Its id, its events and its history stay."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The source's id.")
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try SourceID(id)
                try await settings.operate(as: SourceCommand.name) { install in
                    let source = try await install.removeSource(id)
                    try SourceCommand.say(source, json: json, "removed source \(id)")
                }
            }
        }
    }
}
