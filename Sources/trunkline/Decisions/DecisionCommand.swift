internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

struct DecisionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decision",
        abstract: "What events asked for and is not done, in writing: groups, channels, cold outbound, …",
        subcommands: [List.self, Show.self],
        defaultSubcommand: List.self
    )

    /// As servers list its connections.
    static let name = "trunkline decision"

    /// As programs read it.
    struct Document: Encodable {
        let number: Int64
        let workspace: String
        let source: String
        let event: String
        let ask: String
        let rule: String?
        let reason: String?
        let at: String

        init(_ decision: PolicyDecision) {
            number = decision.number
            workspace = decision.workspace.value
            source = decision.source
            event = decision.event
            ask = decision.ask
            rule = decision.rule
            reason = decision.sentence
            at = decision.at.rfc3339
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "The latest first.")

        @OptionGroup var options: GlobalOptions
        @OptionGroup var only: WorkspaceOption

        @Option(help: ArgumentHelp("Only of this source.", valueName: "id"))
        var source: String?

        @Option(
            help: ArgumentHelp(
                "Only of this kind: \(PolicyAsk.allCases.map(\.rawValue).joined(separator: ", ")).",
                valueName: "kind"
            )
        )
        var ask: String?

        @OptionGroup var extent: ListOptions

        func validate() throws {
            guard ask.map({ PolicyAsk(rawValue: $0) != nil }) ?? true else {
                throw ValidationError(
                    "--ask is one of \(PolicyAsk.allCases.map(\.rawValue).joined(separator: ", "))."
                )
            }
        }

        func run() async throws {
            try await options.run { settings in
                let workspace = try only.id()
                let source = try source.map { try SourceID($0) }
                let found = try await settings.operate(as: DecisionCommand.name) { install in
                    try await install.decisions(
                        workspace: workspace,
                        source: source,
                        ask: ask.flatMap { PolicyAsk(rawValue: $0) },
                        limit: extent.limit
                    )
                }
                if extent.json { return try Output.json(["decisions": found.map(Document.init)]) }
                guard !found.isEmpty else {
                    Output.line("nothing was refused by policy")
                    return
                }
                Output.table(
                    ["NUMBER", "AT", "WORKSPACE", "SOURCE", "ASK", "RULE", "EVENT"],
                    found.map { one in
                        [
                            String(one.number), Output.time(one.at), one.workspace.value, one.source, one.ask,
                            one.rule ?? "-", one.event,
                        ]
                    }
                )
                extent.noteIfFull(found.count)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "All about one of them.")

        @OptionGroup var options: GlobalOptions

        @Argument(help: "Its number, as 'decision list' has it.")
        var number: Int64

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let found = try await settings.operate(as: DecisionCommand.name) { install in
                    try await install.decision(number)
                }
                guard let found else { throw CommandError(.failed, "there is no decision \(number)") }
                if json { return try Output.json(Document(found)) }
                Output.facts([
                    ("decision", String(found.number)), ("at", Output.time(found.at)),
                    ("workspace", found.workspace.value), ("asked for", found.ask),
                    ("not done", found.sentence ?? "-"), ("rule", found.rule ?? "the event itself"),
                    ("event", found.event), ("source", found.source),
                ])
                Output.line()
                Output.line("'trunkline events show \(found.source) KEY' tells what else the event led to.")
            }
        }
    }
}
