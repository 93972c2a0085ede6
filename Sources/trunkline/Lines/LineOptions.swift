internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

extension LineCommand {
    /// How fast a line sends.
    struct PaceOptions: ParsableArguments {
        @Option(help: ArgumentHelp("20/min, 1/3s or unlimited; default 1/3s.", valueName: "pace"))
        var pace: String?

        @Option(help: "Sends in the air at once, 1 to 256; default 1, or 16 when unlimited.")
        var concurrency: Int?

        @Option(
            help: ArgumentHelp(
                "Between two messages to one person; default 10s, or 0 when unlimited.",
                valueName: "span"
            )
        )
        var recipientGap: String?

        @Option(help: ArgumentHelp("Sends a day at most, or none; default none.", valueName: "number"))
        var dailyCap: String?

        @Option(
            help: ArgumentHelp("Whose midnight ends the day, like Asia/Jerusalem; default UTC.", valueName: "area/city")
        )
        var timeZone: String?

        func cap() throws(Refusal) -> DailyCap? {
            try dailyCap.map { text throws(Refusal) in try DailyCap(parsing: text) }
        }

        func change() throws(Refusal) -> PaceChange {
            PaceChange(
                interval: try pace.map { text throws(Refusal) in try Pace.interval(parsing: text) },
                concurrency: concurrency,
                recipientGap: try recipientGap.map { text throws(Refusal) in
                    try Pace.span(parsing: text, field: "recipient-gap")
                }
            )
        }
    }

    /// The one question that follows a change.
    struct CheckOptions: ParsableArguments {
        @Flag(help: "Do not ask the line's health after the change.")
        var noCheck = false

        @Option(
            help: ArgumentHelp(
                "PEM file of authorities to trust instead of the system's, for this question.",
                valueName: "file"
            )
        )
        var caFile: String?

        func validate() throws {
            if let caFile, !FileManager.default.isReadableFile(atPath: caFile) {
                throw ValidationError("--ca-file: '\(caFile)' cannot be read")
            }
        }

        /// What the line's API says now; nil when it is not to be asked.
        func ask(_ id: LineID, _ settings: Settings, _ install: Operator) async throws -> LineHealth? {
            guard !noCheck else { return nil }
            return try await install.askHealth(
                ofChanged: id,
                carriers: .standard,
                masterKey: settings.masterKey(),
                ownFiles: settings.ownFiles,
                certificateAuthorities: caFile
            )
        }
    }
}
