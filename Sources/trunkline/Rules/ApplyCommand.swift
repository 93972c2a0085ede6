internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklinePlanning

struct ApplyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply",
        abstract: "Put the rules of a file into force: which event sends which notice.",
        discussion: """
            Shows what changes, and then changes it, in one commit; the same file again changes nothing. A file holds all \
            rules of one workspace: what is not in it is not in force any more. Lines and sources that it names must be there \
            ('trunkline line add', 'trunkline source add'). Workers plan by the new rules from the next event on; what was \
            planned before stays as it is. Of the file only 'lines' and 'sources' are kept ('trunkline rules show').
            """
    )

    @OptionGroup var options: GlobalOptions
    @OptionGroup var rules: RuleFileOptions

    @Option(help: "The workspace whose rules they are; default: the one of their lines and sources.")
    var workspace: String?

    @Flag(help: "Show what would change, and change nothing.")
    var dryRun = false

    @Flag(help: "Print one JSON document.")
    var json = false

    private struct Document: Encodable {
        struct Change: Encodable {
            let change: String
            let path: String
            let words: String
        }

        let workspace: String
        /// Of the rules that are in force now.
        let revision: Int64?
        let applied: Bool
        let changes: [Change]
    }

    func run() async throws {
        try await options.run { settings in
            let owner = try workspace.map { try WorkspaceID($0) }
            let book = try rules.book()
            let new = NewRules(workspace: owner, text: book.text, claims: book.claims)
            var changes: [RuleChange] = []
            let done = try await settings.operate(as: "trunkline apply") { install in
                do {
                    return try await install.applyRules(new) { workspace, inForce in
                        changes = book.changes(from: inForce?.text ?? "")
                        if !json { tell(changes, of: workspace, inForce) }
                        return !dryRun
                    }
                } catch RulesError.problems(let problems) {
                    for problem in problems { Output.note("\(rules.file): \(problem.path): \(problem.words)") }
                    throw CommandError.silent(.refused)
                }
            }
            if json {
                let document = Document(
                    workspace: done.workspace.value,
                    revision: done.inForce?.revision,
                    applied: done.isNew,
                    changes: changes.map { .init(change: $0.kind.rawValue, path: $0.path, words: $0.words) }
                )
                return try Output.json(document)
            }
            if done.isNew {
                Output.line("in force for workspace \(done.workspace): revision \(done.inForce?.revision ?? 0)")
            } else if !dryRun || done.inForce?.text == book.text {
                let revision = done.inForce.map { ", revision \($0.revision) is in force" } ?? ""
                Output.line("nothing to change for workspace \(done.workspace)\(revision)")
            } else {
                Output.line("nothing was changed")
            }
        }
    }

    private func tell(_ changes: [RuleChange], of workspace: WorkspaceID, _ inForce: AppliedRules?) {
        let before = inForce.map { "revision \($0.revision), of \(Output.time($0.appliedAt))" } ?? "none so far"
        Output.line("rules of workspace \(workspace), \(before):")
        for change in changes { Output.line("  \(change)") }
        if changes.isEmpty { Output.line("  the same rules, written or ordered otherwise") }
    }
}

extension RuleBook {
    /// What the rules take for granted.
    fileprivate var claims: [NewRules.Claim] {
        lines.keys.sorted { $0.value < $1.value }.map { .init(path: "lines.\($0)", lane: .line($0)) }
            + sources.map { source in
                .init(
                    path: "sources.\(source.id)",
                    lane: .source(source.id),
                    kind: source.kind.value,
                    country: source.country,
                    settings: source.givenSettings
                )
            }
    }
}
