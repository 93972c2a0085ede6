internal import TrunklineCore
internal import TrunklineIntegrations

/// What this program sends and delivers with.
enum Carriers {
    static let line = CarrierRegistry.standard.line
    static let destinations = CarrierRegistry.standard.destinations

    /// By the word of `--kind`.
    static func destination(_ kind: String) throws(CommandError) -> any Carrier {
        if let carrier = destinations.first(where: { $0.kind.value == kind }) { return carrier }
        throw CommandError(
            .usage,
            "there is no kind '\(kind)' of destination here: \(destinations.map(\.kind.value).joined(separator: ", "))"
        )
    }
}
