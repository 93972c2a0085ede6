internal import CPlatform
internal import Glibc

/// Which addresses are the public internet: where a URL that a customer gave may lead. Everything else is refused, above all
/// this machine, its networks and a cloud's metadata service. Held against the address that a connection is made to, never
/// against a name or the text of a URL: a name can be made to lead anywhere, and to somewhere else at the second look.
enum PublicNetwork {
    struct Range: Sendable {
        let text: String
        let bytes: [UInt8]
        let bits: Int

        /// - Parameter text: like `10.0.0.0/8`.
        init(_ text: String) {
            self.text = text
            let parts = text.split(separator: "/")
            bits = Int(parts[1])!
            bytes = PublicNetwork.bytes(ofAddress: String(parts[0]))!
        }

        func contains(_ address: [UInt8]) -> Bool {
            guard address.count == bytes.count else { return false }
            return (0..<(bits + 7) / 8).allSatisfy { index in
                let mask = UInt8(truncatingIfNeeded: 0xFF00 >> min(8, bits - index * 8))
                return address[index] & mask == bytes[index] & mask
            }
        }
    }

    /// The special-purpose registries of IANA, as far as they are no place for a customer's server.
    static let closed4 = [
        // "This network", private networks, shared address space of carriers, this machine, link-local (metadata).
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
        // Protocol assignments, documentation, 6to4 relays, benchmarks.
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        // Multicast, and what is reserved with broadcast.
        "224.0.0.0/4", "240.0.0.0/4",
    ].map { Range($0) }

    /// All that IANA has given out as global unicast. What lies outside is closed, known or not: `::`, `::1`, NAT64, discard,
    /// segment routing, unique local (a cloud's metadata service, `fd00:ec2::254`), link-local, multicast.
    static let global6 = Range("2000::/3")

    static let closed6 = [
        // Teredo and other protocol assignments, documentation, 6to4 (which holds an IPv4 address), documentation again.
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    ].map { Range($0) }

    private static let mapped = Range("::ffff:0:0/96")

    /// The address in network order, 4 or 16 bytes.
    static func isPublic(_ address: [UInt8]) -> Bool {
        // IPv4 in the clothes of IPv6.
        if mapped.contains(address) { return isPublic(Array(address.suffix(4))) }
        switch address.count {
        case 4: return !closed4.contains { $0.contains(address) }
        case 16: return global6.contains(address) && !closed6.contains { $0.contains(address) }
        default: return false
        }
    }

    /// Of the numeric text of an address, without brackets; nil for anything else, a zone included.
    static func bytes(ofAddress text: String) -> [UInt8]? {
        var address4 = in_addr()
        if unsafe inet_pton(AF_INET, text, &address4) == 1 {
            return unsafe withUnsafeBytes(of: address4) { unsafe Array($0) }
        }
        var address6 = in6_addr()
        if unsafe inet_pton(AF_INET6, text, &address6) == 1 {
            return unsafe withUnsafeBytes(of: address6) { unsafe Array($0) }
        }
        return nil
    }

    /// Of an address that libcurl is about to connect to; nil for anything but IPv4 and IPv6.
    static func bytes(of address: UnsafePointer<sockaddr>) -> [UInt8]? {
        switch unsafe Int32(address.pointee.sa_family) {
        case AF_INET:
            unsafe address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { socket in
                unsafe withUnsafeBytes(of: socket.pointee.sin_addr) { unsafe Array($0) }
            }
        case AF_INET6:
            unsafe address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { socket in
                unsafe withUnsafeBytes(of: socket.pointee.sin6_addr) { unsafe Array($0) }
            }
        default:
            nil
        }
    }
}
