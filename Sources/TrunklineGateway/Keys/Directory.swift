internal import HTTPTypes
internal import Logging
internal import Synchronization
internal import TrunklineCore
internal import TrunklineEngine

/// What a gateway knows of API keys and lanes: read from the database over and over, and kept while that is away.
final class Directory: Sendable {
    /// A key that was revoked while the database is away goes on for so long at most.
    static let longestAge: Duration = .seconds(24 * 3_600)

    private struct Known {
        var keys: [[UInt8]: APIKey] = [:]
        var keyRevision: Int64 = 0
        var lanes: [LaneName: LaneEntry] = [:]
        var laneRevision: Int64 = 0
        /// Nil: never read.
        var readAt: ContinuousClock.Instant?
    }

    private let known = Mutex(Known())

    /// Why nobody can be let in; nil when they can.
    var trouble: String? {
        guard let readAt = known.withLock({ $0.readAt }) else {
            return "the API keys have not been read from the database yet"
        }
        return ContinuousClock.now - readAt < Self.longestAge
            ? nil : "the API keys were last read from the database more than 24 hours ago"
    }

    /// Reads what has changed.
    func read(_ install: Operator) async throws {
        let (keyRevision, laneRevision) = known.withLock { ($0.keyRevision, $0.laneRevision) }
        let keys = try await install.apiKeyChanges(since: keyRevision)
        let lanes = try await install.laneEntries(since: laneRevision)
        let now = ContinuousClock.now
        known.withLock { known in
            for (digest, key) in keys.keys { known.keys[digest] = key }
            known.keyRevision = keys.revision
            for lane in lanes.lanes { known.lanes[lane.name] = lane }
            known.laneRevision = lanes.revision
            known.readAt = now
        }
    }

    /// The key that a request shows. Throws a ``Problem``.
    ///
    /// Looked up by the SHA-256 of what was shown: how long that takes tells nothing about a key that somebody guesses at.
    func key(presented authorization: String?) throws -> APIKey {
        guard let authorization else { throw Self.unauthenticated("Authorization: Bearer trk_… is missing", nil) }
        let parts = authorization.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count == 2, parts[0].lowercased() == "bearer", let secret = APIKeySecret(presented: parts[1]) else {
            throw Self.unauthenticated("the Authorization header is not 'Bearer' and an API key", "invalid_request")
        }
        if let trouble { throw Problem.away(trouble) }
        guard let key = known.withLock({ $0.keys[secret.digest] }) else {
            throw Self.unauthenticated("there is no such API key", "invalid_token")
        }
        guard key.revokedAt == nil else {
            throw Self.unauthenticated("this API key was revoked", "invalid_token")
        }
        return key
    }

    /// https://www.rfc-editor.org/rfc/rfc6750#section-3
    private static func unauthenticated(_ detail: String, _ error: String?) -> Problem {
        var problem = Problem(.unauthenticated, detail)
        let challenge = "Bearer realm=\"trunkline\"" + (error.map { ", error=\"\($0)\"" } ?? "")
        problem.headers = [Answer.Header(.wwwAuthenticate, challenge)]
        return problem
    }

    /// A lane of a key's workspace. Throws the same ``Problem`` for one that is not there and for another workspace's.
    func lane(_ name: LaneName, of key: APIKey) throws -> LaneEntry {
        guard let lane = known.withLock({ $0.lanes[name] }), lane.workspace == key.workspace else {
            throw Problem.unknown(name)
        }
        return lane
    }
}
