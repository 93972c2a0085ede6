internal import HTTPTypes
internal import TrunklineCore
internal import TrunklineEngine

/// For load balancers and whoever watches: `/healthz`, `/readyz`.
struct Health: Sendable {
    let desk: SharedDesk
    let directory: Directory

    var routes: [Route] {
        [
            Route(.get, "/healthz", .everybody) { _ in Answer.json(200) { $0.member("status", "alive") } },
            Route(.get, "/readyz", .everybody, ready),
        ]
    }

    /// Whether messages can be accepted, and which of the two ways in is open. Why one is not stands in the log: what servers
    /// say of themselves is not for everybody.
    private func ready(_ call: Call) async throws -> Answer {
        let troubles = desk.troubles
        let trouble = directory.trouble
        let isReady = trouble == nil && (troubles.database == nil || troubles.broker == nil)
        return Answer.json(isReady ? 200 : 503) { json in
            json.member("status", isReady ? "ready" : "not_ready")
            json.member("database", troubles.database == nil ? "ok" : "away")
            json.member("broker", troubles.broker == nil ? "ok" : "away")
            json.member("keys", trouble ?? "ok")
        }
    }
}
