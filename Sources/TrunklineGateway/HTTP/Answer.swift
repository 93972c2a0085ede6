internal import HTTPTypes
internal import Hummingbird
internal import NIOCore
internal import TrunklineCore

/// An answer before it is HTTP.
struct Answer: Sendable, Hashable {
    struct Header: Sendable, Hashable {
        let name: HTTPField.Name
        let value: String

        init(_ name: HTTPField.Name, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    static let json = "application/json"

    var status: Int
    /// Nil with an empty body.
    var contentType: String? = Answer.json
    var headers: [Header] = []
    var body: [UInt8]

    /// A JSON document.
    static func json(_ status: Int, _ write: (inout JSONWriter) -> Void) -> Answer {
        var json = JSONWriter()
        json.beginObject()
        write(&json)
        json.endObject()
        return Answer(status: status, body: json.bytes)
    }

    var response: Response {
        var fields = HTTPFields()
        if let contentType { fields[.contentType] = contentType }
        // What it says is one caller's, of one moment.
        fields[.cacheControl] = "no-store"
        for header in headers { fields[header.name] = header.value }
        return Response(
            status: HTTPResponse.Status(code: status),
            headers: fields,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: body))
        )
    }
}

extension HTTPField.Name {
    /// A name that is written down here.
    private static func known(_ name: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(name) else { preconditionFailure("\(name) is no field's name") }
        return name
    }

    static let requestID = known("X-Request-Id")
    static let idempotencyKey = known("Idempotency-Key")
    static let idempotencyReplayed = known("Idempotency-Replayed")
    static let trunklineWarning = known("Trunkline-Warning")
    static let rateLimit = known("RateLimit")
    static let rateLimitPolicy = known("RateLimit-Policy")
    static let forwardedFor = known("X-Forwarded-For")
    static let forwarded = known("Forwarded")
}
