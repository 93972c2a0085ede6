internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklinePhones

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

    @OptionGroup var timeOptions: TimeOptions

    @Option(
        help: ArgumentHelp(
            "Notices of one line with the same key go out in order; default: the recipient.",
            valueName: "key"
        )
    )
    var orderingKey: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard (body == nil) != (bodyFile == nil) else { throw ValidationError("Give one of --body and --body-file.") }
    }

    func run() async throws {
        try await options.run { settings in
            try await VerdictTeller(json: json).submit(.send(try job()), direct: false, settings)
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
        return try SendJob(
            line: LineID(line),
            key: IdempotencyKey(key),
            to: PhoneNumbers.e164(to, country: country),
            body: try text(),
            button: button,
            purpose: Purpose(word: purpose),
            notBefore: timeOptions.notBeforeMoment(),
            sendBefore: timeOptions.sendBeforeMoment(),
            supersedeKey: timeOptions.supersedeKey,
            factAt: timeOptions.factAtMoment(),
            orderingKey: orderingKey,
            tags: timeOptions.tags()
        )
    }

    private func text() throws -> String {
        if let body { return body }
        guard let bodyFile else { return "" }
        let bytes = try InputText.bytes(of: bodyFile, longest: SendJob.maximumMessageBytes)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw CommandError(.usage, "the text is not UTF-8")
        }
        // Editors end a file with a line break, which is not part of the text.
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }
}
