internal import ArgumentParser
internal import Foundation
internal import PostgresDriver
internal import TrunklineCore
internal import TrunklineEngine

struct RefusalsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "refusals",
        abstract: "Input that never became a notice, and why.",
        subcommands: [List.self, Show.self, Replay.self],
        defaultSubcommand: List.self
    )

    fileprivate struct Document: Encodable {
        let id: Int64
        let firstAt: String
        let lastAt: String
        let times: Int32
        let via: String
        let kind: String
        let field: String?
        let reason: String
        let line: String?
        let key: String?
        let rawLength: Int64
        let replayedAt: String?
        let replayedJob: String?

        init(_ refusal: RefusalRecord) {
            id = refusal.id
            firstAt = refusal.firstAt.rfc3339
            lastAt = refusal.lastAt.rfc3339
            times = refusal.times
            via = refusal.via
            kind = refusal.kind
            field = refusal.field
            reason = refusal.reason
            line = refusal.line
            key = refusal.key
            rawLength = refusal.rawLength
            replayedAt = refusal.replayedAt?.rfc3339
            replayedJob = refusal.replayedJob?.description
        }
    }

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

        @Option(help: ArgumentHelp("Only what came this way: amqp, cli, http.", valueName: "way"))
        var via: String?

        @Option(help: "At most so many.")
        var limit = 100

        @Flag(help: "Print one JSON document.")
        var json = false

        func validate() throws {
            guard (1...100_000).contains(limit) else { throw ValidationError("--limit is 1 to 100000.") }
            if let kind, Refusal.Kind(rawValue: kind) == nil { throw ValidationError("There is no kind '\(kind)'.") }
        }

        func run() async throws {
            try await options.run { settings in
                let url = try settings.databaseURL()
                let refusals = try await PostgresSession.withSession(url: url, applicationName: "trunkline refusals") {
                    session in
                    try await Migrations.requireCurrent(session)
                    return try await session.refusals(kind: kind, line: line, via: via, limit: limit)
                }
                if json {
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
                            String(refusal.id), Output.time(microseconds: refusal.lastAt.microseconds),
                            String(refusal.times),
                            refusal.via, refusal.kind, refusal.field ?? "-", refusal.line ?? "-", refusal.key ?? "-",
                            refusal.reason,
                        ]
                    }
                )
                if refusals.count == limit { Output.note("there may be more: --limit") }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "One refusal.")

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The refusal's number.")
        var id: Int64

        @Flag(help: "Write the original bytes, as far as they were kept, and nothing else. Customers' data.")
        var raw = false

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let url = try settings.databaseURL()
                let (refusal, bytes) = try await PostgresSession.withSession(
                    url: url,
                    applicationName: "trunkline refusals"
                ) { session in
                    try await Migrations.requireCurrent(session)
                    return (try await session.refusal(id), raw ? try await session.refusalBytes(id) : nil)
                }
                guard let refusal else { throw CommandError(.failed, "there is no refusal \(id)") }
                if raw {
                    let bytes = bytes ?? []
                    if isatty(STDOUT_FILENO) == 1 {
                        // On a screen they are shown; only a file or a pipe gets them as they are.
                        Output.text(String(decoding: bytes, as: UTF8.self))
                    } else {
                        FileHandle.standardOutput.write(Data(bytes))
                    }
                    return
                }
                if json {
                    try Output.json(Document(refusal))
                    return
                }
                Output.facts([
                    ("refusal", String(refusal.id)), ("reason", refusal.reason), ("kind", refusal.kind),
                    ("field", refusal.field ?? "-"),
                    ("line", refusal.line ?? "-"), ("key", refusal.key ?? "-"), ("via", refusal.via),
                    ("first", Output.time(microseconds: refusal.firstAt.microseconds)),
                    ("last", Output.time(microseconds: refusal.lastAt.microseconds)), ("times", String(refusal.times)),
                    ("original", "\(refusal.rawLength) bytes; --raw writes them"),
                    (
                        "replayed",
                        refusal.replayedAt.map { at in
                            Output.time(microseconds: at.microseconds)
                                + (refusal.replayedJob.map { ", as job \($0)" } ?? "")
                        } ?? "-"
                    ),
                ])
            }
        }
    }
}
