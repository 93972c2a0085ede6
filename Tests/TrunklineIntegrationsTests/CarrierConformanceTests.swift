import Testing
import TrunklineCore
import TrunklineIntegrations
import TrunklineTesting

@Suite struct CarrierConformanceTests {
    /// What the suite must know of each carrier of the registry, by kind.
    static let samples: [CarrierKind: CarrierConformance.Sample] = [
        "ezwhatsapp": .init(
            .line,
            address: "https://app.ezw.example/api/v1",
            otherAddress: "https://app.ezw.example:8443/api/v1",
            secret: "ezw_line_0123456789abcdef0123456789abcdef",
            otherSecret: "ezw_line_fedcba9876543210fedcba9876543210",
            mustNotShow: ["ezw_line_0123456789abcdef0123456789abcdef"]
        ),
        "webhook": .init(
            .destination,
            address: "https://hooks.example.com/hooks/catch/1234567/abcdefg/?token=hunter2hunter2",
            otherAddress: "https://hooks.example.com/hooks/catch/1234567/abcdefh/?token=hunter2hunter2",
            secret:
                "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\nwhsec_ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=",
            otherSecret: "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
            mustNotShow: [
                "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=", "ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=",
                "/hooks/catch/1234567/abcdefg/?token=hunter2hunter2", "1234567", "abcdefg", "hunter2hunter2",
            ]
        ),
    ]

    @Test(arguments: CarrierRegistry.standard.all.map(\.kind), [1, 2] as [UInt64])
    func everyCarrierOfTheRegistryKeepsEveryRule(_ kind: CarrierKind, _ seed: UInt64) throws {
        let carrier = try #require(CarrierRegistry.standard[kind.value])
        let sample = try #require(Self.samples[kind], "a new carrier needs a sample here")
        #expect(try CarrierConformance(carrier, sample).violations(seed: seed) == [])
    }

    /// The carrier of the tests is held to the same rules.
    @Test(arguments: [1, 2] as [UInt64])
    func theNotebookKeepsEveryRule(_ seed: UInt64) throws {
        let sample = CarrierConformance.Sample(
            .destination,
            address: "https://notes.example",
            otherAddress: "https://notes.example:8443",
            secret: "note_0123456789abcdef0123",
            otherSecret: "note_fedcba98765432103210",
            mustNotShow: ["note_0123456789abcdef0123"]
        )
        #expect(try CarrierConformance(NotebookCarrier(), sample).violations(seed: seed) == [])
    }

    // MARK: The suite itself

    static let sample = CarrierConformance.Sample(
        .destination,
        address: "https://a.example/hook-one-and-only",
        otherAddress: "https://b.example/hook-one-and-only",
        secret: "very-secret-secret-one",
        otherSecret: "very-secret-secret-two",
        mustNotShow: ["very-secret-secret-one"]
    )

    @Test func aGoodCarrierKeepsEveryRule() throws {
        #expect(try CarrierConformance(FlawedCarrier(flaw: nil), Self.sample).violations(seed: 1) == [])
    }

    /// A rule that no carrier can break is no rule.
    @Test(arguments: CarrierConformance.Rule.allCases)
    func aCarrierThatBreaksARuleIsFound(_ rule: CarrierConformance.Rule) throws {
        let found = try CarrierConformance(FlawedCarrier(flaw: rule), Self.sample).violations(seed: 1)
        #expect(found.contains { $0.rule == rule }, "\(found)")
    }
}

/// Looks something up, creates it, asks for health after a conflict: as much as the port allows; and breaks one rule on demand.
private struct FlawedCarrier: Carrier {
    let flaw: CarrierConformance.Rule?
    let kind: CarrierKind = "flawed"

    var policy: LanePolicy {
        LanePolicy(
            opening: flaw == .asksAsItsPolicySays ? .health : .answers,
            unknownHorizon: .seconds(60),
            maximumTries: 1,
            rampLength: .zero,
            reservedSlots: 0,
            pace: .standard,
            beginsQuietly: flaw != .beginsAsItsPolicySays
        )
    }

    func address(_ text: String, mayBePrivate: Bool) throws(Refusal) -> CarrierAddress {
        guard text.hasPrefix("https://"), !text.contains(" "), text.utf8.count < 200 else {
            throw Refusal(kind: .invalid, field: "url", reason: "no address")
        }
        let origin = "https://" + text.dropFirst(8).prefix { $0 != "/" }
        return CarrierAddress(
            value: flaw == .readsItsAddressBack ? text + "/" : text,
            origin: origin,
            shown: origin,
            mayBePrivate: mayBePrivate
        )
    }

