internal import HTTPTypes
internal import TrunklineCore

/// Why a request was not done: a problem document (RFC 9457). Holds no customer's text, number or token.
struct Problem: Error, Sendable, Hashable {
    /// The kinds, by the last part of their type.
    enum Kind: String, Sendable, Hashable, CaseIterable {
        case malformed
        case invalidField = "invalid-field"
        case unknownParameter = "unknown-parameter"
        case unauthenticated
        case forbidden
        case notFound = "not-found"
        case unknownLane = "unknown-lane"
        case methodNotAllowed = "method-not-allowed"
        case notAcceptable = "not-acceptable"
        case gone
        case tooLate = "too-late"
        case ambiguous
        case tooLarge = "too-large"
        case unsupportedMediaType = "unsupported-media-type"
        case keyConflict = "key-conflict"
        case unreadable
        case policy
        case late
        case rateLimited = "rate-limited"
        case overloaded
        case unavailable
        case failed

        var status: Int {
            switch self {
            case .malformed, .invalidField, .unknownParameter: 400
            case .unauthenticated: 401
            case .forbidden: 403
            case .notFound, .unknownLane: 404
            case .methodNotAllowed: 405
            case .notAcceptable: 406
            case .tooLate, .ambiguous: 409
            case .gone: 410
            case .tooLarge: 413
            case .unsupportedMediaType: 415
            case .keyConflict, .unreadable, .policy, .late: 422
            case .rateLimited: 429
            case .failed: 500
            case .overloaded, .unavailable: 503
            }
        }

        var title: String {
            switch self {
            case .malformed: "The request is not well formed"
            case .invalidField: "A field breaks its rule"
            case .unknownParameter: "There is no such parameter"
            case .unauthenticated: "A valid API key is needed"
            case .forbidden: "The API key does not allow this"
            case .notFound: "There is no such thing"
            case .unknownLane: "There is no such line or destination"
            case .methodNotAllowed: "This path has other methods"
            case .notAcceptable: "The answer is of another media type"
            case .gone: "It is gone for good"
            case .tooLate: "It is too late for this"
            case .ambiguous: "The name means two things"
            case .tooLarge: "The request is too large"
            case .unsupportedMediaType: "The body is of another media type"
            case .keyConflict: "The key was used for other content"
            case .unreadable: "The event cannot be read"
            case .policy: "This is not sent"
            case .late: "It would be sent too late"
            case .rateLimited: "Too many requests under this API key"
            case .overloaded: "Too many requests at this moment"
            case .unavailable: "Nothing can be accepted at this moment"
            case .failed: "Something failed"
            }
        }
    }

    let kind: Kind
    /// One sentence.
    var detail: String
    /// The path of the field at fault.
    var field: String?
    /// Seconds.
    var retryAfter: Int?
    /// Members beside the usual ones.
    var more: [JSONValue.Member] = []
    var headers: [Answer.Header] = []

    init(_ kind: Kind, _ detail: String, field: String? = nil, retryAfter: Int? = nil) {
        self.kind = kind
        self.detail = detail
        self.field = field
        self.retryAfter = retryAfter
    }

    /// Input that a rule refuses.
    init(_ refusal: Refusal) {
        let kind: Kind =
            switch refusal.kind {
            case .malformed, .unknownSchema: .malformed
            case .invalid, .poison: .invalidField
            case .policy: .policy
            case .conflict: .keyConflict
            case .unknownLine, .unknownDestination: .unknownLane
            // The message as a whole; a field that is too long is one that breaks its rule.
            case .tooLarge: refusal.field == nil ? .tooLarge : .invalidField
            case .late: .late
            }
        self.init(kind, refusal.reason, field: refusal.field)
    }

    static let mediaType = "application/problem+json"

    /// The document.
    ///
    /// - Parameter instance: the request's id; nil inside of another document.
    func write(to json: inout JSONWriter, instance: String?) {
        json.beginObject()
        json.member("type", "urn:trunkline:problem:" + kind.rawValue)
        json.member("title", kind.title)
        json.name("status")
        json.integer(kind.status)
        json.member("detail", detail)
        json.member("field", field)
        for member in more {
            json.name(member.name)
            json.canonical(member.value)
        }
        json.member("instance", instance)
        json.endObject()
    }

    func answer(instance: String) -> Answer {
        var json = JSONWriter()
        write(to: &json, instance: instance)
        return withHeaders(Answer(status: kind.status, contentType: Self.mediaType, body: json.bytes))
    }

    /// Another form of the same, with the headers that belong to it.
    func withHeaders(_ answer: Answer) -> Answer {
        var answer = answer
        answer.headers += headers
        if let retryAfter { answer.headers.append(Answer.Header(.retryAfter, String(retryAfter))) }
        return answer
    }
}

extension Problem {
    static func field(_ field: String?, _ detail: String) -> Problem { Problem(.invalidField, detail, field: field) }

    /// One that is not there and one of another workspace are told in the same words.
    static func unknown(_ lane: LaneName) -> Problem {
        Problem(.unknownLane, "there is no such \(lane.noun) in this workspace", field: lane.noun)
    }

    static func unknownMessage() -> Problem {
        Problem(
            .notFound,
            "no message of this workspace has this id or key; one that only the broker has is not known here yet"
        )
    }

    static func away(_ detail: String) -> Problem { Problem(.unavailable, detail, retryAfter: 2) }
}
