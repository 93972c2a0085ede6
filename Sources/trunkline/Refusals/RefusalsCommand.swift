internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

struct RefusalsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "refusals",
        abstract: "Input that never became a notice, and why.",
        subcommands: [List.self, Show.self, Replay.self],
        defaultSubcommand: List.self
    )

    /// As servers list its connections.
    static let name = "trunkline refusals"

    static func check(kind: String?) throws {
        if let kind, Refusal.Kind(rawValue: kind) == nil { throw ValidationError("There is no kind '\(kind)'.") }
    }

    /// A refusal as programs read it.
    struct Document: Encodable {
        let id: Int64
        let firstAt: String
        let lastAt: String
        let times: Int32
        let via: String
        let kind: String
        let field: String?
        let reason: String
        let line: String?
        let destination: String?
        let source: String?
        let key: String?
        let rawLength: Int64
        let replayedAt: String?
        let replayedJob: String?

        init(_ refusal: RefusalRecord) {
            id = refusal.id
            firstAt = refusal.firstAt.rfc3339
            lastAt = refusal.lastAt.rfc3339
            times = refusal.times
            via = refusal.via
            kind = refusal.kind
            field = refusal.field
            reason = refusal.reason
            line = refusal.lane?.line
            destination = refusal.lane?.destination
            source = refusal.lane?.source
            key = refusal.key
            rawLength = refusal.rawLength
            replayedAt = refusal.replayedAt?.rfc3339
            replayedJob = refusal.replayedJob?.description
        }
    }
}