    func secretHint(_ secret: [UInt8]) throws(Refusal) -> String {
        let text = String(decoding: secret, as: UTF8.self)
        guard text.hasPrefix("very-"), text.utf8.count < 30, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            let why = flaw == .refusesWithoutTheSecret ? text : "the form"
            throw Refusal(kind: .invalid, field: "secret", reason: why)
        }
        return "…" + text.suffix(4)
    }

    func account(at address: CarrierAddress, secret: [UInt8]) throws(Refusal) -> any CarrierAccount {
        _ = try secretHint(secret)
        let secret = Credentials(accessToken: String(decoding: secret, as: UTF8.self))
        if flaw == .showsNoSecret {
            return FlawedAccount(flaw: flaw, address: address, secret: secret, shown: secret.accessToken)
        }
        return FlawedAccount(flaw: flaw, address: address, secret: secret, shown: nil)
    }

    func render(_ work: CarriedWork) throws(Refusal) -> [UInt8] {
        switch work {
        case .deliver(let job):
            guard flaw == .rendersTheSameBytes else { return job.content }
            return job.content + [UInt8.random(in: 0x30...0x39), UInt8.random(in: 0x30...0x39)]
                + (0..<8).map { _ in UInt8.random(in: 0x30...0x39) }
        case .send(let job):
            if flaw == .refusesForeignWork { return Array(job.body.utf8) }
            throw Refusal(kind: .policy, reason: "deliveries only")
        }
    }

    func content(of request: [UInt8]) -> StoredContent? {
        if flaw == .readsItsBytesBack { return StoredContent(recipient: nil, digest: []) }
        return StandardWebhooks.content(of: request)
    }
}

private struct FlawedAccount: CarrierAccount {
    let flaw: CarrierConformance.Rule?
    let address: CarrierAddress
    let secret: Credentials
    let shown: String?

    var healthQuestion: OutsideCall? { nil }
    func health(_ result: CallResult) -> HealthVerdict { .keepLast(reason: .unclearHealth) }
    func advice(on result: CallResult) -> String? { nil }

    func refresh(_ last: LaneCredentials?) -> CredentialRefresh? {
        flaw == .knowsHowToRefresh ? nil : CredentialRefresh(call(.post)) { _, _ in .failed }
    }

    func exchange(_ attempt: CarriedAttempt) -> any Exchange { FlawedExchange(account: self) }

    func isSame(as other: any CarrierAccount) -> Bool {
        guard let other = other as? FlawedAccount else { return false }
        return other.address == address && (flaw == .knowsItsAccount || other.secret == secret)
    }

    func call(_ method: OutsideCall.Method) -> OutsideCall {
        OutsideCall(
            method,
            flaw == .staysAtItsAddress ? "https://elsewhere.example/" : address.value,
            headers: [.init("Authorization", secret.accessToken)],
            onlyPublicHosts: !address.mayBePrivate
        )
    }

    func evidence(_ result: CallResult) -> Evidence? {
        guard case .success(let answer) = result else { return nil }
        let hidden = flaw == .keepsNoSecretInEvidence ? [] : [Evidence.Hidden(secret.accessToken.utf8, as: "[secret]")]
        return Evidence(status: answer.status, body: answer.body, hiding: hidden)
    }
}

private struct FlawedExchange: Exchange {
    enum State {
        case new, lookingUp, creating, asking, waiting
    }

    let account: FlawedAccount
    var state = State.new

    mutating func next(_ event: ExchangeEvent) -> ExchangeStep {
        switch (state, event) {
        case (.new, .begin):
            state = .waiting
            return .needsCredentials(refused: nil)
        case (.waiting, .credentials(nil)):
            return .done(.retry(after: nil, reason: .credentialRefused, cause: .notSent), nil)
        case (.waiting, .credentials):
            state = .lookingUp
            return .call(account.call(.get), mayTakeEffect: false)
        case (.lookingUp, .called(.success(let answer), _)) where answer.status == 200:
            state = .creating
            return .call(account.call(.post), mayTakeEffect: true)
        case (.lookingUp, .called(let result, _)):
            if account.flaw == .endsEveryExchange { return .call(account.call(.get), mayTakeEffect: false) }
            let outcome: Outcome =
                account.flaw == .neverCountsWhatNeverLeft
                ? .unknown(reason: .timedOut) : .retry(after: nil, reason: .unreachable, cause: .notSent)
            return .done(outcome, account.evidence(result))
        case (.creating, .called(.success(let answer), _)) where answer.status == 409:
            state = .asking
            return .askHealth
        case (.creating, .called(let result, _)):
            if account.flaw == .neverForgetsALostAnswer, case .failure = result {
                return .done(.retry(after: nil, reason: .unreachable, cause: .definiteRefusal), nil)
            }
            let outcome: Outcome =
                switch result {
                case .success(let answer) where (200...299).contains(answer.status): .sent(remoteID: nil, note: nil)
                case .success: .unknown(reason: .serverError)
                case .failure(let failure): Outcome(noAnswer: failure)
                }
            return .done(outcome, account.evidence(result))
        case (.asking, .health):
            return .done(.park(reason: .conflict), nil)
        default:
            preconditionFailure("an event that is no answer to the last step")
        }
    }
}
