internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineEngine

struct EventsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "What sources sent, and what became of it.",
        subcommands: [List.self, Show.self],
        defaultSubcommand: List.self
    )

    /// As servers list its connections.
    static let name = "trunkline events"

    /// An event as programs read it.
    struct Document: Encodable {
        let source: String
        let event: String
        let receivedAt: String
        let state: String
        let outcome: String?
        let reason: String?
        let job: String?
        let repeats: Int32
        let replays: Int32
        let ranAt: String?
        let bytes: Int64
        let emptied: Bool
        let plan: EventPlanRecord?

        init(_ event: EventRecord) {
            source = event.source
            self.event = event.key
            receivedAt = event.receivedAt.rfc3339
            state = event.state
            outcome = event.outcome
            reason = event.jobState == nil ? event.reason : event.jobReason
            job = event.job?.description
            repeats = event.repeats
            replays = event.replays
            ranAt = event.ranAt?.rfc3339
            bytes = event.length
            emptied = event.isEmptied
            plan = event.plan
        }
    }
}

extension EventsCommand {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "The latest first.")

        @OptionGroup var options: GlobalOptions

        @Option(help: ArgumentHelp("Only of this source.", valueName: "id"))
        var source: String?

        @Option(help: ArgumentHelp("Only with this outcome: planned, ignored, refused.", valueName: "outcome"))
        var outcome: String?

        @Option(help: ArgumentHelp("Only since this time, like 2026-12-01T18:00:00Z.", valueName: "time"))
        var since: String?

        @OptionGroup var extent: ListOptions

        func validate() throws {
            guard outcome.map({ EventRun.Word(rawValue: $0) != nil }) ?? true else {
                throw ValidationError("--outcome is planned, ignored or refused.")
            }
            guard since.map({ Timestamp(rfc3339: $0) != nil }) ?? true else {
                throw ValidationError("--since takes a time with its offset, like 2026-12-01T18:00:00Z.")
            }
        }

        func run() async throws {
            try await options.run { settings in
                let id = try source.map { try SourceID($0) }
                let events = try await settings.operate(as: EventsCommand.name) { install in
                    try await install.events(
                        source: id,
                        outcome: outcome,
                        since: since.flatMap { Timestamp(rfc3339: $0) },
                        limit: extent.limit
                    )
                }
                if extent.json {
                    try Output.json(events.map(Document.init))
                    return
                }
                guard !events.isEmpty else {
                    Output.line("nothing came")
                    return
                }
                Output.table(
                    ["RECEIVED", "SOURCE", "EVENT", "STATE", "REPEATS", "WHY"],
                    events.map { event in
                        [
                            Output.time(event.receivedAt), event.source, event.key, event.state, String(event.repeats),
                            event.sentence,
                        ]
                    }
                )
                extent.noteIfFull(events.count)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "All about one event.")

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The source's id.")
        var source: String

        @Argument(help: "The event's key, as 'events list' has it.")
        var event: String

        @Flag(help: "Write the body as it came, and nothing else. Customers' data.")
        var raw = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try SourceID(source)
                let (found, bytes) = try await settings.operate(as: EventsCommand.name) { install in
                    (try await install.event(event, of: id), try await install.eventBytes(event, of: id))
                }
                guard let found else { throw CommandError(.failed, "source \(id) has sent no event of that key") }
                if raw {
                    let body = bytes?.body ?? []
                    if isatty(STDOUT_FILENO) == 1 {
                        // On a screen it is shown; only a file or a pipe gets it as it is.
                        Output.text(String(decoding: body, as: UTF8.self))
                    } else {
                        FileHandle.standardOutput.write(Data(body))
                    }
                    return
                }
                if json {
                    try Output.json(Document(found))
                    return
                }
                let headers = Swift.Set((bytes?.headers ?? []).map { $0.name.lowercased() }).sorted()
                Output.facts([
                    ("event", found.key), ("source", found.source), ("state", found.state),
                    ("why", found.sentence.isEmpty ? "-" : found.sentence),
                    ("received", Output.time(found.receivedAt)), ("run", found.ranAt.map { Output.time($0) } ?? "-"),
                    ("repeats", String(found.repeats)), ("run anew", String(found.replays)),
                    ("job", found.job.map { "\($0); 'trunkline why \($0)' tells its life" } ?? "-"),
                    ("headers", headers.isEmpty ? "-" : headers.joined(separator: ", ")),
                    (
                        "body",
                        found.isEmptied ? "dropped by retention" : "\(found.length) bytes; --raw writes them"
                    ),
                ])
                if let plan = found.plan { tell(plan) }
            }
        }

        private func tell(_ plan: EventPlanRecord) {
            Output.line()
            Output.line(plan.rules.map { "Planned by rules of revision \($0):" } ?? "Planned without rules:")
            for notice in plan.notices {
                let job = notice.job.map { " \($0)" } ?? ""
                Output.line("  \(notice.rule): \(notice.key) on \(notice.line) \(notice.sentence)\(job)")
            }
            for cancelled in plan.cancelled {
                Output.line("  \(cancelled.key): \(cancelled.verdict.replacing("_", with: " ")), because of this event")
            }
            for word in plan.said {
                let what =
                    switch word.kind {
                    case "failed": "fails: "
                    case "held": "waits: "
                    case "refused": "refused by policy: "
                    default: "sends nothing: "
                    }
                Output.line("  \(word.rule.isEmpty ? "the event" : word.rule): \(what)\(word.words)")
            }
            if plan.notices.isEmpty, plan.cancelled.isEmpty, plan.said.isEmpty { Output.line("  nothing") }
        }
    }
}
