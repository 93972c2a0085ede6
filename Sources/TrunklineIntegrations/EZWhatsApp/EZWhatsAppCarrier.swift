package import TrunklineCore

/// Notices through the EZWhatsApp Channel API: one call; after a 409 of a job that nothing may have been sent of, the line's
/// health decides.
package struct EZWhatsAppCarrier: Carrier {
    package let kind: CarrierKind = "ezwhatsapp"

    package let policy = LanePolicy(
        opening: .health,
        // The API's memory of a key has no promised lifetime (contract sheet, section 6).
        unknownHorizon: .seconds(12 * 3_600),
        maximumTries: Retry.maximumTries,
        rampLength: .seconds(60),
        reservedSlots: 50,
        pace: .standard
    )

    package init() {}

    package func address(_ text: String, mayBePrivate: Bool) throws(Refusal) -> CarrierAddress {
        let base = try EZWhatsApp.BaseURL(text, mayBeLoopback: mayBePrivate)
        return CarrierAddress(
            value: base.value,
            origin: base.origin,
            shown: base.value,
            mayBePrivate: mayBePrivate
        )
    }

    package func secretHint(_ secret: [UInt8]) throws(Refusal) -> String {
        try EZWhatsApp.Token(String(decoding: secret, as: UTF8.self)).lastFour
    }

    package func account(at address: CarrierAddress, secret: [UInt8]) throws(Refusal) -> any CarrierAccount {
        EZWhatsAppAccount(
            address: address,
            base: try EZWhatsApp.BaseURL(address.value),
            token: try EZWhatsApp.Token(String(decoding: secret, as: UTF8.self))
        )
    }

    package func render(_ work: CarriedWork) throws(Refusal) -> [UInt8] {
        switch work {
        case .send(let job): return EZWhatsApp.textRequestBody(job)
        case .deliver:
            throw Refusal(kind: .policy, reason: "a line sends notices to people; it delivers no events")
        }
    }

    package func content(of request: [UInt8]) -> StoredContent? { EZWhatsApp.content(ofTextRequest: request) }
}

/// A line's address and token.
struct EZWhatsAppAccount: CarrierAccount {
    let address: CarrierAddress
    let base: EZWhatsApp.BaseURL
    let token: EZWhatsApp.Token

    var healthQuestion: OutsideCall? {
        EZWhatsApp.healthRequest(base: base, token: token, onlyPublicHosts: !address.mayBePrivate)
    }

    func health(_ result: CallResult) -> HealthVerdict {
        switch result {
        case .success(let answer): EZWhatsApp.health(status: answer.status, body: answer.body)
        case .failure(let failure): HealthVerdict(noAnswer: failure)
        }
    }

    func advice(on result: CallResult) -> String? { EZWhatsApp.advice(on: result, base: base) }

    func exchange(_ attempt: CarriedAttempt) -> any Exchange { EZWhatsAppExchange(account: self, attempt: attempt) }

    func isSame(as other: any CarrierAccount) -> Bool {
        guard let other = other as? EZWhatsAppAccount else { return false }
        return other.address == address && other.token == token
    }
}

/// `begin` → the send → `done`; after the 409 of an unstamped job → the line's health → `done`.
private struct EZWhatsAppExchange: Exchange {
    private enum State {
        case new
        case sending
        /// What the 409 said.
        case asking(Evidence)
        case done
    }

    private let account: EZWhatsAppAccount
    private let attempt: CarriedAttempt
    private var state = State.new

    init(account: EZWhatsAppAccount, attempt: CarriedAttempt) {
        self.account = account
        self.attempt = attempt
    }

    mutating func next(_ event: ExchangeEvent) -> ExchangeStep {
        switch (state, event) {
        case (.new, .begin):
            state = .sending
            let call = EZWhatsApp.textRequest(
                base: account.base,
                token: account.token,
                key: attempt.key,
                body: attempt.request,
                onlyPublicHosts: !account.address.mayBePrivate
            )
            return .call(call, mayTakeEffect: true)
        case (.sending, .called(.success(let answer), let now)):
            let evidence = EZWhatsApp.evidence(status: answer.status, body: answer.body, token: account.token)
            let outcome = EZWhatsApp.outcome(
                status: answer.status,
                body: answer.body,
                retryAfter: answer.header("Retry-After"),
                now: now,
                stamped: attempt.isStamped,
                attempt: attempt.number
            )
            if case .recheckHealth = outcome {
                state = .asking(evidence)
                return .askHealth
            }
            return end(outcome, evidence)
        case (.sending, .called(.failure(let failure), _)):
            let evidence = EZWhatsApp.evidence(
                status: failure.status,
                body: [],
                failure: failure.reason,
                token: account.token
            )
            return end(Outcome(noAnswer: failure), evidence)
        case (.asking(let evidence), .health(let verdict)):
            return end(EZWhatsApp.outcome(ofConflict: verdict), evidence)
        case (.new, _), (.sending, _), (.asking, _), (.done, _):
            preconditionFailure("an event that is no answer to the last step")
        }
    }

    private mutating func end(_ outcome: Outcome, _ evidence: Evidence) -> ExchangeStep {
        state = .done
        return .done(outcome, evidence)
    }
}
