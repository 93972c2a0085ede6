/// One HTTP/1.1 request, complete and immutable once handed to ``CurlDriver/send(_:mayLeave:done:)``.
package struct HTTPRequest: Sendable {
    /// The methods that carriers use.
    package enum Method: String, Sendable {
        case get = "GET"
        case post = "POST"
        case put = "PUT"
        case patch = "PATCH"
        case delete = "DELETE"
    }

    /// What is asked.
    package var method: Method
    /// An absolute `https` URL, or an `http` URL whose host is a loopback address or `localhost`. ASCII, already
    /// percent-encoded, without user name or password.
    package var url: String
    /// Name and value, sent in this order. `Host`, `Connection`, `Content-Length`, `Transfer-Encoding` and `Expect` belong
    /// to the driver and are refused; control characters are refused.
    package var headers: [(String, String)]
    /// Sent as it is. `nil` sends no body (a POST then has an empty one).
    package var body: [UInt8]?
    /// Covers name resolution, TCP and TLS. More than zero.
    package var connectTimeout: Duration
    /// From ``CurlDriver/send(_:mayLeave:done:)`` to the last byte of the answer. More than zero.
    package var totalTimeout: Duration
    /// Whether only addresses of the public internet may be connected to: held against each address that the host has, and
    /// against that of a kept connection. Refused is all else, also where it only might be something else.
    package var onlyPublicHosts: Bool
    /// Names of headers of the answer that are kept, in any case.
    package var wantedHeaders: [String]

    package init(
        method: Method,
        url: String,
        headers: [(String, String)] = [],
        body: [UInt8]? = nil,
        connectTimeout: Duration = .seconds(5),
        totalTimeout: Duration = .seconds(15),
        onlyPublicHosts: Bool = false,
        wantedHeaders: [String] = ["Retry-After"]
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.connectTimeout = connectTimeout
        self.totalTimeout = totalTimeout
        self.onlyPublicHosts = onlyPublicHosts
        self.wantedHeaders = wantedHeaders
    }
}

/// A whole answer. Any status is an answer, also a redirect, which is never followed.
package struct HTTPResponse: Sendable, Hashable {
    /// 200 to 999, as the peer said it.
    package var status: Int
    /// The first bytes of the body, at most the driver's limit (64 KiB unless told).
    package var body: [UInt8]
    /// Whether the body was longer than what ``body`` holds.
    package var isTruncated: Bool
    /// Those of ``HTTPRequest/wantedHeaders`` that it had, named as they were asked for.
    package var headers: [Header]

    package struct Header: Sendable, Hashable {
        package var name: String
        /// Untouched, but never more than 256 characters.
        package var value: String

        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package init(status: Int, body: [UInt8] = [], isTruncated: Bool = false, headers: [Header] = []) {
        self.status = status
        self.body = body
        self.isTruncated = isTruncated
        self.headers = headers
    }

    /// The value of `Retry-After`, if it was wanted: seconds or an HTTP date, or anything else.
    package var retryAfter: String? { headers.first { $0.name.lowercased() == "retry-after" }?.value }
}

/// No whole answer came. ``sent`` says what that means for the request.
package struct HTTPFailure: Error, Sendable, Hashable, CustomStringConvertible {
    /// Whether the peer may have seen the request.
    package enum Sent: Sendable, Hashable {
        /// No byte of the request left this process.
        case surelyNot
        /// The last check allowed the bytes to leave: the peer may have acted on them.
        case maybe
    }

    /// Why no whole answer came.
    package enum Cause: String, Sendable, Hashable {
        /// The request itself is not acceptable (URL, header, `http` to a peer that is not loopback, an
        /// address that is not public where it had to be); never retry as is.
        case refused
        /// `mayLeave` said no.
        case held
        /// The name could not be resolved.
        case resolve
        /// No connection came about.
        case connect
        /// This machine had no descriptor, port or memory for a connection: not a word about the peer.
        case shortage
        /// TLS failed before the request, e.g. a certificate that is not trusted.
        case tls
        /// A time-out of the request passed.
        case timeout
        /// A kept connection died under the request and libcurl was about to send it a second time; it was stopped.
        case replay
        /// The connection ended or the answer was empty, short or not HTTP.
        case broken
        /// ``CurlDriver/cancelAll()`` or ``CurlDriver/close()`` ended it.
        case cancelled
    }

    /// The `CURLcode`, or 0 when the driver decided without libcurl.
    package var code: Int32
    /// Whether the request may have been sent.
    package var sent: Sent
    /// The class of the failure.
    package var cause: Cause
    /// The status that was read before the answer broke off, if any.
    package var status: Int?
    /// One sentence, safe to log: never an address, a header or a body.
    package var reason: String

    package init(code: Int32 = 0, sent: Sent, cause: Cause, status: Int? = nil, reason: String) {
        self.code = code
        self.sent = sent
        self.cause = cause
        self.status = status
        self.reason = reason
    }

    package var description: String { reason }
}
