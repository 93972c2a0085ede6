internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

extension DestinationCommand {
    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "test",
            abstract: "Deliver one test event to a destination, at once and beside the queue, and say what came of it.",
            discussion: """
                Its type is \(DestinationTrial.eventType). It is signed like every other event, also while the destination is \
                held. Exit 0 when the destination took it, else 1.
                """
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: "The destination's id.")
        var id: String

        @Option(help: ArgumentHelp("PEM file of authorities to trust instead of the system's.", valueName: "file"))
        var caFile: String?

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                let id = try DestinationID(id)
                let masterKey = try settings.masterKey()
                let trial = try await settings.operate(as: DestinationCommand.name) { install in
                    try await install.tryDestination(
                        id,
                        carriers: .standard,
                        masterKey: masterKey,
                        ownFiles: settings.ownFiles,
                        certificateAuthorities: caFile,
                        at: WallClock.now
                    )
                }
                if json {
                    try Output.json(TrialDocument(trial, destination: id))
                } else {
                    let advice = trial.advice.map { ". What to do: \($0)" } ?? ""
                    Output.line("destination \(id) \(trial.sentence)\(advice)")
                }
                if !trial.isTaken { throw CommandError.silent(.failed) }
            }
        }
    }
}

private struct TrialDocument: Encodable {
    let destination: String
    let taken: Bool
    let status: Int?
    let reason: String?
    let advice: String?

    init(_ trial: DestinationTrial, destination: DestinationID) {
        self.destination = destination.value
        taken = trial.isTaken
        status = trial.status
        reason = trial.reason?.rawValue
        advice = trial.advice
    }
}
