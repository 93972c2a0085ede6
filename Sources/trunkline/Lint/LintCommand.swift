internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineEngine

struct LintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lint",
        abstract: "Habits of callers that defeat the key.",
        discussion: """
            A key names the business fact, so that a retry is the same notice. A key with the time of the call or a random id in \
            it is another one each time. Hints: nothing is refused for them.
            """,
        subcommands: [List.self]
    )

    /// As servers list its connections.
    static let name = "trunkline lint"

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "What was met, by workspace, rule and caller; the latest first."
        )

        @OptionGroup var options: GlobalOptions

        @OptionGroup var only: WorkspaceOption

        @Flag(
            help:
                "Rather the texts of the last day that went to one person on one line under several keys, whoever gave them."
        )
        var texts = false

        @OptionGroup var extent: ListOptions

        func run() async throws {
            try await options.run { settings in
                let workspace = try only.id()
                try await settings.operate(as: LintCommand.name) { install in
                    if texts {
                        try say(try await install.repeatedTexts(workspace: workspace, limit: extent.limit))
                    } else {
                        try say(try await install.lintFindings(workspace: workspace, limit: extent.limit))
                    }
                }
            }
        }

        private func say(_ findings: [LintFinding]) throws {
            if extent.json {
                try Output.json(["findings": findings.map(Document.init)])
                return
            }
            guard !findings.isEmpty else {
                Output.line("nothing was met")
                return
            }
            Output.table(
                ["WORKSPACE", "RULE", "CALLER", "TIMES", "FIRST", "LAST", "EXAMPLE"],
                findings.map { finding in
                    [
                        finding.workspace.value, finding.rule, finding.caller, String(finding.times),
                        Output.time(finding.firstAt), Output.time(finding.lastAt), finding.key,
                    ]
                }
            )
            for rule in CallerLint.Rule.allCases where findings.contains(where: { $0.rule == rule.rawValue }) {
                Output.line("\(rule.rawValue): \(rule.sentence)")
            }
            extent.noteIfFull(findings.count)
        }

        private func say(_ texts: [RepeatedText]) throws {
            if extent.json {
                try Output.json(["texts": texts.map(TextDocument.init)])
                return
            }
            guard !texts.isEmpty else {
                Output.line("no text went to one person under several keys")
                return
            }
            Output.table(
                ["WORKSPACE", "LINE", "KEYS", "FIRST KEY", "LAST KEY", "LAST"],
                texts.map { text in
                    [
                        text.workspace.value, text.lane.name?.id ?? text.lane.stored, String(text.keys), text.firstKey,
                        text.lastKey, Output.time(text.lastAt),
                    ]
                }
            )
            extent.noteIfFull(texts.count)
        }

        private struct Document: Encodable {
            let workspace, rule, caller, example: String
            let sentence: String?
            let times: Int64
            let firstAt, lastAt: String

            init(_ finding: LintFinding) {
                workspace = finding.workspace.value
                rule = finding.rule
                caller = finding.caller
                example = finding.key
                sentence = finding.sentence
                times = finding.times
                firstAt = finding.firstAt.rfc3339
                lastAt = finding.lastAt.rfc3339
            }
        }

        private struct TextDocument: Encodable {
            let workspace, line, firstKey, lastKey, lastAt: String
            let keys: Int64

            init(_ text: RepeatedText) {
                workspace = text.workspace.value
                line = text.lane.name?.id ?? text.lane.stored
                firstKey = text.firstKey
                lastKey = text.lastKey
                lastAt = text.lastAt.rfc3339
                keys = text.keys
            }
        }
    }
}
