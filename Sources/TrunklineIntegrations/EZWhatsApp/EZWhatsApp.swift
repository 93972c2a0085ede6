public import TrunklineCore

/// The EZWhatsApp Channel API, as pure functions: what to ask, and what an answer means. No I/O and no clock.
///
/// Only 202 and the shape of a good health answer are documented; everything else here is decided on the status alone and
/// on the safe side (`docs/delivery-guarantees.md`).
public enum EZWhatsApp {
    /// Bodies up to this size are looked into, in bytes.
    public static let maximumAnswerBytes = 65_536

    /// One call, ready for an HTTP client that follows no redirect.
    public struct Request: Sendable, Hashable {
        public let method: String
        public let url: String
        /// In a fixed order. Holds the token: never log it.
        public let headers: [Header]
        public let body: [UInt8]?

        public struct Header: Sendable, Hashable {
            public let name: String
            public let value: String
        }
    }

    /// Where a line's API lives: `https://app.ezw.solutions/api/v1`. The token goes to this origin only.
    public struct BaseURL: Sendable, Hashable, CustomStringConvertible {
        /// Without a slash at the end.
        public let value: String

        /// `https` with a host, or `http` to a loopback address; no user name, query or fragment.
        /// Throws a refusal on the field `base-url`.
        public init(_ text: String) throws(Refusal) {
            func refused(_ reason: String) -> Refusal {
                Refusal(kind: .invalid, field: "base-url", reason: "base URL \(reason)")
            }
            let scheme: String
            if text.lowercased().hasPrefix("https://") {
                scheme = "https://"
            } else if text.lowercased().hasPrefix("http://") {
                scheme = "http://"
            } else {
                throw refused("does not begin with https:// (or http:// for a loopback address)")
            }
            guard text.utf8.count <= 512, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                throw refused("holds a space, a character outside ASCII, or more than 512 bytes")
            }
            if text.contains("?") || text.contains("#") { throw refused("must not hold a query or a fragment") }
            if text.contains("@") { throw refused("must not hold a user name or password") }
            if text.contains("\\") || text.contains("\"") { throw refused("holds a character that a URL must escape") }
            let rest = text.dropFirst(scheme.count)
            let authority = rest.prefix { $0 != "/" }
            guard Rule.isHostAndPort(authority.utf8) else { throw refused("has no valid host") }
            if scheme == "http://", !BaseURL.isLoopback(authority) {
                throw refused("may use http:// only for a loopback address: the token would travel in the clear")
            }
            var path = rest.dropFirst(authority.count)
            while path.hasSuffix("/") { path.removeLast() }
            value = scheme + authority.lowercased() + path
        }

        /// Scheme, host and port: what a line's token may be sent to.
        public var origin: String {
            let scheme = value.hasPrefix("https://") ? "https://" : "http://"
            return scheme + value.dropFirst(scheme.count).prefix { $0 != "/" }
        }

        public var description: String { value }

        private static func isLoopback(_ authority: Substring) -> Bool {
            if authority.hasPrefix("[") { return authority.prefix { $0 != "]" } == "[::1" }
            let host = authority.prefix { $0 != ":" }.lowercased()
            if host == "localhost" { return true }
            let parts = host.split(separator: ".", omittingEmptySubsequences: false)
            return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
        }
    }

    /// A line's secret. Its description shows the last four characters only.
    public struct Token: Sendable, Hashable {
        /// The secret itself: goes into the `Authorization` header and nowhere else.
        public let value: String

        /// What every token begins with.
        public static let prefix = "ezw_line_"

        /// The prefix and after it the characters of a bearer token (RFC 6750, 2.1), at most 512 in all. Nothing else is
        /// ever sent as a token, wherever it was read: no key, no password, no URL has this form.
        /// Throws a refusal on the field `token`.
        public init(_ value: String) throws(Refusal) {
            let secret = value.utf8.dropFirst(Self.prefix.utf8.count)
            guard value.hasPrefix(Self.prefix), !secret.isEmpty, value.utf8.count <= 512,
                secret.allSatisfy(Self.isTokenCharacter)
            else {
                throw Refusal(
                    kind: .invalid,
                    field: "token",
                    reason:
                        "the token does not look like \(Self.prefix)… (letters, digits and -._~+/=; at most 512; it has "
                        + "\(value.utf8.count) bytes)"
                )
            }
            self.value = value
        }

        private static func isTokenCharacter(_ byte: UInt8) -> Bool {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: "-._~+/=".utf8.contains(byte)
            }
        }

        /// What may be shown: `…abcd`.
        public var lastFour: String { "…" + value.suffix(4) }
    }
}

extension EZWhatsApp.Token: CustomStringConvertible, CustomReflectable {
    public var description: String { lastFour }
    /// Without children, so that `dump` shows no secret either.
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}

extension EZWhatsApp.Request: CustomStringConvertible, CustomReflectable {
    /// Without headers and body: safe to log.
    public var description: String { "\(method) \(url)" }
    /// Without children, so that `dump` shows no secret either.
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}
