/// Where on the internet an address leads, without what is there: what secrets are bound to, and what breakers are for.
package enum Origin {
    /// Scheme, host and port of an absolute URL, in lower case: `https://api.example:8443`. Of a text that is no URL, the
    /// text; such an address is nobody's.
    package static func of(_ address: String) -> String {
        guard let scheme = address.firstRange(of: "://") else { return address }
        let authority = address[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        return address[..<authority.endIndex].lowercased()
    }
}
