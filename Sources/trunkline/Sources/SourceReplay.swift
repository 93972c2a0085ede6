internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

extension SourceCommand {
    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "replay",
            abstract:
                "Run stored events anew, for example after a setting was wrong. What they did already is not done twice.",
            discussion:
                "Without --event it means all events, or those since a time, and only counts them unless --yes is given."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The source's id.")
        var id: String

        @Option(help: ArgumentHelp("The key of an event; may be given several times.", valueName: "key"))
        var event: [String] = []

        @Option(
            help: ArgumentHelp("All that were received since this time, like 2026-12-01T18:00:00Z.", valueName: "time")
        )
        var since: String?

        @Flag(help: "Do it. Without it a choice by time only counts.")
        var yes = false

        @Flag(help: "Count, and change nothing.")
        var dryRun = false

        @Flag(help: "Print one JSON document.")
        var json = false

        private struct Item: Encodable {
            let event: String
            let verdict: String?
        }

        func validate() throws {
            guard event.isEmpty || since == nil else { throw ValidationError("Give one of --event and --since.") }
        }

        func run() async throws {
            try await options.run { settings in
                let id = try SourceID(id)
                let time = try since.map { text in
                    guard let time = Timestamp(rfc3339: text) else {
                        throw CommandError(.usage, "--since takes a time with its offset, like 2026-12-01T18:00:00Z")
                    }
                    return time
                }
                let isDryRun = dryRun || event.isEmpty && !yes
                var items: [Item] = []
                try await settings.operate(as: SourceCommand.name) { install in
                    try await install.replayEvents(
                        event.isEmpty ? .since(time) : .named(event),
                        of: id,
                        events: .standard,
                        isDryRun: isDryRun
                    ) { key, verdict in
                        items.append(Item(event: key, verdict: verdict?.word))
                        if !json, let verdict { Output.line("event \(key): \(Self.words(verdict))") }
                    }
                }
                if json { try Output.json(items) }
                if isDryRun {
                    Output.note("\(items.count) events; nothing was changed\(dryRun ? "" : "; --yes does it")")
                } else if items.contains(where: { $0.verdict != EventReplayVerdict.replayed.word }) {
                    throw CommandError.silent(.failed)
                }
            }
        }

        private static func words(_ verdict: EventReplayVerdict) -> String {
            switch verdict {
            case .replayed: "is run anew"
            case .unfinished: "not yet: the job that runs it has not ended"
            case .emptied: "retention has dropped its bytes"
            case .unknownEvent: "there is none of that key"
            case .unknownLane: "there is no such source"
            case .removedLane: "its source was removed"
            case .unheard(let word): "nobody here knows what became of it (\(word))"
            }
        }
    }
}
