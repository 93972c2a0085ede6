package import TrunklineCore

/// Events to a URL, signed by the Standard Webhooks specification: one call for each try. The receiver knows a repeated one by
/// its id, so that nothing has to be asked.
package struct StandardWebhooksCarrier: Carrier {
    package let kind: CarrierKind = "webhook"

    package let policy = LanePolicy(
        opening: .answers,
        // The specification's schedule ends after a day.
        unknownHorizon: .seconds(24 * 3_600),
        // Only what an endpoint keeps answering with 429 counts: at up to five minutes each, some four hours.
        maximumTries: 100,
        rampLength: .zero,
        reservedSlots: 25,
        pace: Pace(interval: .zero, concurrency: 8, recipientGap: .zero)
    )

    package init() {}

    /// `https`, or `http` to this machine where private hosts are allowed; the path and the query stay as they are given.
    package func address(_ text: String, mayBePrivate: Bool) throws(Refusal) -> CarrierAddress {
        let url = try WebAddress(text, field: "url", name: "URL", longest: 2_000, mayBeLoopback: mayBePrivate)
        if url.rest.contains("#") {
            throw Refusal(kind: .invalid, field: "url", reason: "URL must not hold a fragment")
        }
        // Also the placeholders of a template that nobody filled in.
        if url.rest.contains(where: { "<>{}`".contains($0) }) {
            throw Refusal(kind: .invalid, field: "url", reason: "URL holds a character that a URL must escape")
        }
        return CarrierAddress(
            value: url.origin + url.rest,
            origin: url.origin,
            // Whoever knows such a URL may post to it.
            shown: url.rest.isEmpty || url.rest == "/" ? url.origin : url.origin + "/…",
            mayBePrivate: mayBePrivate
        )
    }

    package func secretHint(_ secret: [UInt8]) throws(Refusal) -> String {
        try StandardWebhooks.secrets(secret)[0].lastFour
    }

    package func account(at address: CarrierAddress, secret: [UInt8]) throws(Refusal) -> any CarrierAccount {
        StandardWebhooksAccount(address: address, secrets: try StandardWebhooks.secrets(secret))
    }

    package func render(_ work: CarriedWork) throws(Refusal) -> [UInt8] {
        switch work {
        case .deliver(let job): return job.content
        case .send:
            throw Refusal(kind: .policy, reason: "a webhook delivers events; a notice to a person goes through a line")
        }
    }

    package func content(of request: [UInt8]) -> StoredContent? { StandardWebhooks.content(of: request) }
}

/// A destination's URL and its secrets.
struct StandardWebhooksAccount: CarrierAccount {
    let address: CarrierAddress
    private let secrets: [StandardWebhooks.Secret]
    /// What must not be kept of an answer.
    private let hidden: [Evidence.Hidden]

    init(address: CarrierAddress, secrets: [StandardWebhooks.Secret]) {
        self.address = address
        self.secrets = secrets
        hidden =
            secrets.flatMap { [.init($0.text.utf8, as: "[secret]"), .init($0.key, as: "[secret]")] }
            + Self.tellingParts(of: address).map { .init($0.utf8, as: "[address]") }
    }

    /// What of a URL may be its secret: all behind the origin, and each part of that, which an answer may repeat alone.
    private static func tellingParts(of address: CarrierAddress) -> [String] {
        let rest = address.value.dropFirst(address.origin.count)
        let parts = rest.split(whereSeparator: { "/?&=".contains($0) }).filter { part in
            part.utf8.count >= 6 && !["webhook", "webhooks", "webhook-test"].contains(part)
        }
        return rest.utf8.count > 1 ? [String(rest)] + parts.map(String.init) : []
    }

    var healthQuestion: OutsideCall? { nil }

    /// Never asked; says nothing about the lane.
    func health(_ result: CallResult) -> HealthVerdict { .keepLast(reason: .unclearHealth) }

    func advice(on result: CallResult) -> String? {
        switch result {
        case .success(let answer):
            StandardWebhooks.advice(status: answer.status)
        case .failure(let failure):
            failure.cause == .refused && !address.mayBePrivate
                ? "look at the URL: a host in a private network needs --allow-private-network"
                : failure.advice(calling: address.origin, addressWords: "URL")
        }
    }

    func exchange(_ attempt: CarriedAttempt) -> any Exchange {
        StandardWebhooksExchange(account: self, attempt: attempt)
    }

    func isSame(as other: any CarrierAccount) -> Bool {
        guard let other = other as? StandardWebhooksAccount else { return false }
        return other.address == address && other.secrets == secrets
    }

    fileprivate func call(_ attempt: CarriedAttempt, at time: Timestamp) -> OutsideCall {
        StandardWebhooks.call(
            to: address,
            secrets: secrets,
            key: attempt.key,
            body: attempt.request,
            at: time
        )
    }

    fileprivate func evidence(status: Int?, body: [UInt8], failure: String? = nil) -> Evidence {
        Evidence(status: status, body: body, failure: failure, hiding: hidden)
    }
}

extension StandardWebhooksAccount: CustomStringConvertible, CustomReflectable {
    var description: String { address.shown }
    /// Without children, so that `dump` shows no secret either.
    var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// `begin` → the call → `done`.
private struct StandardWebhooksExchange: Exchange {
    private enum State {
        case new, calling, done
    }

    private let account: StandardWebhooksAccount
    private let attempt: CarriedAttempt
    private var state = State.new

    init(account: StandardWebhooksAccount, attempt: CarriedAttempt) {
        self.account = account
        self.attempt = attempt
    }

    mutating func next(_ event: ExchangeEvent) -> ExchangeStep {
        switch (state, event) {
        case (.new, .begin(let time)):
            state = .calling
            return .call(account.call(attempt, at: time), mayTakeEffect: true)
        case (.calling, .called(.success(let answer), let now)):
            state = .done
            return .done(
                StandardWebhooks.outcome(answer, now: now),
                account.evidence(status: answer.status, body: answer.body)
            )
        case (.calling, .called(.failure(let failure), _)):
            state = .done
            return .done(
                Outcome(noAnswer: failure),
                account.evidence(status: failure.status, body: [], failure: failure.reason)
            )
        case (.new, _), (.calling, _), (.done, _):
            preconditionFailure("an event that is no answer to the last step")
        }
    }
}
