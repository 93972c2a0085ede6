package import TrunklineCore

/// A store, a backend or a no-code tool of the client's own, which posts events in the shape of `docs/sources/custom.md`.
///
/// It proves itself in one of three ways, by what the operator gave: a secret `whsec_…` means Standard Webhooks; the setting
/// `signature_header` means a plain HMAC as form plugins make it; any other secret is a bearer token, which needs an
/// `Idempotency-Key` beside it.
package struct CustomSource: Source {
    package let kind: SourceKind
    package let refusesUnreadable = true
    package let settings = SignatureSettings.known
    /// What of the shape is for this kind: orders, people and appointments, or appointments alone.
    private let isForAppointments: Bool

    private init(_ kind: SourceKind, isForAppointments: Bool) {
        self.kind = kind
        self.isForAppointments = isForAppointments
    }

    package static let custom = CustomSource("custom", isForAppointments: false)
    /// The same for a calendar or a booking system that can post.
    package static let appointments = CustomSource("appointments", isForAppointments: true)

    /// The same for the script of a sheet, which posts a row as an event.
    package static let sheets = CustomSource("google-sheets", isForAppointments: false)

    package func account(secret: [UInt8], settings: [String: String]) throws(Refusal) -> SourceAccount {
        let settings = try checked(settings)
        let signature = try SignatureSettings.signature(settings)
        let secrets = try SourceSecrets(secret, length: 16...512)
        var isStandard: Set<Bool> = []
        for text in secrets.values.map({ String(decoding: $0, as: UTF8.self) }) {
            guard text.hasPrefix(StandardWebhooks.Secret.prefix) else {
                isStandard.insert(false)
                continue
            }
            _ = try StandardWebhooks.Secret(text)
            isStandard.insert(true)
        }
        if isStandard.count > 1 {
            throw Refusal(
                kind: .invalid,
                field: "secret",
                reason: "one of the secrets begins with \(StandardWebhooks.Secret.prefix) and the other does not: "
                    + "a source has one way to prove its sender"
            )
        }
        if isStandard.contains(true), signature != nil {
            throw Refusal(
                kind: .invalid,
                field: "settings.signature_header",
                reason: "a secret that begins with \(StandardWebhooks.Secret.prefix) has a signature of its own"
            )
        }
        return SourceAccount(secrets: secrets, settings: settings)
    }

    private enum Proof {
        case standard([StandardWebhooks.Secret])
        case signature(BodySignature)
        case bearer
    }

    private func proof(_ account: SourceAccount) -> Proof {
        // Both were read when the account was made.
        if let signature = (try? SignatureSettings.signature(account.settings)) ?? nil { return .signature(signature) }
        let standard = account.secrets.values.compactMap { secret in
            try? StandardWebhooks.Secret(String(decoding: secret, as: UTF8.self))
        }
        return standard.isEmpty ? .bearer : .standard(standard)
    }

    package func verify(_ request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) throws(SourceRefusal) {
        switch proof(account) {
        case .standard(let secrets): try StandardWebhooks.verify(request, secrets: secrets, now: now)
        case .signature(let signature): try signature.verify(request, account.secrets, now: now)
        case .bearer:
            try SharedSecret.check(SharedSecret.bearer(request), account.secrets, header: "authorization")
            try Self.checkName(request)
        }
    }

    private static func checkName(_ request: ReceivedRequest) throws(SourceRefusal) {
        let unnamed = SourceRefusal(.unnamed, header: "idempotency-key")
        guard let key = try? request.only("idempotency-key"), (1...200).contains(key.utf8.count),
            key.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { throw unnamed }
    }

    /// Names that were not proven are not kept: a signature over the body alone says nothing about headers, and a replay could
    /// give itself another name.
    package func events(in request: ReceivedRequest, _ account: SourceAccount, now: Timestamp) -> [ReceivedEvent] {
        let unproven: Set<String> =
            switch proof(account) {
            case .standard: ["idempotency-key"]
            case .signature: ["webhook-id", "idempotency-key"]
            case .bearer: ["webhook-id"]
            }
        return [ReceivedEvent(request, hiding: unproven, receivedAt: now)]
    }

    package func eventKey(of event: ReceivedEvent) -> EventKey {
        if let id = event.header("webhook-id") { return EventKey("webhook-id:" + id) }
        if let key = event.header("idempotency-key") { return EventKey("idempotency-key:" + key) }
        if let document = try? CustomEvent.document(event), let id = document["id"]?.id,
            let type = document["type"]?.given
        {
            return EventKey("custom:\(type)|\(id)")
        }
        return EventKey(digestOf: event.body)
    }

    package func read(_ event: ReceivedEvent, _ settings: SourceSettings) throws(Refusal) -> SourceReading {
        try CustomEvent(CustomEvent.document(event)).reading(isForAppointments: isForAppointments)
    }
}
