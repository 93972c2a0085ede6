internal import ArgumentParser
internal import PostgresDriver
internal import TrunklineCore
internal import TrunklineEngine

struct ParkedCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "parked",
        abstract: "Notices that were put aside for a person.",
        subcommands: [List.self, Show.self, Resolve.self, Discard.self, Replay.self],
        defaultSubcommand: List.self
    )

    fileprivate struct Document: Encodable {
        let job: String
        let line: String
        let key: String
        let to: String
        let purpose: String
        let reason: String
        let since: String
        let acceptedAt: String
        let attempt: Int32
        let tries: Int32
        let maybeSentSince: String?
        let evidence: String?
        var attempts: [AttemptTable.Document]?

        init(_ job: ParkedJob, evidence: Bool) {
            self.job = job.id.description
            line = job.line
            key = job.key
            to = job.recipient
            purpose = job.purpose
            reason = job.reason
            since = job.since.rfc3339
            acceptedAt = job.acceptedAt.rfc3339
            attempt = job.attempt
            tries = job.tries
            maybeSentSince = job.maybeSentSince?.rfc3339
            self.evidence = evidence ? job.evidence : nil
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "The longest parked first.")

        @OptionGroup var options: GlobalOptions

        @Option(help: ArgumentHelp("Only of this line.", valueName: "id"))
        var line: String?

        @Option(help: ArgumentHelp("Only with this reason.", valueName: "word"))
        var reason: String?

        @Option(help: "At most so many.")
        var limit = 100

        @Flag(help: "Print one JSON document.")
        var json = false

        func validate() throws {
            guard (1...100_000).contains(limit) else { throw ValidationError("--limit is 1 to 100000.") }
        }

        func run() async throws {
            try await options.run { settings in
                let url = try settings.databaseURL()
                let jobs = try await PostgresSession.withSession(url: url, applicationName: "trunkline parked") {
                    session in
                    try await Migrations.requireCurrent(session)
                    return try await session.parkedJobs(line: line, reason: reason, limit: limit)
                }
                if json {
                    try Output.json(jobs.map { Document($0, evidence: false) })
                    return
                }
                guard !jobs.isEmpty else {
                    Output.line("nothing is parked")
                    return
                }
                Output.table(
                    ["JOB", "LINE", "KEY", "TO", "SINCE", "ATTEMPTS", "SENT", "REASON"],
                    jobs.map { job in
                        [
                            job.id.description, job.line, job.key, job.recipient,
                            Output.time(microseconds: job.since.microseconds),
                            String(job.attempt), job.maybeSentSince == nil ? "no" : "maybe",
                            JobStory.words(forReason: job.reason),
                        ]
                    }
                )
                if jobs.count == limit { Output.note("there may be more: --limit") }
            }
        }
    }

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
                let url = try settings.databaseURL()
                let (job, attempts) = try await PostgresSession.withSession(
                    url: url,
                    applicationName: "trunkline parked"
                ) { session in
                    try await Migrations.requireCurrent(session)
                    return (try await session.parkedJob(id), try await session.attemptStories(id))
                }
                guard let job else { throw CommandError(.failed, "job \(id) is not parked; see 'trunkline why \(id)'") }
                if json {
                    var document = Document(job, evidence: true)
                    document.attempts = attempts.map(AttemptTable.Document.init)
                    try Output.json(document)
                    return
                }
                Output.facts([
                    ("job", job.id.description), ("line", job.line), ("key", job.key), ("to", job.recipient),
                    ("purpose", job.purpose), ("parked", Output.time(microseconds: job.since.microseconds)),
                    ("because", JobStory.words(forReason: job.reason)),
                    (
                        "sent",
                        job.maybeSentSince.map { "maybe, since " + Output.time(microseconds: $0.microseconds) }
                            ?? "surely not"
                    ),
                    ("accepted", Output.time(microseconds: job.acceptedAt.microseconds)),
                    ("attempts", "\(job.attempt), of which \(job.tries) count as tries"),
                    ("last answer", job.evidence ?? "-"),
                ])
                AttemptTable.print(attempts)
            }
        }
    }
}
