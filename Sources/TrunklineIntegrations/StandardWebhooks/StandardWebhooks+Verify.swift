package import TrunklineCore

extension StandardWebhooks {
    /// Either way, between the time that is signed and now: what the specification's libraries accept.
    package static let window: Duration = .seconds(300)

    /// Holds a received request against its secrets: one right signature under one of them is enough.
    package static func verify(_ request: ReceivedRequest, secrets: [Secret], now: Timestamp) throws(SourceRefusal) {
        let id = try request.only("webhook-id")
        let time = try request.only("webhook-timestamp")
        let signatures = try request.only("webhook-signature")
        guard !secrets.isEmpty else { throw SourceRefusal(.unconfigured) }
        // A dot would move the border between id and time, and with it what is signed.
        guard !id.contains(".") else { throw SourceRefusal(.malformed, header: "webhook-id") }
        try SignedTime.check(time, now: now, window: window, header: "webhook-timestamp")
        let head = Array("\(id).\(time).".utf8)
        var hasForm = false
        var isRight = false
        for signature in signatures.split(separator: " ").prefix(longestList) where signature.hasPrefix("v1,") {
            guard let code = Base64.decode(signature.dropFirst(3).utf8), code.count == 32 else { continue }
            hasForm = true
            for secret in secrets where Digest.isHMACSHA256(code, of: [head, request.body], key: secret.key) {
                isRight = true
            }
        }
        guard hasForm else { throw SourceRefusal(.malformed, header: "webhook-signature") }
        guard isRight else { throw SourceRefusal(.forged, header: "webhook-signature") }
    }

    /// Signatures that are looked at: each costs a digest of the whole body, and a sender in the middle of a rotation has two.
    private static let longestList = 8
}
