/// Standard Base64 with padding (RFC 4648 section 4), strict: one text for each sequence of bytes.
package enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 0xFF, count: 256)
        for (value, letter) in alphabet.enumerated() { values[Int(letter)] = UInt8(value) }
        return values
    }()

    /// Appends the encoding of `bytes` to `out`.
    package static func encode(_ bytes: [UInt8], into out: inout [UInt8]) {
        out.reserveCapacity(out.count + (bytes.count + 2) / 3 * 4)
        var i = 0
        while i + 3 <= bytes.count {
            let group = UInt32(bytes[i]) << 16 | UInt32(bytes[i + 1]) << 8 | UInt32(bytes[i + 2])
            out.append(alphabet[Int(group >> 18)])
            out.append(alphabet[Int(group >> 12 & 63)])
            out.append(alphabet[Int(group >> 6 & 63)])
            out.append(alphabet[Int(group & 63)])
            i += 3
        }
        guard i < bytes.count else { return }
        let second = i + 1 < bytes.count ? UInt32(bytes[i + 1]) : 0
        let group = UInt32(bytes[i]) << 16 | second << 8
        out.append(alphabet[Int(group >> 18)])
        out.append(alphabet[Int(group >> 12 & 63)])
        out.append(i + 1 < bytes.count ? alphabet[Int(group >> 6 & 63)] : 0x3D)
        out.append(0x3D)
    }

    /// The bytes, or nil for a wrong length, a foreign character, missing padding or stray bits at the end.
    package static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        let text = ContiguousArray(text)
        guard text.count % 4 == 0 else { return nil }
        guard !text.isEmpty else { return [] }
        let padding = text[text.count - 1] != 0x3D ? 0 : text[text.count - 2] != 0x3D ? 1 : 2
        let letters = text.count - padding
        var out: [UInt8] = []
        out.reserveCapacity(text.count / 4 * 3)
        var group: UInt32 = 0
        for i in 0..<letters {
            let value = values[Int(text[i])]
            guard value < 64 else { return nil }
            group = group << 6 | UInt32(value)
            if i & 3 == 3 {
                out.append(UInt8(truncatingIfNeeded: group >> 16))
                out.append(UInt8(truncatingIfNeeded: group >> 8))
                out.append(UInt8(truncatingIfNeeded: group))
                group = 0
            }
        }
        switch padding {
        case 1:
            guard group & 0b11 == 0 else { return nil }
            out.append(UInt8(truncatingIfNeeded: group >> 10))
            out.append(UInt8(truncatingIfNeeded: group >> 2))
        case 2:
            guard group & 0b1111 == 0 else { return nil }
            out.append(UInt8(truncatingIfNeeded: group >> 4))
        default: break
        }
        return out
    }
}
