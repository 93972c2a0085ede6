internal import TrunklineCore

extension Doctor {
    /// Whether the secret of a source or destination opens here; says so when it does not.
    static func opensSecret(
        of lane: LaneName,
        _ install: Operator,
        _ configuration: Configuration,
        _ report: (Finding) -> Void
    ) async throws -> Bool {
        do {
            _ = try await install.access(
                toLane: lane,
                masterKey: configuration.masterKey,
                ownFiles: configuration.ownFiles
            )
            return true
        } catch {
            report(
                .failed(
                    "\(lane.noun) \(lane.id)",
                    "its secret cannot be used here: \(words(error))",
                    "'trunkline \(lane.noun) set \(lane.id) --secret-file FILE', or make the reference readable on this host"
                )
            )
            return false
        }
    }
}
