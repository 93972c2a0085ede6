internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

extension ParkedCommand {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "The longest parked first.")

        @OptionGroup var options: GlobalOptions

        @Option(help: ArgumentHelp("Only of this line.", valueName: "id"))
        var line: String?

        @Option(help: ArgumentHelp("Only of this destination.", valueName: "id"))
        var destination: String?

        @Option(help: ArgumentHelp("Only of this source.", valueName: "id"))
        var source: String?

        @Option(help: ArgumentHelp("Only with this reason.", valueName: "word"))
        var reason: String?

        @OptionGroup var extent: ListOptions

        func run() async throws {
            try await options.run { settings in
                let lane = try LaneName.chosen(line: line, destination: destination, source: source)
                let jobs = try await settings.operate(as: ParkedCommand.name) { install in
                    try await install.parkedJobs(lane: lane, reason: reason, limit: extent.limit)
                }
                if extent.json {
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
                            job.id.description, job.lane.description, job.key, job.recipient ?? "-",
                            Output.time(job.since),
                            String(job.attempt), job.maybeSentSince == nil ? "no" : "maybe",
                            JobStory.words(forReason: job.reason),
                        ]
                    }
                )
                extent.noteIfFull(jobs.count)
            }
        }
    }
}
