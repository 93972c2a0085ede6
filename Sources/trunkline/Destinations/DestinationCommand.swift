internal import ArgumentParser
internal import TrunklineCore
internal import TrunklineEngine

struct DestinationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "destination",
        abstract: "Clients' systems that are delivered to: add, look, try, pace, hold, resume, remove.",
        subcommands: [
            Add.self, List.self, Show.self, Test.self, Set.self, Hold.self, Resume.self, Remove.self,
        ]
    )

    /// As servers list its connections.
    static let name = "trunkline destination"

    static func say(_ destination: Destination, json: Bool, _ done: String) throws {
        if json { try Output.json(DestinationDocument(destination)) } else { Output.line(done) }
    }

    /// `webhook https://hooks.example/…, unlimited, 8 at once`.
    static func words(_ destination: Destination) -> String {
        "\(destination.kind) \(destination.shownAddress(Carriers.destinations)), "
            + LaneWords.pace(destination.pace, hasPersons: false) + LaneWords.cap(destination.record)
    }
}

/// A destination as programs read it. Its whole URL is not among it: it may hold a secret.
struct DestinationDocument: Encodable {
    private enum Member: String, CodingKey {
        case kind, url, privateNetwork, secretHint, secretReference, unknownHorizonSeconds
    }

    private let destination: Destination

    init(_ destination: Destination) { self.destination = destination }

    func encode(to encoder: any Encoder) throws {
        try LaneDocument(destination.record).encode(to: encoder)
        var members = encoder.container(keyedBy: Member.self)
        try members.encode(destination.kind, forKey: .kind)
        try members.encode(destination.shownAddress(Carriers.destinations), forKey: .url)
        try members.encode(destination.mayBePrivate, forKey: .privateNetwork)
        try members.encode(destination.secretHint, forKey: .secretHint)
        try members.encodeIfPresent(destination.record.secretReference, forKey: .secretReference)
        try members.encode(Int(destination.unknownHorizon / .seconds(1)), forKey: .unknownHorizonSeconds)
    }
}
