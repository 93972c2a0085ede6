package import TrunklineCore

/// An absolute URL that an operator gave, read by the rules that hold for every outside system: `https` with a host, or `http`
/// to this machine itself, because a secret in clear text must not travel.
package struct WebAddress: Sendable, Hashable {
    /// `https://` or `http://`, host and port, in lower case.
    package let origin: String
    /// What follows it, as it was given: path, query, fragment; may be empty.
    package let rest: String

    /// - Parameters:
    ///   - field: the refusal's.
    ///   - name: what the refusal calls the address: `base URL`.
    ///   - longest: in bytes.
    ///   - mayBeLoopback: whether `http` to a loopback address is accepted.
    /// - Throws: a refusal that repeats nothing of the text.
    package init(
        _ text: String,
        field: String,
        name: String,
        longest: Int,
        mayBeLoopback: Bool
    ) throws(Refusal) {
        func refused(_ reason: String) -> Refusal {
            Refusal(kind: .invalid, field: field, reason: "\(name) \(reason)")
        }
        let lower = text.lowercased()
        let scheme: String
        if lower.hasPrefix("https://") {
            scheme = "https://"
        } else if lower.hasPrefix("http://"), mayBeLoopback {
            scheme = "http://"
        } else {
            throw refused(
                "does not begin with https://" + (mayBeLoopback ? " (or http:// for a loopback address)" : "")
            )
        }
        guard text.utf8.count <= longest, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw refused("holds a space, a character outside ASCII, or more than \(longest) bytes")
        }
        if text.contains("\\") || text.contains("\"") { throw refused("holds a character that a URL must escape") }
        let rest = text.dropFirst(scheme.count)
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        if authority.contains("@") { throw refused("must not hold a user name or password") }
        guard Rule.isHostAndPort(authority.utf8) else { throw refused("has no valid host") }
        if scheme == "http://", !WebAddress.isLoopback(authority) {
            throw refused("may use http:// only for a loopback address: the secret would travel in the clear")
        }
        origin = scheme + authority.lowercased()
        self.rest = String(rest.dropFirst(authority.count))
    }

    private static func isLoopback(_ authority: Substring) -> Bool {
        if authority.hasPrefix("[") { return authority.prefix { $0 != "]" } == "[::1" }
        let host = authority.prefix { $0 != ":" }.lowercased()
        if host == "localhost" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
