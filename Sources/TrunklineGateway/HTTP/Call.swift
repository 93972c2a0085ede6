internal import HTTPTypes
internal import TrunklineCore
internal import TrunklineEngine

/// One request as a handler gets it: routed, authenticated, its body read.
struct Call: Sendable {
    /// The request's id.
    let id: String
    /// The varying parts of the path.
    let path: [String: String]
    /// The query, each name once; empty on routes of style `sender`.
    let query: [String: String]
    /// Path and query as they came. May hold a secret: for the handler alone.
    let target: String
    let headers: HTTPFields
    /// Nil on routes that are for everybody.
    let key: APIKey?
    let body: [UInt8]

    /// The caller's key, on routes that need one.
    func caller() throws -> APIKey {
        guard let key else { throw Problem(.unauthenticated, "this needs an API key") }
        return key
    }

    /// The `Idempotency-Key` header.
    func idempotencyKey() throws -> IdempotencyKey? {
        do throws(Refusal) {
            return try idempotencyKeyText().map { text throws(Refusal) in try IdempotencyKey(text) }
        } catch {
            throw Problem.field("key", "Idempotency-Key: \(error.reason)")
        }
    }

    /// The same before any rule.
    func idempotencyKeyText() -> String? { headers[.idempotencyKey] }
}

/// The client went away, or sent what is not HTTP: there is nobody to answer.
struct ClientGone: Error {
    let cause: any Error
}
