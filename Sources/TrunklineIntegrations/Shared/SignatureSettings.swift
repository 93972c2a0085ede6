internal import TrunklineCore

/// How an operator describes a signature that no kind of source knows by name: `signature_header` and its companions.
enum SignatureSettings {
    static let known = [
        SourceSetting("signature_header", "the header with an HMAC-SHA-256 of the body (X-Signature)"),
        SourceSetting("signature_prefix", "what stands before the signature in it (sha256=)"),
        SourceSetting("signature_encoding", "hex (unless said otherwise) or base64"),
        SourceSetting(
            "timestamp_header",
            "the header with the time, in seconds, that is signed before the body with a dot"
        ),
    ]

    /// Nil when `signature_header` was not given.
    static func signature(_ settings: SourceSettings) throws(Refusal) -> BodySignature? {
        guard let header = settings["signature_header"] else {
            for name in ["signature_prefix", "signature_encoding", "timestamp_header"] where settings[name] != nil {
                throw Refusal(
                    kind: .invalid,
                    field: "settings.\(name)",
                    reason: "it says nothing without signature_header"
                )
            }
            return nil
        }
        let word = settings["signature_encoding"] ?? BodySignature.Encoding.hex.rawValue
        guard let encoding = BodySignature.Encoding(rawValue: word) else {
            throw Refusal(kind: .invalid, field: "settings.signature_encoding", reason: "it is hex or base64")
        }
        let timeHeader = settings["timestamp_header"]
        for (name, header) in [("signature_header", header), ("timestamp_header", timeHeader ?? "x")]
        where !isHeaderName(header) {
            throw Refusal(kind: .invalid, field: "settings.\(name)", reason: "it is not the name of a header")
        }
        return BodySignature(
            header: header.lowercased(),
            prefix: settings["signature_prefix"] ?? "",
            encoding,
            signed: timeHeader.map { .timeAndBody(header: $0.lowercased()) } ?? .body
        )
    }

    static func isHeaderName(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: true
                default: false
                }
            }
    }
}
