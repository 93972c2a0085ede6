package import TrunklineCore

/// A form on a website, whatever posts it: JSON, `application/x-www-form-urlencoded` or `multipart/form-data`.
///
/// Typeform and Tally sign the raw body, and are known by their headers. Plugins are described by settings: a signature of
/// their own, or a secret in a header. A plain HTML form can prove nothing: then the address is all there is, and a trap for
/// robots (`honeypot`) belongs into the form. Sources: typeform.com, "Secure your webhooks"; Tally's and Jotform's shapes are
/// from secondary sources.
package struct FormSource: Source {
    package let kind: SourceKind = "form"
    static let consentSetting = "consent"
    package let settings =
        SignatureSettings.known + [
            SourceSetting("secret_header", "the header in which the form repeats the secret"),
            SourceSetting("phone", "the field with the phone number"),
            SourceSetting("name", "the field with the whole name"),
            SourceSetting("first_name", "the field with the first name"),
            SourceSetting("last_name", "the field with the last name"),
            SourceSetting("country", "the field with the country, two letters"),
            SourceSetting("language", "the field with the language"),
            SourceSetting(Self.consentSetting, "the box that must be ticked before anybody is written to"),
            SourceSetting("honeypot", "the field that people do not see: who fills it in is a robot"),
        ]

    package init() {}

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        let settings = try checked(settings)
        let signature = try SignatureSettings.signature(settings)
        if let header = settings["secret_header"] {
            if signature != nil {
                throw Refusal(
                    kind: .invalid,
                    field: "settings.secret_header",
                    reason: "the secret either signs (signature_header) or is repeated (secret_header)"
                )
            }
            guard SignatureSettings.isHeaderName(header) else {
                throw Refusal(kind: .invalid, field: "settings.secret_header", reason: "it is not the name of a header")
            }
        }
        guard secret.isEmpty else {
            return SourceAccount(secrets: try SourceSecrets(secret), settings: settings)
        }
        if signature != nil || settings["secret_header"] != nil {
            throw Refusal(kind: .invalid, field: "secret", reason: "these settings need a secret")
        }
        return SourceAccount(secrets: .none, settings: settings)
    }

    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        if account.secrets.values.isEmpty { return }
        if let signature = (try? SignatureSettings.signature(account.settings)) ?? nil {
            try signature.verify(request, account.secrets, now: now)
        } else if let header = account.settings["secret_header"]?.lowercased() {
            try SharedSecret.check(Array(request.only(header).utf8), account.secrets, header: header)
        } else if request.has("tally-signature") {
            try BodySignature(header: "tally-signature", .base64).verify(request, account.secrets, now: now)
        } else {
            try BodySignature(header: "typeform-signature", prefix: "sha256=", .base64)
                .verify(request, account.secrets, now: now)
        }
    }

    package func events(in request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) -> [ReceivedEvent] {
        let hidden = account.settings["secret_header"].map { Set([$0.lowercased()]) } ?? []
        return [ReceivedEvent(request, hiding: hidden, receivedAt: now)]
    }

    /// The form tool's own id of the submission. Where there is none: what was entered, and the day, because the same person may
    /// fill in the same form again next month, and a double click or a repeated delivery may not.
    package func eventKey(of event: ReceivedEvent) -> EventKey {
        guard let entry = try? FormEntry(event) else { return EventKey(digestOf: event.body) }
        return EventKey("form:" + entry.name(receivedAt: event.receivedAt))
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        try FormEntry(event).reading(settings, receivedAt: event.receivedAt)
    }
}
