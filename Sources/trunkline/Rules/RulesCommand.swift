internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineIntegrations
internal import TrunklinePlanning

struct RulesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rules",
        abstract:
            "Which event sends which notice: check the rules, see what an event would send, and what is in force.",
        subcommands: [RulesCheck.self, RulesTest.self, RulesShow.self]
    )
}

/// Where the rules are.
struct RuleFileOptions: ParsableArguments {
    @Option(
        name: [.customShort("f"), .long],
        help: ArgumentHelp("The file with the rules.", valueName: "file")
    )
    var file = "trunkline.yaml"

    func yaml() throws -> String {
        let bytes = try InputText.bytes(of: file, longest: RuleBook.longestFile)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw CommandError(.usage, "the file \(file) is not UTF-8")
        }
        return text
    }

    /// The rules; everything that is wrong with them on lines of their own.
    func book() throws -> RuleBook {
        do {
            return try read()
        } catch let error as RuleBookError {
            for problem in error.problems { Output.note("\(file): \(problem)") }
            throw CommandError.silent(.refused)
        }
    }

    func read() throws -> RuleBook {
        try RuleBook(yaml: yaml(), others: Settings.fileKeys, kinds: .standard)
    }
}

struct RulesCheck: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Read the rules, and say everything that is wrong with them. Needs no server."
    )

    @OptionGroup var options: RuleFileOptions

    @Flag(help: "Print one JSON document.")
    var json = false

    private struct Document: Encodable {
        struct Problem: Encodable {
            let path: String
            let line: Int?
            let column: Int?
            let problem: String
        }

        let ok: Bool
        let sources: Int
        let rules: Int
        let problems: [Problem]
    }

    func run() async throws {
        guard json else {
            let book = try options.book()
            let rules = book.sources.map(\.rules.count).reduce(0, +)
            Output.line("\(options.file): \(book.sources.count) sources, \(rules) rules, nothing wrong")
            return
        }
        do {
            let book = try options.read()
            let rules = book.sources.map(\.rules.count).reduce(0, +)
            try Output.json(Document(ok: true, sources: book.sources.count, rules: rules, problems: []))
        } catch let error as RuleBookError {
            let problems = error.problems.map {
                Document.Problem(path: $0.path, line: $0.line, column: $0.column, problem: $0.words)
            }
            try Output.json(Document(ok: false, sources: 0, rules: 0, problems: problems))
            throw CommandError.silent(.refused)
        }
    }
}
