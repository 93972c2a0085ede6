internal import ArgumentParser
internal import Foundation
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

    @Option(help: ArgumentHelp("Who decides; default: this user at this host.", valueName: "name"))
    var by: String?

    @Option(help: ArgumentHelp("Why; kept, and shown by 'trunkline why'.", valueName: "text"))
    var why: String?

    @Flag(help: "Print one JSON document.")
    var json = false

    private var isFilter: Bool { all || line != nil || reason != nil || before != nil }

    func validate() throws {
        guard names.isEmpty == isFilter else {
            throw ValidationError("Name notices, or say which with --line, --reason, --before or --all; not both.")
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
                choice = .filter(line: line, reason: reason, before: time)
            } else {
                choice = .named(names, workspace: try workspace.map { try WorkspaceID($0) })
            }
            let isDryRun = dryRun || isFilter && !yes
            var items: [ParkedDecision.Item] = []
            let report = try await ParkedDecision.run(
                databaseURL: settings.databaseURL(),
                action,
                choice,
                by: by ?? Operator.name,
                why: why,
                isDryRun: isDryRun
            ) { done in
                if json { items += done } else { for item in done { Output.line(Self.words(item, action)) } }
            }
            if json {
                try Output.json(Document(report, items, isDryRun: isDryRun))
            } else {
                Output.line(Self.words(report, action, isDryRun: isDryRun))
                if isDryRun, !report.isEmpty { Output.note("nothing was changed\(dryRun ? "" : "; --yes does it")") }
            }
            if report.counts["gone"] != nil || report.counts["not_parked"] != nil { throw CommandError.silent(.failed) }
            if report.isRefused, !isDryRun { throw CommandError.silent(.refused) }
        }
    }

    // MARK: Words

    private static func words(_ item: ParkedDecision.Item, _ action: ParkedAction) -> String {
        guard item.verdict == "done" else { return "job \(item.job): \(refusal(item.verdict, item.state))" }
        switch action {
        case .sent: return "job \(item.job): ended as sent"
        case .notSent:
            return
                "job \(item.job): surely not sent, still parked; 'trunkline parked replay \(item.job)' sends it, 'discard' ends it"
        case .discard: return "job \(item.job): ended as discarded"
        case .replay:
            var text = "job \(item.job): goes again"
            if item.behind > 0 {
                text += ", behind \(item.behind) \(item.behind == 1 ? "notice" : "notices") of the same person"
            }
            switch item.overtakenBy {
            case nil: text += "; what overtook it was not looked for, because much has ended since"
            case let others? where !others.isEmpty:
                let shown = others.prefix(10).map(\.description).joined(separator: ", ")
                text +=
                    "; accepted after it and sent before it: \(shown)\(others.count > 10 ? " and \(others.count - 10) more" : "")"
            default: break
            }
            return text
        }
    }

    private static func refusal(_ verdict: String, _ state: String?) -> String {
        switch verdict {
        case "in_doubt":
            "it may have been sent: look whether it was, and say so with 'trunkline parked resolve --as sent|not-sent' first"
        case "not_in_doubt": "it was surely not sent, there is nothing to resolve: replay it or discard it"
        case "too_late": "its sendBefore has passed, it can never be sent: discard it"
        case "replaced": "a newer fact replaced it, it can never be sent: discard it"
        case "cancelled": "a cancel had come for it: it ended as cancelled instead"
        case "not_parked": "it is not parked, it is \(state ?? "unfinished")"
        case "gone": "it is not parked" + (state.map { ", it ended as \($0)" } ?? "; there is no such unfinished job")
        default: verdict
        }
    }

    private static func words(_ report: ParkedDecision.Report, _ action: ParkedAction, isDryRun: Bool) -> String {
        guard !report.isEmpty else { return "nothing of the kind is parked" }
        let verb =
            switch action {
            case .sent: "resolved as sent"
            case .notSent: "resolved as not sent"
            case .discard: "discarded"
            case .replay: "replayed"
            }
        var parts = ["\(report.done) \(isDryRun ? "would be " : "")\(verb)"]
        for (verdict, count) in report.counts.sorted(by: { $0.key < $1.key }) where verdict != "done" {
            let word =
                switch verdict {
                case "in_doubt": "may have been sent and must be resolved first"
                case "not_in_doubt": "surely not sent, nothing to resolve"
                case "too_late": "too late, their sendBefore has passed"
                case "replaced": "replaced by a newer fact"
                case "cancelled": "\(isDryRun ? "would end" : "ended") as cancelled"
                default: "not parked"
                }
            parts.append("\(count) \(word)")
        }
        return parts.joined(separator: "; ")
    }

    private struct Document: Encodable {
        struct Job: Encodable {
            let job: String
            let verdict: String
            let state: String?
            let behind: Int64
            let overtakenBy: [String]?
        }

        let dryRun: Bool
        let counts: [String: Int]
        let jobs: [Job]

        init(_ report: ParkedDecision.Report, _ items: [ParkedDecision.Item], isDryRun: Bool) {
            dryRun = isDryRun
            counts = report.counts
            jobs = items.map { item in
                Job(
                    job: item.job.description,
                    verdict: item.verdict,
                    state: item.state,
                    behind: item.behind,
                    overtakenBy: item.overtakenBy?.map(\.description)
                )
            }
        }
    }
}

/// Who runs the program: `user@host`.
enum Operator {
    static var name: String {
        var host = [CChar](repeating: 0, count: 256)
        let known = gethostname(&host, host.count - 1) == 0
        let hostName =
            known ? String(decoding: host.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) : "unknown"
        let user = getpwuid(getuid()).flatMap { $0.pointee.pw_name }.map { String(cString: $0) } ?? "\(getuid())"
        return user + "@" + hostName
    }
}

extension ParkedCommand {
    struct Resolve: AsyncParsableCommand {
        enum Answer: String, ExpressibleByArgument, CaseIterable {
            case sent
            case notSent = "not-sent"
        }

        static let configuration = CommandConfiguration(
            commandName: "resolve",
            abstract: "Say whether notices that may have been sent were sent.",
            discussion: """
                Look at the conversation in WhatsApp first. As sent: it ends as sent. As not-sent: it is in doubt no more and stays \
                parked; 'parked replay' sends it, 'parked discard' ends it. A worker that learns after all that it was sent is \
                believed.
                """
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var target: ParkedTarget
        @Option(name: .customLong("as"), help: "sent or not-sent.")
        var answer: Answer

        func run() async throws { try await target.run(answer == .sent ? .sent : .notSent, options) }
    }

    struct Discard: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "discard",
            abstract: "End parked notices as discarded. Their keys stay taken."
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var target: ParkedTarget

        func run() async throws { try await target.run(.discard, options) }
    }

    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "replay",
            abstract: "Send parked notices after all.",
            discussion: """
                Each gets all its tries again and a new place, behind what waits for the same person; the command says what was sent \
                to that person meanwhile. A notice that may have been sent is refused until it is resolved as not-sent; one \
                whose sendBefore has passed, or that a newer fact replaced, can only be discarded.
                """
        )

        @OptionGroup var options: GlobalOptions
        @OptionGroup var target: ParkedTarget

        func run() async throws { try await target.run(.replay, options) }
    }
}
