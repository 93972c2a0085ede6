internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

struct ParkedCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "parked",
        abstract: "Notices that were put aside for a person.",
        subcommands: [List.self, Show.self, Resolve.self, Discard.self, Replay.self],
        defaultSubcommand: List.self
    )

    /// As servers list its connections.
    static let name = "trunkline parked"

    /// A parked job as programs read it.
    struct Document: Encodable {
        let job: String
        let line: String?
        let destination: String?
        let source: String?
        let key: String
        let to: String?
        let purpose: String?
        let reason: String
        let since: String
        let acceptedAt: String
        let attempt: Int32
        let tries: Int32
        let maybeSentSince: String?
        let evidence: String?
        var attempts: [JobStoryDocument.Attempt]?

        init(_ job: ParkedJob, evidence: Bool) {
            self.job = job.id.description
            line = job.lane.line
            destination = job.lane.destination
            source = job.lane.source
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
}
