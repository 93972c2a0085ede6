internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

struct RescheduleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reschedule",
        abstract: "Give a notice that has not begun another time.",
        discussion:
            "Exit code 3 when it is too late, or when the time is not before the notice's sendBefore; nothing changes then."
    )

    @OptionGroup var options: GlobalOptions

    @Argument(help: "The notice's key.")
    var key: String

    @Option(
        help: ArgumentHelp(
            "From when on it may be sent: a time like 2026-12-01T18:00:00Z, or now. A time that has passed is now.",
            valueName: "time"
        )
    )
    var notBefore: String

    @Option(help: "The workspace whose notice is meant. Needed when several have the key.")
    var workspace: String?

    @Option(help: "The destination whose delivery is meant, by its own keys.")
    var destination: String?

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        try await options.run { settings in
            let key = try IdempotencyKey(key)
            let owner = try KeyOwner.chosen(workspace: workspace, destination: destination)
            var time: Timestamp?
            if notBefore != "now" {
                guard let given = Timestamp(rfc3339: notBefore) else {
                    throw CommandError(
                        .usage,
                        "--not-before takes a time with its offset, like 2026-12-01T18:00:00Z, or now"
                    )
                }
                try SendJob.checkYear(ofNotBefore: given)
                time = given
            }
            let job = try await settings.operate(as: "trunkline reschedule") { install in
                try await install.reschedule(key, of: owner, to: time)
            }
            if json {
                try Output.json(
                    Document(
                        job: job.job.description,
                        key: job.key.value,
                        notBefore: job.notBefore.rfc3339,
                        scheduled: job.isScheduled
                    )
                )
                return
            }
            Output.line(
                job.isScheduled
                    ? "job \(job.job) is scheduled for \(job.notBefore)" : "job \(job.job) may be sent from now on"
            )
        }
    }

    private struct Document: Encodable {
        let job: String
        let key: String
        let notBefore: String
        let scheduled: Bool
    }
}
