internal import Glibc
package import TrunklineCore

/// A range of IP addresses: `10.0.0.0/8`, `::1`, `192.0.2.7`.
package struct AddressRange: Sendable, Hashable {
    private let bytes: [UInt8]
    private let bits: Int

    /// Throws a refusal for what is none.
    package init(_ text: some StringProtocol) throws(Refusal) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let first = parts.first, parts.count <= 2, let bytes = AddressRange.bytes(first) else {
            throw Refusal(
                kind: .invalid,
                field: "trusted-proxies",
                reason: "a trusted proxy is an IP address or a range of them, like 10.0.0.0/8"
            )
        }
        let whole = bytes.count * 8
        guard let bits = parts.count == 2 ? Int(parts[1]) : whole, (0...whole).contains(bits) else {
            throw Refusal(
                kind: .invalid,
                field: "trusted-proxies",
                reason: "a range of addresses ends with the bits of its prefix, like /8"
            )
        }
        self.bytes = bytes
        self.bits = bits
    }

    /// Whether an address, as it is written, is in the range.
    func contains(_ address: some StringProtocol) -> Bool {
        guard let other = AddressRange.bytes(address), other.count == bytes.count else { return false }
        for bit in 0..<bits where (bytes[bit / 8] ^ other[bit / 8]) & (0x80 >> UInt8(bit % 8)) != 0 { return false }
        return true
    }

    /// 4 or 16 bytes; an IPv4 address in IPv6's clothes is the IPv4 address.
    private static func bytes(_ text: some StringProtocol) -> [UInt8]? {
        let text = String(text)
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 { return Array(bytes.prefix(4)) }
        guard inet_pton(AF_INET6, text, &bytes) == 1 else { return nil }
        let isMapped = bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
        return isMapped ? Array(bytes.suffix(4)) : bytes
    }

    /// `text` as an address without a port, in its plain form; nil when it is none.
    static func address(_ text: some StringProtocol) -> String? {
        var text = text.trimming(while: { $0 == " " || $0 == "\t" || $0 == "\"" })
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            text = String(text[..<end].dropFirst())
        } else if text.count(where: { $0 == ":" }) == 1, let colon = text.firstIndex(of: ":") {
            text = String(text[..<colon])
        }
        return bytes(text) == nil ? nil : text
    }
}

extension StringProtocol {
    /// Without such characters at its ends.
    fileprivate func trimming(while isOut: (Character) -> Bool) -> String {
        var rest = Substring(self)
        while let first = rest.first, isOut(first) { rest.removeFirst() }
        while let last = rest.last, isOut(last) { rest.removeLast() }
        return String(rest)
    }
}

/// Whose word about a client's address counts.
package struct TrustedProxies: Sendable, Hashable {
    /// The header in which the proxies say it. One only: another one passes through them as the client wrote it.
    package enum Header: String, Sendable, Hashable, CaseIterable {
        case xForwardedFor = "x-forwarded-for"
        case forwarded
    }

    package let ranges: [AddressRange]
    package let header: Header

    package init(_ ranges: [AddressRange], header: Header = .xForwardedFor) {
        self.ranges = ranges
        self.header = header
    }

    /// The client's address: the peer's own, or, from a trusted peer, the last one in its header that is not a trusted
    /// proxy's.
    func client(peer: String, header values: [String]) -> String {
        guard isTrusted(peer) else { return peer }
        var client = peer
        for hop in hops(values).reversed() {
            guard let address = AddressRange.address(hop) else { return client }
            client = address
            if !isTrusted(address) { return client }
        }
        return client
    }

    private func isTrusted(_ address: String) -> Bool { ranges.contains { $0.contains(address) } }

    private func hops(_ values: [String]) -> [Substring] {
        let elements = values.flatMap { $0.split(separator: ",") }
        switch header {
        case .xForwardedFor: return elements
        case .forwarded:
            return elements.map { element in
                for pair in element.split(separator: ";") {
                    let parts = pair.split(separator: "=", maxSplits: 1)
                    let name = parts.first?.trimming(while: { $0 == " " }).lowercased()
                    if parts.count == 2, name == "for" { return parts[1] }
                }
                return ""
            }
        }
    }
}
