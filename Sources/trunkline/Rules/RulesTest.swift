internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineIntegrations
internal import TrunklinePlanning

struct RulesTest: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Show what an event would send, without sending it. Needs no server.",
        discussion: """
            The payload is read as the source would send it (one event, where a source sends several in one body); its \
            signature is not looked at. What Trunkline would know \
            of the customer or of earlier notices is not known here: an event that names no person shows so.
            """
    )

    @Option(help: ArgumentHelp("The source whose rules are meant.", valueName: "id"))
    var source: String

    @Option(help: ArgumentHelp("File with the body of the request; - is standard input.", valueName: "file"))
    var payload: String

    @Option(
        help: ArgumentHelp("File with the request's headers, 'Name: value' on a line each.", valueName: "file")
    )
    var headers: String?

    @Option(help: ArgumentHelp("As if it were this time, RFC 3339; default: now.", valueName: "time"))
    var at: String?

    @OptionGroup var options: RuleFileOptions

    @Flag(help: "Show phone numbers whole.")
    var reveal = false

    @Flag(help: "Print one JSON document.")
    var json = false

    /// Of a received event.
    private static let longestPayload = 1 << 20

    func run() async throws {
        do {
            try test()
        } catch {
            throw CommandError(error)
        }
    }

    private func test() throws {
        let id = try SourceID(source)
        let book = try options.book()
        guard let rules = book[source: id], let reader = SourceRegistry.standard[rules.kind.value] else {
            let known = book.sources.map(\.id.value).joined(separator: ", ")
            throw CommandError(
                .usage,
                "\(options.file) has no source \(id); it has \(known.isEmpty ? "none" : known)"
            )
        }
        let now = try TimeOptions.moment(at, "at") ?? WallClock.now
        let body = try InputText.bytes(of: payload, longest: Self.longestPayload)
        guard body.count <= Self.longestPayload else {
            throw CommandError(.refused, "the payload has more than \(Self.longestPayload) bytes")
        }
        let event = ReceivedEvent(headers: try readHeaders(), body: body, receivedAt: now)
        let reading = try reader.read(event, rules.settings)
        let plan = Planner(rules).plan(reading, receivedAt: now, now: now)
        if json { printJSON(plan, reader.eventKey(of: event), now) } else { printText(plan, reading, now) }
        if !plan.failures.isEmpty || !plan.refused.isEmpty { throw CommandError.silent(.refused) }
    }

    private func readHeaders() throws -> [ReceivedEvent.Header] {
        guard let headers else { return [] }
        let bytes = try InputText.bytes(of: headers, longest: 64 << 10)
        var read: [ReceivedEvent.Header] = []
        for (index, line) in String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).enumerated() {
            guard let colon = line.firstIndex(of: ":"), colon != line.startIndex else {
                throw CommandError(.usage, "the headers' line \(index + 1) is not 'Name: value'")
            }
            let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            read.append((name: String(line[..<colon]), value: value))
        }
        return read
    }

    // MARK: Printing

    private func printJSON(_ plan: Plan, _ key: EventKey, _ now: Timestamp) {
        var json = JSONWriter(capacity: 2_048)
        json.beginObject()
        json.member("source", source)
        json.member("event", key.value)
        json.member("at", now.rfc3339)
        json.name("signatureVerified")
        json.bool(false)
        plan.write(&json, revealing: reveal)
        json.endObject()
        Output.json(document: String(decoding: json.bytes, as: UTF8.self))
    }

    private func printText(_ plan: Plan, _ reading: SourceReading, _ now: Timestamp) {
        Output.note("The signature is not verified, and nothing is sent.")
        if case .facts(let facts) = reading {
            Output.line("The event says: \(facts.map(\.description).joined(separator: ", ")).")
        }
        if plan.notices.isEmpty { Output.line("It would send nothing.") }
        for notice in plan.notices { printNotice(notice) }
        for held in plan.held {
            let until = held.until.map { ", worthless from \(Output.time($0)) on" } ?? ""
            Output.line()
            Output.line("\(held.rule) holds \(held.key): \(held.reason)\(until)")
        }
        for cancellation in plan.cancellations {
            Output.line()
            Output.line(
                "It would cancel what is not sent yet of \(cancellation.subject), because \(cancellation.reason)"
            )
        }
        for refusal in plan.refused {
            Output.line()
            Output.line(
                "\(refusal.rule ?? source): refused by policy (\(refusal.ask.rawValue)): \(refusal.ask.sentence)"
            )
        }
        for failure in plan.failures {
            Output.line()
            Output.line("\(failure.rule) fails: \(failure.refusal.reason)")
        }
        guard !plan.silences.isEmpty else { return }
        Output.line()
        Output.line("Rules that did not fire:")
        for silence in plan.silences { Output.line("  \(silence.rule): \(silence.reason)") }
    }

    private func printNotice(_ notice: Plan.Notice) {
        let job = notice.job
        Output.line()
        var facts = [
            ("rule", notice.rule), ("line", job.line.value), ("key", job.key.value),
            ("to", reveal ? job.to.value : job.to.masked), ("purpose", job.purpose.rawValue),
            ("language", notice.language),
        ]
        if let moment = job.notBefore {
            let quiet = notice.quiet.map { " (quiet hours \($0.hours) in \($0.timeZone.identifier))" } ?? ""
            facts.append(("not before", Output.time(moment) + quiet))
        }
        facts.append(("worthless from", Output.time(job.sendBefore)))
        if let key = job.supersedeKey { facts.append(("replaces older of", key)) }
        if let button = job.button { facts.append(("button", "\(button.text) -> \(button.url)")) }
        Output.facts(facts)
        for line in job.body.split(separator: "\n", omittingEmptySubsequences: false) { Output.line("  | \(line)") }
    }
}
