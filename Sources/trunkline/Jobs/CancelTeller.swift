internal import TrunklineCore
internal import TrunklineEngine

/// Says the verdicts as they come: with `--json` one document, whose jobs stand one per line.
final class CancelTeller {
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
                Output.line("\(item.key) (job \(item.job) on \(item.lane)): \(words(item))")
            }
            hasBegun = true
        }
    }

    func end(_ pattern: KeyPattern, _ report: Cancellation.Report, _ waiting: WaitingMessages) {
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
        case .count(0): Output.line("nothing waits in the broker")
        case .count(let count):
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
        json.member("line", item.lane.line)
        json.member("destination", item.lane.destination)
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
        _ waiting: WaitingMessages,
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
        json.member("workspace", report.owner?.workspace?.value)
        json.member("destination", report.owner?.destination?.value)
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
        case .count(let count): number(&json, "waitingInBroker", count)
        case .unknown(let reason): json.member("brokerUnknown", reason)
        }
        json.endObject()
        return String(decoding: json.bytes, as: UTF8.self)
    }
}
