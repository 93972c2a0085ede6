/// Names one request in answers, problems and logs.
enum RequestID {
    /// The one that came with the request, when it can be shown: `[A-Za-z0-9._-]{1,64}`. Anything else could be somebody's
    /// data, or break a log line.
    static func given(_ text: String?) -> String? {
        guard let text, (1...64).contains(text.utf8.count) else { return nil }
        let isGood = text.utf8.allSatisfy { byte in
            switch byte {
            case 0x61...0x7A, 0x41...0x5A, 0x30...0x39, 0x2E, 0x5F, 0x2D: true
            default: false
            }
        }
        return isGood ? text : nil
    }

    /// A new one: 16 characters.
    static func fresh() -> String {
        let text = String(UInt64.random(in: 0 ... .max), radix: 16)
        return String(repeating: "0", count: 16 - text.utf8.count) + text
    }
}
