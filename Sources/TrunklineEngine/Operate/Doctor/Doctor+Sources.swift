internal import TrunklineCore

extension Doctor {
    /// Whether what proves each source's sender can be opened, and what waits to be run.
    static func examineSources(
        _ install: Operator,
        _ configuration: Configuration,
        _ report: (Finding) -> Void
    ) async throws {
        for source in try await install.allSources() {
            let name = "source \(source.id)"
            guard try await opensSecret(of: .source(source.id), install, configuration, report) else { continue }
            report(look(at: source, name))
        }
    }

    private static func look(at source: SourceRecord, _ name: String) -> Finding {
        let unfinished = source.unfinished.values.reduce(0, +)
        let waiting = unfinished > 0 ? "; \(unfinished) events unfinished" : ""
        if source.isHeld(at: source.readAt), let hold = source.hold {
            return .warning(
                name,
                "held by hand (\(hold.reason))\(waiting)",
                "'trunkline source resume \(source.id)' when the reason is gone"
            )
        }
        if FleetStatus.Lane.isClosed(source.gate) {
            return .failed(
                name,
                "its events cannot be run: \(JobStory.words(forReason: source.gateReason))\(waiting)",
                "run workers of a version that knows kind \(source.kind)"
            )
        }
        if let parked = source.unfinished["parked"] {
            return .warning(
                name,
                "\(parked) events are put aside\(waiting)",
                "'trunkline parked list --source \(source.id)' says why"
            )
        }
        return .ok(name, "its secret opens\(waiting)")
    }
}
