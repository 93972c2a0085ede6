internal import ArgumentParser
internal import TrunklineEngine

struct RetainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retain",
        abstract: "Drop what is older than its age: ended notices, attempts, refused input, bodies of received events.",
        discussion: """
            Ages are days, like 90d, or never. Those that are not given come from the configuration (retain: {finished: 90d} in \
            trunkline.yaml, or TRUNKLINE_RETAIN_FINISHED and so on); with those, one of the workers does the same once a day.

            Keys, event keys and counts stay for ever: a dropped notice is never sent again, and 'trunkline check' adds up. \
            Unfinished and parked notices are never dropped. Safe while workers run: a day that is in use is left for the next run, \
            with exit code 1.
            """
    )

    @OptionGroup var options: GlobalOptions

    @Option(help: ArgumentHelp("Notices that ended so long ago.", valueName: "age"))
    var finished: String?

    @Option(help: ArgumentHelp("Attempts that began so long ago.", valueName: "age"))
    var attempts: String?

    @Option(help: ArgumentHelp("Refused input that came last so long ago.", valueName: "age"))
    var refusals: String?

    @Option(help: ArgumentHelp("Bodies and headers of events received so long ago.", valueName: "age"))
    var inboxBodies: String?

    @Flag(help: "Say what would be dropped, and change nothing.")
    var dryRun = false

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        let ages: [Settings.Key: String?] = [
            .retainFinished: finished, .retainAttempts: attempts, .retainRefusals: refusals,
            .retainInboxBodies: inboxBodies,
        ]
        try await options.run(overrides: ages) { settings in
            let ages = settings.retention
            guard !ages.isEmpty else {
                throw CommandError(.usage, "no age is given: for instance --finished 90d")
            }
            let report = try await settings.operate(as: "trunkline retain") { install in
                try await install.retain(ages, isDryRun: dryRun) { day in
                    if !json {
                        Output.line(
                            "\(day.table) of \(day.day): \(day.rows) rows\(dryRun ? " would be dropped" : " dropped")"
                        )
                    }
                }
            }
            if json {
                try Output.json(Document(report))
            } else {
                Output.line((dryRun ? "would be dropped: " : "dropped: ") + report.sentence)
            }
            if !report.busy.isEmpty { throw CommandError.silent(.failed) }
        }
    }

    private struct Document: Encodable {
        struct Day: Encodable {
            let table: String
            let day: String
            let rows: Int64
        }

        let dryRun: Bool
        let days: [Day]
        let fromDefaultPartition: [String: Int64]
        let refusals: Int64
        let messagesNeverRead: Int64
        let inboxBodies: Int64
        /// Left for the next run.
        let inUse: [Day]

        init(_ report: Retention.Report) {
            func day(_ day: Retention.Report.Day) -> Day { Day(table: day.table, day: day.day, rows: day.rows) }
            dryRun = report.isDryRun
            days = report.days.map(day)
            fromDefaultPartition = report.strays
            refusals = report.refusals
            messagesNeverRead = report.suspects
            inboxBodies = report.inboxBodies
            inUse = report.busy.map(day)
        }
    }
}
