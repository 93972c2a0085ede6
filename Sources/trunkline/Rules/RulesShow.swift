internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

struct RulesShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "The rules that are in force, as 'trunkline apply' keeps them."
    )

    @OptionGroup var options: GlobalOptions

    @Option(help: "Whose; may be left out while only one workspace has rules.")
    var workspace: String?

    @Option(help: ArgumentHelp("An earlier revision.", valueName: "number"))
    var revision: Int64?

    @Flag(help: "Print one JSON document.")
    var json = false

    private struct Document: Encodable {
        let workspace: String
        let revision: Int64
        let appliedAt: String
        let rules: String
    }

    func run() async throws {
        try await options.run { settings in
            let owner = try workspace.map { try WorkspaceID($0) }
            let found = try await settings.operate(as: "trunkline rules") { install in
                if let revision { return try await install.rules(revision: revision) }
                if let owner { return try await install.rules(of: owner) }
                return try await install.onlyRules()
            }
            guard let found, owner.map({ $0 == found.workspace }) ?? true else {
                let what = revision.map { "no rules of revision \($0)" } ?? "no rules"
                throw CommandError(.failed, owner.map { "workspace \($0) has \(what)" } ?? "there are \(what)")
            }
            if json {
                let document = Document(
                    workspace: found.workspace.value,
                    revision: found.revision,
                    appliedAt: found.appliedAt.rfc3339,
                    rules: found.text
                )
                return try Output.json(document)
            }
            Output.line(
                "# workspace \(found.workspace), revision \(found.revision), applied \(Output.time(found.appliedAt))"
            )
            Output.text(found.text)
        }
    }
}
