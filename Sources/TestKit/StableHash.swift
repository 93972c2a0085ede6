/// FNV-1a: the same number for the same text in every process and on every machine.
package func stableHash(_ text: String) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    return hash
}

/// The same as a short word of lower-case letters and digits, for names that must not be long.
package func shortHash(_ text: String) -> String { String(stableHash(text), radix: 36) }
