internal import ArgumentParser
internal import Foundation
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

struct SendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send",
        abstract: "Enqueue one notice. The same key again is the same notice."
    )

    @OptionGroup var options: GlobalOptions

    @Option(help: ArgumentHelp("The line to send from.", valueName: "id"))
    var line: String

    @Option(
        help: ArgumentHelp("The recipient: +972501234567, or as written locally with --country.", valueName: "number")
    )
    var to: String

    @Option(help: ArgumentHelp("The text.", valueName: "text"))
    var body: String?

    @Option(help: ArgumentHelp("File that holds the text; - is standard input.", valueName: "file"))
    var bodyFile: String?

    @Option(help: ArgumentHelp("Names the business fact, once for ever: order:acme.1042:ready.", valueName: "key"))
    var key: String

    @Option(help: "Why it is sent: \(Purpose.allCases.map(\.rawValue).joined(separator: ", ")).")
    var purpose = "order"

    @Option(help: ArgumentHelp("Two-letter country that a local number is read in.", valueName: "code"))
    var country: String?

    @Option(help: "Label of the button.")
    var buttonText: String?

    @Option(help: "Where the button leads, https.")
    var buttonURL: String?

    @Option(help: ArgumentHelp("Not sent before, RFC 3339.", valueName: "time"))
    var notBefore: String?

    @Option(help: ArgumentHelp("Worthless from then on, RFC 3339.", valueName: "time"))
    var sendBefore: String?

    @Option(help: ArgumentHelp("Names the thing of which only the newest fact counts.", valueName: "key"))
    var supersedeKey: String?

    @Option(help: ArgumentHelp("When the fact happened, RFC 3339.", valueName: "time"))
    var factAt: String?

    @Option(
        help: ArgumentHelp(
            "Notices of one line with the same key go out in order; default: the recipient.",
            valueName: "key"
        )
    )
    var orderingKey: String?

    @Option(help: ArgumentHelp("A label of your own, may be repeated.", valueName: "name=value"))
    var tag: [String] = []

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard (body == nil) != (bodyFile == nil) else { throw ValidationError("Give one of --body and --body-file.") }
    }

    func run() async throws {
        try await options.run { settings in
            let job = try job()
            try job.validate(now: WallClock.now)
            let desk = try await AcceptDesk.open(
                .rowFirst(databaseURL: settings.databaseURL(), amqpURL: settings.amqpURLIfAny(), .single),
                name: "trunkline enqueue"
            ) { Output.note("warning: " + $0) }
            let verdict: AcceptVerdict?
            do {
                verdict = try await desk.accept([job]).first
            } catch {
                await desk.close()
                throw error
            }
            await desk.close()
            guard let verdict else { throw CommandError(.failed, "there is no verdict") }
            try say(verdict, of: job)
        }
    }

    private func say(_ verdict: AcceptVerdict, of job: SendJob) throws {
        switch verdict {
        case .new(let id):
            if json {
                try Output.json(Document(verdict: "new", job: id.description))
            } else {
                Output.line("accepted as job \(id)")
            }
        case .repeat(let id, _, let finalState):
            if json {
                try Output.json(Document(verdict: "repeat", job: id.description, finalState: finalState))
            } else {
                Output.line(
                    "accepted before as job \(id)\(finalState.map { ", which ended as \($0)" } ?? ""); nothing is sent twice"
                )
            }
        default:
            let complaint = verdict.complaint(about: job)
            if json {
                try Output.json(Document(verdict: verdict.word, field: complaint?.field, reason: complaint?.reason))
                throw CommandError.silent(.refused)
            }
            throw CommandError(
                .refused,
                complaint.map { c in c.field.map { "\($0): \(c.reason)" } ?? c.reason } ?? "refused"
            )
        }
    }

    private func job() throws -> SendJob {
        var button: Button?
        switch (buttonText, buttonURL) {
        case (nil, nil): break
        case (let text?, let url?): button = try Button(text: text, url: url)
        default:
            throw Refusal(
                kind: .invalid,
                field: "button",
                reason: "half a button: give --button-text and --button-url or neither"
            )
        }
        var tags: [String: String] = [:]
        for entry in tag {
            guard let mark = entry.firstIndex(of: "="), mark != entry.startIndex else {
                throw CommandError(.usage, "--tag is name=value")
            }
            tags[String(entry[..<mark])] = String(entry[entry.index(after: mark)...])
        }
        return try SendJob(
            line: LineID(line),
            key: IdempotencyKey(key),
            to: PhoneNumbers.e164(to, country: country),
            body: try text(),
            button: button,
            purpose: Purpose(word: purpose),
            notBefore: moment(notBefore, "notBefore"),
            sendBefore: moment(sendBefore, "sendBefore"),
            supersedeKey: supersedeKey,
            factAt: moment(factAt, "factAt"),
            orderingKey: orderingKey,
            tags: tags
        )
    }

    private func text() throws -> String {
        if let body { return body }
        guard let bodyFile else { return "" }
        let handle = bodyFile == "-" ? FileHandle.standardInput : FileHandle(forReadingAtPath: bodyFile)
        guard let handle, let data = try handle.read(upToCount: SendJob.maximumMessageBytes + 1) else {
            throw CommandError(.usage, "the file \(bodyFile) cannot be read")
        }
        guard let text = String(data: data, encoding: .utf8) else {
            throw CommandError(.usage, "the text is not UTF-8")
        }
        // Editors end a file with a line break, which is not part of the text.
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }

    private func moment(_ text: String?, _ field: String) throws(Refusal) -> Timestamp? {
        guard let text else { return nil }
        guard let moment = Timestamp(rfc3339: text) else {
            throw Refusal(
                kind: .invalid,
                field: field,
                reason: "\(field) is not an RFC 3339 time with its offset, such as 2026-12-01T18:00:00Z"
            )
        }
        return moment
    }

    private struct Document: Encodable {
        var verdict: String
        var job: String?
        var finalState: String?
        var field: String?
        var reason: String?
    }
}
