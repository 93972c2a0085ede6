internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension SourceCommand {
    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "resume",
            abstract: "End the hold of a source."
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
                    let source = try await install.resumeSource(id)
                    try SourceCommand.say(source, json: json, "source \(id) is not held by anybody")
                }
            }
        }
    }
}
