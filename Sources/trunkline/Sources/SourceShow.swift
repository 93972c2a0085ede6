internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension SourceCommand {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "Show all about one source.")

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The source's id.")
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        /// `12 forged, 1 unsigned; the last 2026-12-01T09:00:00Z`.
        private static func words(_ forgeries: [SourceIntake.Forgery]) -> String {
            guard let last = forgeries.map(\.lastAt).max() else { return "none" }
            return forgeries.map { "\($0.times) \($0.reason)" }.joined(separator: ", ") + "; the last \(last.rfc3339)"
        }

        func run() async throws {
            try await options.run { settings in
                let id = try SourceID(id)
                try await settings.operate(as: SourceCommand.name) { install in
                    let source = try await install.source(id)
                    let intake = try await install.intake(of: id)
                    if json {
                        try Output.json(SourceDocument(source, came: intake))
                        return
                    }
                    Output.facts(
                        [
                            ("source", id.value), ("kind", source.kind), ("workspace", source.workspace.value),
                            ("state", source.state),
                        ] + LaneWords.hold(source.record)
                            + [
                                ("line", source.line?.value ?? "none"), ("country", source.country ?? "none"),
                                ("secret", SourceCommand.secretWords(source)),
                                (
                                    "tokens",
                                    source.tokens == 2 ? "2, the old one and the new one" : String(source.tokens)
                                ),
                            ] + source.settings.sorted { $0.key < $1.key }.map { ("setting \($0.key)", $0.value) }
                            + [
                                ("last event", intake.lastEventAt?.rfc3339 ?? "none"),
                                ("unproven", Self.words(intake.forgeries)),
                            ] + LaneWords.history(source.record)
                    )
                }
            }
        }
    }
}
