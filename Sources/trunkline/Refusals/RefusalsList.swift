internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension RefusalsCommand {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "The latest first.")

        @OptionGroup var options: GlobalOptions

        @Option(
            help: ArgumentHelp(
                "Only of this kind: \(Refusal.Kind.allCases.map(\.rawValue).joined(separator: ", ")).",
                valueName: "kind"
            )
        )
        var kind: String?

        @Option(help: ArgumentHelp("Only for this line.", valueName: "id"))
        var line: String?

        @Option(help: ArgumentHelp("Only for this destination.", valueName: "id"))
        var destination: String?

        @Option(help: ArgumentHelp("Only from this source.", valueName: "id"))
        var source: String?

        @Option(help: ArgumentHelp("Only what came this way: amqp, cli, http.", valueName: "way"))
        var via: String?

        @OptionGroup var extent: ListOptions

        func validate() throws { try RefusalsCommand.check(kind: kind) }

        func run() async throws {
            try await options.run { settings in
                let lane = try LaneName.chosen(line: line, destination: destination, source: source)
                let refusals = try await settings.operate(as: RefusalsCommand.name) { install in
                    try await install.refusals(kind: kind, lane: lane, via: via, limit: extent.limit)
                }
                if extent.json {
                    try Output.json(refusals.map(Document.init))
                    return
                }
                guard !refusals.isEmpty else {
                    Output.line("nothing was refused")
                    return
                }
                Output.table(
                    ["ID", "LAST", "TIMES", "VIA", "KIND", "FIELD", "LINE", "KEY", "REASON"],
                    refusals.map { refusal in
                        [
                            String(refusal.id), Output.time(refusal.lastAt),
                            String(refusal.times),
                            refusal.via, refusal.kind, refusal.field ?? "-", refusal.lane?.description ?? "-",
                            refusal.key ?? "-",
                            refusal.reason,
                        ]
                    }
                )
                extent.noteIfFull(refusals.count)
            }
        }
    }
}
