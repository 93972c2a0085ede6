package import TrunklineCore

extension EZWhatsApp {
    /// What the answer to a preflight means for the line's gate. Fails closed: only the two words that say sendable open it.
    ///
    /// - Parameters:
    ///   - status: the HTTP status.
    ///   - body: the body, at most 64 KiB.
    package static func health(status: Int, body: [UInt8]) -> HealthVerdict {
        switch status {
        case 200: return verdict(on: body)
        case 401: return .held(.human, reason: .credentialRefused, detail: nil)
        case 402, 403: return .held(.human, reason: .lineRefused, detail: nil)
        case 404, 405, 410: return .held(.human, reason: .endpointMissing, detail: nil)
        case 300...399: return .held(.human, reason: .redirected, detail: nil)
        case 423: return .held(.transient, reason: .lineLocked, detail: nil)
        case 429: return .keepLast(reason: .slowDown)
        case 500...599: return .keepLast(reason: .serverError)
        default: return .held(.transient, reason: .unexpectedStatus, detail: "status \(status)")
        }
    }

    /// The words that only a person can clear, looked for inside every state text.
    static let humanWords = [
        "qr", "logged_out", "unlinked", "banned", "blocked", "stop", "disabled", "paused", "reconnect_required",
    ]

    private static func verdict(on body: [UInt8]) -> HealthVerdict {
        guard body.count <= maximumAnswerBytes, let answer = try? JSONValue(parsing: body) else {
            return .held(.transient, reason: .unclearHealth, detail: "not readable")
        }
        let line = answer["line"]
        let channel = answer["health"]?["status"]?["text"]
        let lifecycle = line?["lifecycleState"]
        let sendState = line?["effectiveSendState"]
        let detail = describe([("channel", channel), ("lifecycle", lifecycle), ("send", sendState)])

        // Fields of another type and missing ones are as unclear as a contradiction.
        guard case .bool(let sendable) = line?["sendable"], let state = sendState?.text else {
            return .held(.transient, reason: .unclearHealth, detail: detail)
        }
        let saysSendable = state == "sendable"
        if sendable != saysSendable { return .held(.transient, reason: .unclearHealth, detail: detail) }
        if sendable {
            let isUsual = channel?.text == "AUTH"
            return .open(note: isUsual ? nil : "sendable although the channel is not AUTH (\(detail ?? "no state"))")
        }
        let words = [channel, lifecycle, sendState].compactMap { $0?.text?.lowercased() }
        if words.contains(where: { word in humanWords.contains { word.contains($0) } }) {
            return .held(.human, reason: .lineNeedsPerson, detail: detail)
        }
        return .held(.transient, reason: .lineNotSendable, detail: detail)
    }

    /// The state words for a log: each at most 32 characters of a plain alphabet, whatever the answer held.
    private static func describe(_ states: [(String, JSONValue?)]) -> String? {
        let parts = states.compactMap { name, value -> String? in
            guard let text = value?.text else { return nil }
            let plain = text.utf8.prefix(32).map { byte -> UInt8 in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: byte
                default: 0x3F
                }
            }
            return "\(name) \(String(decoding: plain, as: UTF8.self))"
        }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }
}
