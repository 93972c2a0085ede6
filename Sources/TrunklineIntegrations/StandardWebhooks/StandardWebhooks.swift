package import TrunklineCore

/// Standard Webhooks 1.0.0: an event as a signed POST, as pure functions. No I/O and no clock.
///
/// The receiver knows a repeated delivery by its id; what an answer means is decided on the status alone.
package enum StandardWebhooks {
    /// One signing secret. Its description shows the last four characters only.
    package struct Secret: Sendable, Hashable {
        /// What every secret begins with.
        package static let prefix = "whsec_"

        /// Standard Base64, without the prefix.
        let text: String
        /// 24 to 64 bytes.
        let key: [UInt8]

        /// - Throws: a refusal on the field `secret`.
        package init(_ text: some StringProtocol) throws(Refusal) {
            guard text.hasPrefix(Self.prefix), let key = Base64.decode(text.dropFirst(Self.prefix.count).utf8),
                (24...64).contains(key.count)
            else {
                throw StandardWebhooks.invalidSecret(
                    "a secret is \(Self.prefix) and after it 24 to 64 bytes in Base64; this one has \(text.utf8.count) characters"
                )
            }
            self.text = String(text.dropFirst(Self.prefix.count))
            self.key = key
        }

        /// What may be shown: `…abcd`.
        package var lastFour: String { "…" + text.suffix(4) }
    }

    /// The secrets of a destination: one, or two while the receiver changes from one to the other. Every call is signed with
    /// all of them, the newest first.
    package static func secrets(_ bytes: [UInt8]) throws(Refusal) -> [Secret] {
        let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        guard (1...2).contains(lines.count) else {
            throw invalidSecret(
                "one secret was expected, or two on a line each while they are changed; there are \(lines.count)"
            )
        }
        var secrets: [Secret] = []
        for line in lines { secrets.append(try Secret(line)) }
        guard Set(secrets).count == secrets.count else { throw invalidSecret("both secrets are the same") }
        return secrets
    }

    private static func invalidSecret(_ reason: String) -> Refusal {
        Refusal(kind: .invalid, field: "secret", reason: reason)
    }

    /// `webhook-id`: the same over all tries. It must not hold a dot, which separates the parts of what is signed, so a key's
    /// dots become `~`. No key holds that, so no two keys have the same id.
    package static func id(of key: IdempotencyKey) -> String { key.value.replacing(".", with: "~") }

    /// `webhook-signature`: one signature for each secret, a space between them.
    ///
    /// - Parameter timestamp: seconds since 1970, of this try.
    package static func signature(id: String, timestamp: Int64, body: [UInt8], secrets: [Secret]) -> String {
        let signed = Array("\(id).\(timestamp).".utf8) + body
        return secrets.map { secret in
            var text = Array("v1,".utf8)
            Base64.encode(Digest.hmacSHA256(signed, key: secret.key), into: &text)
            return String(decoding: text, as: UTF8.self)
        }.joined(separator: " ")
    }

    /// One try of a delivery.
    ///
    /// - Parameters:
    ///   - body: the stored bytes, exactly.
    ///   - time: of this try; receivers accept five minutes of difference.
    package static func call(
        to address: CarrierAddress,
        secrets: [Secret],
        key: IdempotencyKey,
        body: [UInt8],
        at time: Timestamp
    ) -> OutsideCall {
        let id = id(of: key)
        let seconds = time.microseconds / 1_000_000
        return OutsideCall(
            .post,
            address.value,
            headers: [
                .init("Content-Type", "application/json"),
                .init("webhook-id", id),
                .init("webhook-timestamp", "\(seconds)"),
                .init("webhook-signature", signature(id: id, timestamp: seconds, body: body, secrets: secrets)),
                // For receivers that follow EZWhatsApp's own advice on how to know a repeated delivery.
                .init("X-EZW-Delivery-Id", id),
            ],
            body: body,
            onlyPublicHosts: !address.mayBePrivate
        )
    }

    /// Reads back what a delivery's bytes say; nil for bytes that `DeliverJob.content` cannot have written.
    package static func content(of body: [UInt8]) -> StoredContent? {
        guard let json = try? JSONValue(parsing: body), let type = json["type"]?.text,
            let time = json["timestamp"]?.text.flatMap({ Timestamp(rfc3339: $0) }), let data = json["data"],
            DeliverJob.content(type: type, happenedAt: time, data: data) == body
        else { return nil }
        return StoredContent(
            recipient: nil,
            digest: DeliverJob.contentDigest(type: type, data: data)
        )
    }
}

extension StandardWebhooks.Secret: CustomStringConvertible, CustomReflectable {
    package var description: String { lastFour }
    /// Without children, so that `dump` shows no secret either.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}
