/// One HTTP call to an outside system, ready for a client that follows no redirect. Time-outs are the engine's: the lease of
/// the attempt must outlive them.
package struct OutsideCall: Sendable, Hashable {
    package enum Method: String, Sendable, Hashable {
        case get = "GET"
        case post = "POST"
        case put = "PUT"
        case patch = "PATCH"
        case delete = "DELETE"
    }

    package struct Header: Sendable, Hashable {
        package let name: String
        package let value: String
        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package let method: Method
    package let url: String
    /// In this order. Holds secrets: never log it.
    package let headers: [Header]
    package let body: [UInt8]?
    /// Whether only a host of the public internet may be connected to (``CarrierAddress/mayBePrivate``).
    package let onlyPublicHosts: Bool
    /// Names of headers of the answer that ``OutsideAnswer/header(_:)`` will be asked for; any case.
    package let wantedHeaders: [String]

    package init(
        _ method: Method,
        _ url: String,
        headers: [Header],
        body: [UInt8]? = nil,
        onlyPublicHosts: Bool,
        wantedHeaders: [String] = ["Retry-After"]
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.onlyPublicHosts = onlyPublicHosts
        self.wantedHeaders = wantedHeaders
    }
}

extension OutsideCall: CustomStringConvertible, CustomReflectable {
    /// Without URL, headers and body: safe to log.
    package var description: String { "\(method.rawValue) …" }
    /// Without children, so that `dump` shows no secret either.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// A whole answer; any status is one, also a redirect.
package struct OutsideAnswer: Sendable, Hashable {
    package let status: Int
    /// At most 64 KiB of it.
    package let body: [UInt8]
    /// Whether the body was longer than what ``body`` holds.
    package let isTruncated: Bool
    private let headers: [OutsideCall.Header]

    package init(status: Int, body: [UInt8] = [], isTruncated: Bool = false, headers: [OutsideCall.Header] = []) {
        self.status = status
        self.body = body
        self.isTruncated = isTruncated
        self.headers = headers
    }

    /// The value of the first such header, untouched; any case.
    package func header(_ name: String) -> String? {
        let name = name.lowercased()
        return headers.first { $0.name.lowercased() == name }?.value
    }
}

/// No whole answer came.
package struct OutsideFailure: Error, Sendable, Hashable {
    package enum Cause: Sendable, Hashable {
        /// The call itself is not acceptable, or its host is in a network that it may not reach; never the same again.
        case refused
        /// Our own last check called it off.
        case withdrawn
        /// This machine had no descriptor or port for it: not a word about the other side.
        case shortage
        /// Its host has no address.
        case unresolved
        /// No connection came about.
        case unreachable
        /// The other side could not prove that it is who it was taken for.
        case untrusted
        case timedOut
        /// The connection ended, or the answer was not HTTP.
        case broken
    }

    package let cause: Cause
    /// Whether the other side may have seen the call. If not, no byte of it has left.
    package let mayHaveLeft: Bool
    /// The status that was read before the answer broke off.
    package let status: Int?
    /// One sentence, safe to log: never an address, a header or a body.
    package let reason: String

    package init(cause: Cause, mayHaveLeft: Bool, status: Int? = nil, reason: String) {
        self.cause = cause
        self.mayHaveLeft = mayHaveLeft
        self.status = status
        self.reason = reason
    }
}

package typealias CallResult = Result<OutsideAnswer, OutsideFailure>
