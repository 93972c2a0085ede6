package import TrunklineCore
internal import TrunklineIntegrations

/// A notebook: the carrier of no real system, through which exchanges of several steps are proved. A note is looked up by its
/// key before it is written, because a notebook writes the same note twice when it is asked twice (``NotebookServer``).
package struct NotebookCarrier: Carrier {
    package let kind: CarrierKind = "notebook"

    package let policy = LanePolicy(
        opening: .answers,
        unknownHorizon: .seconds(3_600),
        maximumTries: 8,
        rampLength: .zero,
        reservedSlots: 0,
        // One at a time, so that a test knows which step everybody is at.
        pace: Pace(interval: .zero, concurrency: 1, recipientGap: .zero),
        beginsQuietly: true
    )

    package init() {}

    /// `https`, or `http` to this machine where private hosts are allowed; the paths are the notebook's own.
    package func address(_ text: String, mayBePrivate: Bool) throws(Refusal) -> CarrierAddress {
        let url = try WebAddress(text, field: "url", name: "URL", longest: 200, mayBeLoopback: mayBePrivate)
        guard url.rest.isEmpty else {
            throw Refusal(kind: .invalid, field: "url", reason: "URL must end behind the host")
        }
        return CarrierAddress(value: url.origin, origin: url.origin, shown: url.origin, mayBePrivate: mayBePrivate)
    }

    package func secretHint(_ secret: [UInt8]) throws(Refusal) -> String { "…" + (try Self.token(secret)).suffix(4) }

    package func account(at address: CarrierAddress, secret: [UInt8]) throws(Refusal) -> any CarrierAccount {
        NotebookAccount(address: address, secret: Credentials(accessToken: try Self.token(secret)))
    }

    /// `note_` and at least 16 characters.
    private static func token(_ secret: [UInt8]) throws(Refusal) -> String {
        let text = String(decoding: secret, as: UTF8.self)
        guard text.hasPrefix("note_"), (21...100).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x5F })
        else { throw Refusal(kind: .invalid, field: "secret", reason: "a notebook's secret is note_ and lower case") }
        return text
    }

    package func render(_ work: CarriedWork) throws(Refusal) -> [UInt8] {
        switch work {
        case .deliver(let job): return job.content
        case .send: throw Refusal(kind: .policy, reason: "a notebook takes events")
        }
    }

    package func content(of request: [UInt8]) -> StoredContent? { StandardWebhooks.content(of: request) }
}

/// A notebook's address, and what its first credentials are asked for with.
private struct NotebookAccount: CarrierAccount {
    let address: CarrierAddress
    let secret: Credentials

    var healthQuestion: OutsideCall? { nil }
    func health(_ result: CallResult) -> HealthVerdict { .keepLast(reason: .unclearHealth) }
    func advice(on result: CallResult) -> String? { nil }
    func exchange(_ attempt: CarriedAttempt) -> any Exchange { NotebookExchange(account: self, attempt: attempt) }

    func isSame(as other: any CarrierAccount) -> Bool {
        guard let other = other as? NotebookAccount else { return false }
        return other.address == address && other.secret == secret
    }

    /// What the next ones are asked for with is good for one question: the answer brings another.
    func refresh(_ last: LaneCredentials?) -> CredentialRefresh? {
        let call = OutsideCall(
            .post,
            address.origin + "/token",
            headers: [],
            body: last?.renewal ?? Array(secret.accessToken.utf8),
            onlyPublicHosts: !address.mayBePrivate
        )
        return CredentialRefresh(call) { result, _ in
            guard case .success(let answer) = result else { return .failed }
            if answer.status == 400 { return .refused }
            guard answer.status == 200, let json = try? JSONValue(parsing: answer.body),
                let access = json["access"]?.text, let renewal = json["renewal"]?.text,
                case .number(let seconds)? = json["seconds"], let seconds = Int64(seconds)
            else { return .failed }
            return .renewed(
                LaneCredentials(
                    credentials: Credentials(accessToken: access),
                    renewal: Array(renewal.utf8),
                    lifetime: .seconds(seconds)
                )
            )
        }
    }

    func call(
        _ method: OutsideCall.Method,
        _ path: String,
        with credentials: Credentials,
        body: [UInt8]? = nil
    ) -> OutsideCall {
        OutsideCall(
            method,
            address.origin + path,
            headers: [.init("Authorization", "Bearer " + credentials.accessToken)],
            body: body,
            onlyPublicHosts: !address.mayBePrivate
        )
    }

