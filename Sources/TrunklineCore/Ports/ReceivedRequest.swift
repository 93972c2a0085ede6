/// An HTTP request to a source, as it came. The body is the raw bytes: every signature is over them.
package struct ReceivedRequest: Sendable {
    package typealias Header = WebhookJob.Header

    package enum Method: String, Sendable, Hashable, CaseIterable {
        case get = "GET"
        case post = "POST"
        case put = "PUT"
    }

    package let method: Method
    /// The address as the sender called it: scheme, host, path and query. Built from the configured public address, never from
    /// the `Host` header. Holds the token of the path: never log it.
    package let url: String
    /// The parts of the path behind the source's token, percent escapes decoded.
    package let path: [String]
    /// In the order received; names may repeat, and are compared without regard to case.
    package let headers: [Header]
    package let body: [UInt8]

    package init(
        _ method: Method = .post,
        url: String,
        path: [String] = [],
        headers: [Header],
        body: [UInt8]
    ) {
        self.method = method
        self.url = url
        self.path = path
        self.headers = headers
        self.body = body
    }

    /// The value of a header that must be there exactly once, without blanks around it. `name` in lower case.
    ///
    /// - Throws: ``SourceRefusal/Reason/unsigned`` when it is missing or empty, ``SourceRefusal/Reason/ambiguous`` when it is
    ///   there more than once: what stands before us may have looked at the other one.
    package func only(_ name: String) throws(SourceRefusal) -> String {
        let values = headers.filter { $0.name.lowercased() == name }
        guard let first = values.first else { throw SourceRefusal(.unsigned, header: name) }
        guard values.count == 1 else { throw SourceRefusal(.ambiguous, header: name) }
        guard let value = HeaderText.trimmed(first.value) else { throw SourceRefusal(.unsigned, header: name) }
        return value
    }

    /// Whether a header of that name is there, however often and however empty. `name` in lower case.
    package func has(_ name: String) -> Bool { headers.contains { $0.name.lowercased() == name } }

    /// The raw query, without `?`; empty when there is none.
    package var query: String {
        guard let mark = url.firstIndex(of: "?") else { return "" }
        return String(url[url.index(after: mark)...].prefix { $0 != "#" })
    }
}

extension ReceivedRequest: CustomStringConvertible, CustomReflectable {
    /// Without address, headers and body: safe to log.
    package var description: String { "\(method.rawValue), \(body.count) bytes" }
    /// Without children, for the same reason.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// One event as it is stored: what is left of a verified request when everything secret is taken out.
package struct ReceivedEvent: Sendable {
    package typealias Header = WebhookJob.Header

    /// Of the request, in its order; those that may hold a secret are left out.
    package let headers: [Header]
    package let body: [UInt8]
    package let receivedAt: Timestamp

    package init(headers: [Header], body: [UInt8], receivedAt: Timestamp) {
        self.headers = headers
        self.body = body
        self.receivedAt = receivedAt
    }

    /// Headers that hold what a sender proves itself with, and of what stands between it and us.
    private static let secret: Set<String> = [
        "authorization", "proxy-authorization", "cookie", "x-goog-channel-token", "x-api-key",
    ]

    /// A whole request as one event.
    ///
    /// - Parameters:
    ///   - body: what is stored instead of the request's own bytes.
    ///   - hiding: further headers that hold a secret, in lower case.
    package init(
        _ request: ReceivedRequest,
        body: [UInt8]? = nil,
        hiding: Set<String> = [],
        receivedAt: Timestamp
    ) {
        let headers = request.headers.filter {
            let name = $0.name.lowercased()
            return !Self.secret.contains(name) && !hiding.contains(name)
        }
        self.init(headers: headers, body: body ?? request.body, receivedAt: receivedAt)
    }

    /// As it was stored.
    package init(_ job: WebhookJob) {
        self.init(headers: job.headers, body: job.body, receivedAt: job.receivedAt)
    }

    /// The first value of a header, without blanks around it; nil when it is absent or empty. `name` in lower case.
    package func header(_ name: String) -> String? {
        for header in headers where header.name.lowercased() == name {
            if let value = HeaderText.trimmed(header.value) { return value }
        }
        return nil
    }
}

extension ReceivedEvent: CustomStringConvertible, CustomReflectable {
    /// Without headers and body: safe to log.
    package var description: String { "event, \(body.count) bytes" }
    /// Without children, for the same reason.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// What names an event within its source.
package struct EventKey: Sendable, Hashable {
    /// In bytes.
    package static let longest = 255

    package let value: String

    /// A key that is too long is replaced by its digest, never cut: two events would become one.
    package init(_ text: String) {
        value = text.utf8.count <= Self.longest ? text : "id-sha256:" + Digest.hex(Digest.sha256(text.utf8))
    }

    /// For a sender that names nothing: the digest of the bytes.
    package init(digestOf body: [UInt8]) { value = "sha256:" + Digest.hex(Digest.sha256(body)) }
}

/// What a request is answered with.
package struct SourceAnswer: Sendable, Hashable {
    package let status: Int
    /// Nil with an empty body.
    package let contentType: String?
    package let body: [UInt8]

    package init(status: Int, contentType: String? = nil, body: [UInt8] = []) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    package static let ok = SourceAnswer(status: 200)
}

/// A request that is not from whom it says it is from, or not what was sent. Safe to log: repeats nothing of it.
package struct SourceRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    /// The raw value is the word of metrics.
    package enum Reason: String, Sendable, Hashable, CaseIterable {
        /// What proves the sender is missing.
        case unsigned
        /// It is there twice.
        case ambiguous
        /// It does not have the form of a signature.
        case malformed
        /// It is not right for these bytes and these secrets.
        case forged
        /// The signed time is further from now than the sender's window.
        case stale
        /// This source was set up without what would prove its sender.
        case unconfigured
        /// The sender is right, and the request is for another account, channel or resource.
        case foreign
        /// The sender is right, and does not name the event where it must.
        case unnamed
    }

    package let reason: Reason
    /// The header at fault, in lower case.
    package let header: String?

    package init(_ reason: Reason, header: String? = nil) {
        self.reason = reason
        self.header = header
    }

    package var description: String {
        let words =
            switch reason {
            case .unsigned: "the proof of the sender is missing"
            case .ambiguous: "the proof of the sender is there more than once"
            case .malformed: "the proof of the sender does not have its form"
            case .forged: "the proof of the sender is not right for these bytes"
            case .stale: "its signed time is too far from now"
            case .unconfigured: "the source has no secret to hold the request against"
            case .foreign: "it is for another account or channel"
            case .unnamed: "the event is not named by 1 to 200 visible ASCII characters"
            }
        return header.map { "\(words) (\($0))" } ?? words
    }
}

enum HeaderText {
    /// Without blanks around it; nil when nothing is left.
    static func trimmed(_ text: String) -> String? {
        let value = text.drop { $0 == " " || $0 == "\t" }
        guard let end = value.lastIndex(where: { $0 != " " && $0 != "\t" }) else { return nil }
        return String(value[...end])
    }
}
