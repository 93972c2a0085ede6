internal import TrunklineCore

extension Doctor {
    /// Calls nobody: what a destination thinks of a delivery only a delivery tells.
    static func examineDestinations(
        _ install: Operator,
        _ configuration: Configuration,
        _ report: (Finding) -> Void
    ) async throws {
        for destination in try await install.allDestinations() {
            let name = "destination \(destination.id)"
            guard try await opensSecret(of: .destination(destination.id), install, configuration, report) else {
                continue
            }
            report(look(at: destination, name))
        }
    }

    private static func look(at destination: Destination, _ name: String) -> Finding {
        let unfinished = destination.unfinished.values.reduce(0, +)
        let waiting = unfinished > 0 ? "; \(unfinished) unfinished" : ""
        if destination.isHeld(at: destination.readAt), let hold = destination.hold {
            return .warning(
                name,
                "held by hand (\(hold.reason))\(waiting)",
                "'trunkline destination resume \(destination.id)' when the reason is gone"
            )
        }
        let gate = destination.gate
        guard FleetStatus.Lane.isClosed(gate) else {
            return .ok(name, "its secret opens; its gate is \(gate)\(waiting)")
        }
        let words = "cannot be delivered to: \(JobStory.words(forReason: destination.gateReason))\(waiting)"
        return gate == "held_human"
            ? .failed(name, words, "somebody must look at it; its deliveries wait")
            : .warning(name, words, "its deliveries wait; workers try again by themselves")
    }
}
