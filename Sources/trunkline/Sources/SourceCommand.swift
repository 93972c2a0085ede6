internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine
internal import TrunklineIntegrations

struct SourceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "source",
        abstract: "Clients' systems that send events: add, look, change, hold, resume, rotate, replay, remove.",
        subcommands: [
            Add.self, List.self, Show.self, Set.self, Hold.self, Resume.self, Rotate.self, Replay.self, Remove.self,
        ]
    )

    /// As servers list its connections.
    static let name = "trunkline source"

    /// - Parameters:
    ///   - intake: the path that was made, if one was.
    ///   - address: where gateways are reached, for people; nil when nobody says.
    static func say(
        _ source: SourceRecord,
        json: Bool,
        intake: String? = nil,
        at address: String? = nil,
        _ done: String
    ) throws {
        if json { return try Output.json(SourceDocument(source, intake: intake)) }
        Output.line(done)
        if let intake {
            Output.line("its sender posts to \(address ?? "")\(intake)")
            Output.note("This path is a secret, is stored nowhere, and is not shown again.")
        }
    }

    /// By the word of `--kind`.
    static func kind(_ kind: String) throws(CommandError) -> any Source {
        if let source = SourceRegistry.standard[kind] { return source }
        throw CommandError(
            .usage,
            "there is no kind '\(kind)' of source here: \(SourceRegistry.standard.all.map(\.kind.value).joined(separator: ", "))"
        )
    }

    /// `shopify, country IL, line acme-il`.
    static func words(_ source: SourceRecord) -> String {
        ([source.kind] + (source.country.map { ["country \($0)"] } ?? []) + (source.line.map { ["line \($0)"] } ?? []))
            .joined(separator: ", ")
    }
}

/// A source as programs read it. No token and no secret is among it.
struct SourceDocument: Encodable {
    private enum Member: String, CodingKey {
        case kind, settings, country, line, tokens, intakePath, secretHint, secretReference, lastEventAt, unproven
    }

    private let source: SourceRecord
    /// Only when it was just made.
    private let intake: String?
    /// Only where it was asked for.
    private let came: SourceIntake?

    init(_ source: SourceRecord, intake: String? = nil, came: SourceIntake? = nil) {
        self.came = came
        self.source = source
        self.intake = intake
    }

    func encode(to encoder: any Encoder) throws {
        try LaneDocument(source.record).encode(to: encoder)
        var members = encoder.container(keyedBy: Member.self)
        try members.encode(source.kind, forKey: .kind)
        try members.encode(source.settings, forKey: .settings)
        try members.encodeIfPresent(source.country, forKey: .country)
        try members.encodeIfPresent(source.line?.value, forKey: .line)
        try members.encode(source.tokens, forKey: .tokens)
        try members.encodeIfPresent(intake, forKey: .intakePath)
        try members.encode(source.secretHint, forKey: .secretHint)
        try members.encodeIfPresent(source.record.secretReference, forKey: .secretReference)
        guard let came else { return }
        try members.encodeIfPresent(came.lastEventAt?.rfc3339, forKey: .lastEventAt)
        let unproven = Dictionary(uniqueKeysWithValues: came.forgeries.map { ($0.reason, $0.times) })
        try members.encode(unproven, forKey: .unproven)
    }
}
