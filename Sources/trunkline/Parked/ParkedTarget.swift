internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

/// What resolve, discard and replay have in common: which notices, by whom, why.
struct ParkedTarget: ParsableArguments {
    @Argument(help: ArgumentHelp("Numbers of jobs, or keys.", valueName: "id|key"))
    var names: [String] = []

    @Option(help: "The workspace whose keys are meant. Needed when several have them.")
    var workspace: String?

    @Option(help: ArgumentHelp("All parked notices of this line.", valueName: "id"))
    var line: String?

    @Option(
        help: ArgumentHelp(
            "All parked deliveries to this destination; with names: whose keys they are.",
            valueName: "id"
        )
    )
    var destination: String?

    @Option(help: ArgumentHelp("All parked events of this source.", valueName: "id"))
    var source: String?

    @Option(help: ArgumentHelp("All with this reason, as 'parked list --json' has it.", valueName: "word"))
    var reason: String?

    @Option(help: ArgumentHelp("All that were parked before this time, like 2026-12-01T18:00:00Z.", valueName: "time"))
    var before: String?

    @Flag(help: "All parked notices.")
    var all = false

    @Flag(help: "Do it. Without it a filter only counts.")
    var yes = false

    @Flag(help: "Count, and change nothing.")
    var dryRun = false

    @OptionGroup var decision: DecisionOptions

    private var isFilter: Bool {
        all || line != nil || destination != nil && names.isEmpty || source != nil || reason != nil || before != nil
    }

    func validate() throws {
        guard names.isEmpty == isFilter else {
            throw ValidationError(
                "Name notices, or say which with --line, --destination, --source, --reason, --before or --all; not both."
            )
        }
    }

    func run(_ action: ParkedAction, _ options: GlobalOptions) async throws {
        try await options.run { settings in
            let choice: ParkedChoice
            if isFilter {
                var time: Timestamp?
                if let before {
                    guard let given = Timestamp(rfc3339: before) else {
                        throw CommandError(.usage, "--before takes a time with its offset, like 2026-12-01T18:00:00Z")
                    }
                    time = given
                }
                choice = .filter(
                    lane: try LaneName.chosen(line: line, destination: destination, source: source),
                    reason: reason,
                    before: time
                )
            } else {
                choice = .named(
                    names,
                    owner: try KeyOwner.chosen(workspace: workspace, destination: destination)
                )
            }
            let isDryRun = dryRun || isFilter && !yes
            var items: [ParkedDecision.Item] = []
            let report = try await settings.operate(as: ParkedCommand.name) { install in
                try await install.decide(
                    action,
                    choice,
                    by: decision.name,
                    why: decision.why,
                    isDryRun: isDryRun
                ) { done in
                    if decision.json {
                        items += done
                    } else {
                        for item in done { Output.line(DecisionWords.item(item, action)) }
                    }
                }
            }
            if decision.json {
                try Output.json(DecisionDocument(report, items, isDryRun: isDryRun))
            } else {
                Output.line(DecisionWords.report(report, action, isDryRun: isDryRun))
                if isDryRun, !report.isEmpty { Output.note("nothing was changed\(dryRun ? "" : "; --yes does it")") }
            }
            if report.counts[.gone] != nil || report.counts[.notParked] != nil { throw CommandError.silent(.failed) }
            if report.isRefused, !isDryRun { throw CommandError.silent(.refused) }
        }
    }
}
