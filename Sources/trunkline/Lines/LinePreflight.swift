internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

extension LineCommand {
    struct AskHealth: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "preflight",
            abstract: "Ask a line's API once whether it can send. Sends nothing and wakes nothing.",
            discussion: "Exit 0 when the line is sendable, else 1."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The line's id.")
        var id: String

        @Option(help: ArgumentHelp("PEM file of authorities to trust instead of the system's.", valueName: "file"))
        var caFile: String?

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try LineID(id)
                let masterKey = try settings.masterKey()
                let health = try await settings.operate(as: LineCommand.name) { install in
                    try await install.askHealth(
                        of: id,
                        carriers: .standard,
                        masterKey: masterKey,
                        ownFiles: settings.ownFiles,
                        certificateAuthorities: caFile
                    )
                }
                if json {
                    try Output.json(HealthDocument(health, line: id))
                } else {
                    Output.line("line \(id): \(health.sentence)" + (health.advice.map { ". What to do: \($0)" } ?? ""))
                }
                if !health.isSendable { throw CommandError.silent(.failed) }
            }
        }
    }
}