    func evidence(_ result: CallResult, hiding credentials: Credentials) -> Evidence {
        let hidden = [secret, credentials].map { Evidence.Hidden($0.accessToken.utf8, as: "[secret]") }
        switch result {
        case .success(let answer): return Evidence(status: answer.status, body: answer.body, hiding: hidden)
        case .failure(let failure):
            return Evidence(status: failure.status, body: [], failure: failure.reason, hiding: hidden)
        }
    }
}

extension NotebookAccount: CustomStringConvertible, CustomReflectable {
    var description: String { address.shown }
    /// Without children, so that `dump` shows no secret either.
    var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// `begin` → credentials → the look-up, perhaps with other credentials once more → the note, unless it is there → `done`.
private struct NotebookExchange: Exchange {
    private enum State {
        case new
        /// `refused`: the ones with which the look-up was refused.
        case waiting(refused: Credentials?)
        case lookingUp(Credentials, isSecond: Bool)
        case writing(Credentials)
        case done
    }

    let account: NotebookAccount
    let attempt: CarriedAttempt
    private var state = State.new

    init(account: NotebookAccount, attempt: CarriedAttempt) {
        self.account = account
        self.attempt = attempt
    }

    /// A key holds no character that a URL must escape.
    private var path: String { "/notes?key=" + attempt.key.value }

    mutating func next(_ event: ExchangeEvent) -> ExchangeStep {
        switch (state, event) {
        case (.new, .begin):
            state = .waiting(refused: nil)
            return .needsCredentials(refused: nil)
        case (.waiting, .credentials(nil)):
            state = .done
            return .done(.retry(after: nil, reason: .unreachable, cause: .notSent), nil)
        case (.waiting(let refused), .credentials(let credentials?)):
            state = .lookingUp(credentials, isSecond: refused != nil)
            return .call(account.call(.get, path, with: credentials), mayTakeEffect: false)
        case (.lookingUp(let credentials, let isSecond), .called(let result, let now)):
            return lookedUp(result, with: credentials, isSecond: isSecond, now)
        case (.writing(let credentials), .called(let result, let now)):
            state = .done
            return .done(Self.outcome(ofWriting: result, now), account.evidence(result, hiding: credentials))
        case (.new, _), (.waiting, _), (.lookingUp, _), (.writing, _), (.done, _):
            preconditionFailure("an event that is no answer to the last step")
        }
    }

    private mutating func lookedUp(
        _ result: CallResult,
        with credentials: Credentials,
        isSecond: Bool,
        _ now: Timestamp
    ) -> ExchangeStep {
        switch result {
        case .success(let answer) where answer.status == 404:
            state = .writing(credentials)
            return .call(
                account.call(.post, path, with: credentials, body: attempt.request),
                mayTakeEffect: true
            )
        case .success(let answer) where answer.status == 401 && !isSecond:
            state = .waiting(refused: credentials)
            return .needsCredentials(refused: credentials)
        default:
            state = .done
            return .done(Self.outcome(ofLookingUp: result, now), account.evidence(result, hiding: credentials))
        }
    }

    private static func outcome(ofLookingUp result: CallResult, _ now: Timestamp) -> Outcome {
        switch result {
        case .failure(let failure): Outcome(nothingLearned: failure)
        case .success(let answer):
            switch answer.status {
            // An earlier attempt wrote it.
            case 200: .sent(remoteID: nil, note: nil)
            case 401: .laneUnhealthy(reason: .credentialRefused, trouble: .hold(.human))
            case 429: .laneUnhealthy(reason: .slowDown, trouble: pause(answer, now))
            default: .retry(after: nil, reason: .unreachable, cause: .notSent)
            }
        }
    }

    private static func outcome(ofWriting result: CallResult, _ now: Timestamp) -> Outcome {
        switch result {
        case .failure(let failure): Outcome(noAnswer: failure)
        case .success(let answer):
            switch answer.status {
            case 200...299: .sent(remoteID: nil, note: nil)
            case 400, 422: .park(reason: .messageRefused)
            // The next attempt's look-up asks for others.
            case 401: .retry(after: nil, reason: .credentialRefused, cause: .definiteRefusal)
            case 429: .laneUnhealthy(reason: .slowDown, trouble: pause(answer, now))
            case 408: .unknown(reason: .serverTimeout)
            case 425: .unknown(reason: .tooEarly)
            case 500...599: .unknown(reason: .serverError)
            default: .unknown(reason: .unexpectedStatus)
            }
        }
    }

    private static func pause(_ answer: OutsideAnswer, _ now: Timestamp) -> LaneTrouble {
        .pause(for: RetryAfter.pause(answer.header("Retry-After"), now: now))
    }
}

extension CarrierRegistry {
    /// The program's carriers, and the notebook.
    package static let withNotebook = CarrierRegistry(
        line: standard.line,
        destinations: standard.destinations + [NotebookCarrier()]
    )
}
