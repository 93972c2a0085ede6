internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension LineCommand {
    struct Hold: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "hold",
            abstract:
                "Hold a line: no send of it begins until it is resumed. Its jobs wait in order and use no attempts."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The line's id.")
        var id: String

        @OptionGroup var hold: HoldOptions

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                let end = try hold.end()
                try await settings.operate(as: LineCommand.name) { install in
                    let line = try await install.holdLine(id, reason: hold.reason, until: end)
                    let until = line.hold?.until.map { " until \(Output.time($0))" } ?? ""
                    try LineCommand.say(line, json: json, "line \(line.id) is held\(until)")
                }
            }
        }
    }
}
