internal import ArgumentParser
internal import TrunklineEngine

struct LineCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "line",
        abstract: "WhatsApp lines: add, look, pace, hold, resume, remove, ask.",
        subcommands: [Add.self, List.self, Show.self, Set.self, Hold.self, Resume.self, Remove.self, AskHealth.self]
    )

    /// As servers list its connections.
    static let name = "trunkline line"

    /// A token under another key than the others' is stored all the same (keys are changed line by line), with a word.
    static func warnOfOtherKey(_ settings: Settings, _ install: Operator) async throws {
        guard let key = try settings.masterKey() else { return }
        do {
            try await install.requireMasterKey(key)
        } catch let error as LaneSecretError {
            Output.note("warning: \(error.description); workers need one key for all lines")
        }
    }

    static func say(_ line: Line, health: LineHealth? = nil, json: Bool, _ done: String) throws {
        if json { try Output.json(LineDocument(line, health: health)) } else { Output.line(done) }
        guard let health else { return }
        if health.isSendable {
            if !json { Output.line("its API answers: \(health.sentence)") }
        } else {
            Output.note(
                "warning: line \(line.id) is stored, and nothing can be sent into it yet: \(health.sentence)"
                    + (health.advice.map { ". What to do: \($0)" } ?? "")
            )
        }
    }
}
