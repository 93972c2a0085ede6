import Crypto

/// SHA-256: the only hash that names keys and contents in the ledger, and what outside systems sign with.
package enum Digest {
    /// The 32 bytes of SHA-256 over `bytes`.
    package static func sha256(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        let contiguous = ContiguousArray(bytes)
        var hash = SHA256()
        unsafe contiguous.withUnsafeBytes { unsafe hash.update(bufferPointer: $0) }
        return Array(hash.finalize())
    }

    /// The 32 bytes of HMAC-SHA-256 (RFC 2104) over `bytes` under `key`.
    package static func hmacSHA256(_ bytes: some Sequence<UInt8>, key: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: ContiguousArray(bytes), using: SymmetricKey(data: key)))
    }

    /// Whether `code` is HMAC-SHA-256 under `key` over `parts`, one behind the other; in a time that does not tell how much of it
    /// is right.
    package static func isHMACSHA256(_ code: [UInt8], of parts: [[UInt8]], key: [UInt8]) -> Bool {
        var hmac = HMAC<SHA256>(key: SymmetricKey(data: key))
        for part in parts { hmac.update(data: part) }
        // The library compares in constant time; a code of another length is none.
        return code.count == SHA256.byteCount && hmac.finalize() == code
    }

    /// Whether two secrets are the same; in a time that tells neither how much of them is the same nor how long `expected` is.
    package static func areSameSecret(_ presented: [UInt8], _ expected: [UInt8]) -> Bool {
        // The library compares digests in constant time.
        SHA256.hash(data: presented) == SHA256.hash(data: expected)
    }

    /// The bytes of hexadecimal text of either case; nil for anything else.
    package static func bytes(hex text: some Collection<UInt8>) -> [UInt8]? {
        guard text.count.isMultiple(of: 2) else { return nil }
        var out: [UInt8] = []
        out.reserveCapacity(text.count / 2)
        var high: UInt8?
        for letter in text {
            let value: UInt8
            switch letter {
            case 0x30...0x39: value = letter - 0x30
            case 0x41...0x46: value = letter - 0x41 + 10
            case 0x61...0x66: value = letter - 0x61 + 10
            default: return nil
            }
            if let first = high {
                out.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        return out
    }

    /// Lower-case hexadecimal.
    package static func hex(_ bytes: some Sequence<UInt8>) -> String {
        var out: [UInt8] = []
        for byte in bytes {
            for digit in [byte >> 4, byte & 15] { out.append(digit < 10 ? 0x30 + digit : 0x57 + digit) }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
