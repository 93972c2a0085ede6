internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

extension RefusalsCommand {
    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "replay",
            abstract: "Give refused messages again, as if they came now.",
            discussion: """
                For messages that were refused for a reason that is gone: a line that was missing, a schema that this version reads. \
                Each goes through the same checks as any message; the key makes sure that nothing is sent twice. Exit code 3: at \
                least one is refused still.
                """
        )

        @OptionGroup var options: GlobalOptions

        @Argument(help: ArgumentHelp("Numbers of refusals.", valueName: "id"))
        var ids: [Int64] = []

        @Option(help: ArgumentHelp("All of this kind.", valueName: "kind"))
        var kind: String?

        @Option(help: ArgumentHelp("All for this line.", valueName: "id"))
        var line: String?

        @Option(help: ArgumentHelp("All for this destination.", valueName: "id"))
        var destination: String?

        @Option(help: ArgumentHelp("All from this source.", valueName: "id"))
        var source: String?

        @Option(help: ArgumentHelp("All that came this way: amqp, cli, http.", valueName: "way"))
        var via: String?

        @Flag(help: "All that were not accepted since.")
        var all = false

        @Flag(help: "Do it. Without it a filter only says what can be read.")
        var yes = false

        @Flag(help: "Say what can be read, and accept nothing.")
        var dryRun = false

        @OptionGroup var decision: DecisionOptions

        private var isFilter: Bool {
            all || kind != nil || line != nil || destination != nil || source != nil || via != nil
        }

        func validate() throws {
            guard ids.isEmpty == isFilter else {
                throw ValidationError(
                    "Name refusals, or say which with --kind, --line, --destination, --source, --via or --all; not both."
                )
            }
            try RefusalsCommand.check(kind: kind)
        }

        func run() async throws {
            try await options.run { settings in
                let isDryRun = dryRun || isFilter && !yes
                let lane = try LaneName.chosen(line: line, destination: destination, source: source)
                var items: [RefusalReplay.Item] = []
                let accepted = try await settings.operate(as: RefusalsCommand.name) { install in
                    try await install.replayRefusals(
                        isFilter ? .filter(kind: kind, lane: lane, via: via) : .named(ids),
                        by: decision.name,
                        why: decision.why,
                        isDryRun: isDryRun,
                        carriers: .standard,
                        events: .standard
                    ) { item in
                        items.append(item)
                        if !decision.json { Output.line("refusal \(item.id): \(Self.words(item.verdict, isDryRun))") }
                    }
                }
                if decision.json {
                    try Output.json(items.map { Document($0, isDryRun) })
                } else if items.isEmpty {
                    Output.line("no refusal of the kind is open")
                } else if isDryRun {
                    Output.note("nothing was accepted\(dryRun ? "" : "; --yes does it")")
                }
                if !accepted, !isDryRun { throw CommandError.silent(.refused) }
            }
        }

        private static func words(_ verdict: RefusalReplay.Verdict, _ isDryRun: Bool) -> String {
            switch verdict {
            case .accepted where isDryRun: "can be read, and would be given again"
            case .accepted(let job?): "accepted as job \(job)"
            case .accepted(nil): "accepted"
            case .done(let job?): "was accepted before, as job \(job)"
            case .done(nil): "was accepted before"
            case .refused(let reason): "refused still: \(reason)"
            case .unknown: "there is no such refusal"
            }
        }

        private struct Document: Encodable {
            let id: Int64
            let verdict: String
            let job: String?
            let reason: String?

            init(_ item: RefusalReplay.Item, _ isDryRun: Bool) {
                id = item.id
                switch item.verdict {
                case .accepted(let job):
                    (verdict, self.job, reason) = (isDryRun ? "readable" : "accepted", job?.description, nil)
                case .done(let job): (verdict, self.job, reason) = ("accepted_before", job?.description, nil)
                case .refused(let why): (verdict, job, reason) = ("refused", nil, why)
                case .unknown: (verdict, job, reason) = ("unknown", nil, nil)
                }
            }
        }
    }
}
