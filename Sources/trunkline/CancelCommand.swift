internal import ArgumentParser
internal import PostgresDriver
internal import TrunklineCore
internal import TrunklineEngine

struct CancelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract: "Cancel notices by key, or by a pattern of keys: 'order:acme.1042:*'.",
        discussion: """
            Cancels what has not begun, with a verdict for every notice. An attempt that has begun cannot be called back: its \
            notice ends as cancelled only if it comes back unsent. Messages that only the broker has are not reached; the \
            command says how many there are.

            Exit code 0: nothing that was meant can go out any more. 3: for at least one notice it was too late (an attempt runs, \
            or it may have been sent; for a key without *, also: it was sent). 1: no notice has the key.
            """
    )

    @OptionGroup var options: GlobalOptions

    @Argument(help: ArgumentHelp("A key, with * for any run of characters. Put it in quotes.", valueName: "pattern"))
    var pattern: String

    @Option(help: "The workspace whose notices are meant. Needed when several have such keys.")
    var workspace: String?

    @Flag(help: "Say what would become of each notice, and change nothing.")
    var dryRun = false

    @Flag(help: "Needed for the pattern *, which means every notice of a workspace.")
    var yes = false

    @Flag(help: "Print one JSON document, a line per notice in it.")
    var json = false

    func run() async throws {
        try await options.run { settings in
            let pattern = try KeyPattern(pattern)
            guard !pattern.isEverything || yes || dryRun else {
                throw CommandError(
                    .usage,
                    "the pattern \(pattern) means every notice that is waiting; if that is what you want, add --yes"
                )
            }
            let workspace = try workspace.map { try WorkspaceID($0) }
            let url = try settings.databaseURL()
            let say = Teller(json: json, isDryRun: dryRun)
            let report: Cancellation.Report
            do {
                report = try await Cancellation.run(
                    databaseURL: url,
                    pattern,
                    workspace: workspace,
                    isDryRun: dryRun,
                    tell: say.items
                )
            } catch {
                if say.hasBegun {
                    Output.note("stopped in the middle: what was said is done; the same command again goes on safely")
                }
                throw error
            }
            let waiting = await Self.waiting(settings, url)
            try say.end(pattern, report, waiting)
            if report.tooLate > 0 || pattern.key != nil && report.ended["sent"] != nil {
                throw CommandError.silent(.refused)
            }
            if pattern.key != nil, report.isEmpty {
                throw json ? CommandError.silent(.failed) : CommandError(.failed, "no notice has the key \(pattern)")
            }
        }
    }

    // MARK: What was not reached

    fileprivate enum Waiting {
        case messages(Int)
        /// Why nobody can say.
        case unknown(String)
    }

    private static func waiting(_ settings: Settings, _ databaseURL: String) async -> Waiting {
        guard settings.hasBroker else { return .unknown("no broker is configured here") }
        do {
            let amqpURL = try settings.amqpURL()
            let shards = try await PostgresSession.withSession(url: databaseURL, applicationName: "trunkline cancel") {
                try await Install.shards($0)
            }
            let messages = try await BrokerSession.withSession(url: amqpURL, connectionName: "trunkline cancel") {
                try await $0.waitingMessages(shards: shards)
            }
            return .messages(messages)
        } catch {
            return .unknown(CommandError(error).message)
        }
    }

    // MARK: Words

    /// Says the verdicts as they come: with `--json` one document, whose jobs stand one per line.
    private final class Teller {
        private let json: Bool
        private let isDryRun: Bool
        private(set) var hasBegun = false

        init(json: Bool, isDryRun: Bool) {
            self.json = json
            self.isDryRun = isDryRun
        }

        func items(_ items: [Cancellation.Item]) {
            for item in items {
                if json {
                    Output.json(document: (hasBegun ? "," : "{\"jobs\":[\n") + Self.document(item))
                } else {
                    Output.line("\(item.key) (job \(item.job) on \(item.line)): \(words(item))")
                }
                hasBegun = true
            }
        }

        func end(_ pattern: KeyPattern, _ report: Cancellation.Report, _ waiting: Waiting) throws {
            if json {
                if !hasBegun { Output.json(document: "{\"jobs\":[") }
                Output.json(
                    document: "],\"summary\":" + Self.summary(pattern, report, waiting, isDryRun: isDryRun) + "}"
                )
                return
            }
            var parts = ["\(report.cancelled) \(isDryRun ? "would be cancelled" : "cancelled")"]
            if report.inTheAir > 0 { parts.append("\(report.inTheAir) too late, an attempt runs") }
            if report.mayHaveBeenSent > 0 { parts.append("\(report.mayHaveBeenSent) too late, may have been sent") }
            for (state, count) in report.ended.sorted(by: { $0.key < $1.key }) {
                parts.append("\(count) had ended before as \(state)")
            }
            Output.line(
                report.isEmpty && pattern.key == nil
                    ? "no notice in the database has such a key" : parts.joined(separator: "; ")
            )
            if !report.lookedAtAllEnded {
                Output.line(
                    "not every notice that has ended was looked at: there are many; 'trunkline why KEY' knows each"
                )
            }
            switch waiting {
            case .messages(0): Output.line("nothing waits in the broker")
            case .messages(let count):
                Output.line(
                    "\(count) \(count == 1 ? "message waits" : "messages wait") in the broker and cannot be reached; when workers "
                        + "have taken them, the same command again cancels what belongs to the pattern"
                )
            case .unknown(let reason):
                Output.note("warning: nobody can say what still waits in the broker (\(reason))")
            }
        }

        private func words(_ item: Cancellation.Item) -> String {
            switch item.verdict {
            case .cancelled: isDryRun ? "would be cancelled" : "cancelled"
            case .inTheAir(let attempt):
                "too late: attempt \(attempt) runs; "
                    + (isDryRun ? "it would end as cancelled" : "it ends as cancelled") + " if that comes back unsent"
            case .mayHaveBeenSent: "too late: it may have been sent"
            case .ended("sent"): "too late: it was sent"
            case .ended(let state): "had ended before as \(state)"
            }
        }

        private static func document(_ item: Cancellation.Item) -> String {
            var json = JSONWriter(capacity: 200)
            json.beginObject()
            json.member("job", item.job.description)
            json.member("line", item.line)
            json.member("key", item.key)
            switch item.verdict {
            case .cancelled: json.member("verdict", "cancelled")
            case .inTheAir(let attempt):
                json.member("verdict", "too_late")
                json.member("reason", "in_the_air")
                json.name("attempt")
                json.integer(Int(attempt))
            case .mayHaveBeenSent:
                json.member("verdict", "too_late")
                json.member("reason", "may_have_been_sent")
            case .ended(let state):
                json.member("verdict", "ended")
                json.member("state", state)
            }
            json.endObject()
            return String(decoding: json.bytes, as: UTF8.self)
        }

        private static func summary(
            _ pattern: KeyPattern,
            _ report: Cancellation.Report,
            _ waiting: Waiting,
            isDryRun: Bool
        ) -> String {
            func number(_ json: inout JSONWriter, _ name: String, _ value: Int) {
                json.name(name)
                json.integer(value)
            }
            func flag(_ json: inout JSONWriter, _ name: String, _ value: Bool) {
                json.name(name)
                json.bool(value)
            }
            var json = JSONWriter(capacity: 400)
            json.beginObject()
            json.member("pattern", pattern.text)
            json.member("workspace", report.workspace)
            flag(&json, "dryRun", isDryRun)
            number(&json, "cancelled", report.cancelled)
            number(&json, "inTheAir", report.inTheAir)
            number(&json, "mayHaveBeenSent", report.mayHaveBeenSent)
            json.name("endedBefore")
            json.beginObject()
            for (state, count) in report.ended.sorted(by: { $0.key < $1.key }) { number(&json, state, count) }
            json.endObject()
            flag(&json, "lookedAtAllEnded", report.lookedAtAllEnded)
            switch waiting {
            case .messages(let count): number(&json, "waitingInBroker", count)
            case .unknown(let reason): json.member("brokerUnknown", reason)
            }
            json.endObject()
            return String(decoding: json.bytes, as: UTF8.self)
        }
    }
}
