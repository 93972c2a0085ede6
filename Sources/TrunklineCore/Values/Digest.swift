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

    /// Lower-case hexadecimal.
    package static func hex(_ bytes: some Sequence<UInt8>) -> String {
        var out: [UInt8] = []
        for byte in bytes {
            for digit in [byte >> 4, byte & 15] { out.append(digit < 10 ? 0x30 + digit : 0x57 + digit) }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
