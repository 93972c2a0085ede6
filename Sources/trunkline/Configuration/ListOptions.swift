internal import ArgumentParser
internal import TrunklineCore

/// How much of a list is printed, and how.
struct ListOptions: ParsableArguments {
    @Option(help: "At most so many.")
    var limit = 100

    @Flag(help: "Print one JSON document.")
    var json = false

    func validate() throws {
        guard (1...100_000).contains(limit) else { throw ValidationError("--limit is 1 to 100000.") }
    }

    /// Says that the list may go on.
    func noteIfFull(_ count: Int) {
        if count == limit { Output.note("there may be more: --limit") }
    }
}

/// Of which workspace a list is.
struct WorkspaceOption: ParsableArguments {
    @Option(help: "Only this workspace's.")
    var workspace: String?

    /// Nil: of all.
    func id() throws -> WorkspaceID? { try workspace.map { try WorkspaceID($0) } }
}

/// Who decides, and why: for what is written down.
struct DecisionOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Who decides; default: this user at this host.", valueName: "name"))
    var by: String?

    @Option(help: ArgumentHelp("Why; kept, and shown by 'trunkline why'.", valueName: "text"))
    var why: String?

    @Flag(help: "Print one JSON document.")
    var json = false

    var name: String { by ?? ThisHost.caller }
}
