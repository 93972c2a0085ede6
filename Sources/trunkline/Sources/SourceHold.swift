internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension SourceCommand {
    struct Hold: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "hold",
            abstract:
                "Hold a source: what it sends is stored, and nothing of it is run until it is resumed. It loses nothing."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The source's id.")
        var id: String

        @OptionGroup var hold: HoldOptions

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try SourceID(id)
                let end = try hold.end()
                try await settings.operate(as: SourceCommand.name) { install in
                    let source = try await install.holdSource(id, reason: hold.reason, until: end)
                    let until = source.hold?.until.map { " until \(Output.time($0))" } ?? ""
                    try SourceCommand.say(source, json: json, "source \(id) is held\(until)")
                }
            }
        }
    }
}
