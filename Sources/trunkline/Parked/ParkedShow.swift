internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension ParkedCommand {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
            abstract: "One parked notice with its attempts and what was kept of the last answer."
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: ArgumentHelp("The job's number.", valueName: "id"))
        var id: String

        @Flag(help: "Print one JSON document.")
        var json = false

        func run() async throws {
            try await options.run { settings in
                guard let id = JobID(text: id) else { throw CommandError(.usage, "a job's id is a number") }
                let (job, attempts) = try await settings.operate(as: ParkedCommand.name) { install in
                    (try await install.parkedJob(id), try await install.attempts(of: id))
                }
                guard let job else { throw CommandError(.failed, "job \(id) is not parked; see 'trunkline why \(id)'") }
                if json {
                    var document = Document(job, evidence: true)
                    document.attempts = attempts.map(JobStoryDocument.Attempt.init)
                    try Output.json(document)
                    return
                }
                Output.facts([
                    ("job", job.id.description), (job.lane.name?.noun ?? "lane", job.lane.name?.id ?? job.lane.stored),
                    ("key", job.key),
                    ("to", job.recipient ?? "-"), ("purpose", job.purpose ?? "-"), ("parked", Output.time(job.since)),
                    ("because", JobStory.words(forReason: job.reason)),
                    (
                        "sent",
                        job.maybeSentSince.map { "maybe, since " + Output.time($0) }
                            ?? "surely not"
                    ),
                    ("accepted", Output.time(job.acceptedAt)),
                    ("attempts", "\(job.attempt), of which \(job.tries) count as tries"),
                    ("last answer", job.evidence ?? "-"),
                ])
                AttemptTable.print(attempts)
            }
        }
    }
}
