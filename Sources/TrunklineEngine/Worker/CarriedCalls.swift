internal import CurlDriver
internal import TrunklineCore
internal import TrunklineIntegrations

// What a lane's calls look like and what their answers mean: all that the worker knows of the carrier.

/// A lane's address and secret, ready for calls.
final class LaneAccount {
    private let base: EZWhatsApp.BaseURL
    private let token: EZWhatsApp.Token

    init(base: EZWhatsApp.BaseURL, token: EZWhatsApp.Token) {
        self.base = base
        self.token = token
    }

    /// Whether calls made with `other` are calls made with this.
    func isSame(as other: LaneAccount) -> Bool { token == other.token && base == other.base }

    /// The call of an attempt.
    func send(_ call: Call, _ timing: WorkerConfiguration.Timing) -> HTTPRequest {
        var request = HTTPRequest(EZWhatsApp.textRequest(base: base, token: token, key: call.key, body: call.request))
        request.connectTimeout = timing.connectTimeout
        request.totalTimeout = timing.callTimeout
        return request
    }

    /// The question for the lane's health.
    func question(_ timing: WorkerConfiguration.Timing) -> HTTPRequest {
        var request = HTTPRequest(EZWhatsApp.healthRequest(base: base, token: token))
        request.connectTimeout = timing.connectTimeout
        request.totalTimeout = timing.questionTimeout
        return request
    }

    /// What an attempt has brought, and what is kept of it.
    func outcome(
        of result: Result<HTTPResponse, HTTPFailure>,
        isStamped: Bool,
        attempt: Int32,
        wallTime: Timestamp
    ) -> (Outcome, Evidence) {
        switch result {
        case .success(let response):
            let outcome = EZWhatsApp.outcome(
                status: response.status,
                body: response.body,
                retryAfter: response.retryAfter,
                now: wallTime,
                stamped: isStamped,
                attempt: attempt
            )
            return (outcome, EZWhatsApp.evidence(status: response.status, body: response.body, token: token))
        case .failure(let failure):
            let evidence = EZWhatsApp.evidence(status: failure.status, body: [], failure: failure.reason, token: token)
            return (EZWhatsApp.outcome(failure: failure), evidence)
        }
    }
}

extension LaneSettings {
    /// Kind of carrier, for the shares of the call slots.
    var carrier: String { CarriedCalls.kind }
    var policy: LanePolicy { CarriedCalls.policy }
}

enum CarriedCalls {
    static let kind = "ezwhatsapp"
    /// What holds for every lane: EZWhatsApp says by its own health whether a line can send.
    static let policy = LanePolicy(
        opening: .health,
        unknownHorizon: .seconds(12 * 3_600),
        maximumTries: Retry.maximumTries,
        rampLength: Gate.rampLength,
        reservedSlots: 50,
        pace: .standard
    )
    /// Of a worker's call slots the percentages that other kinds cannot take.
    static let reservedSlots = [kind: policy.reservedSlots]
    /// What becomes of an attempt whose lane cannot be called as configured.
    static let unusable = Outcome.laneUnhealthy(reason: .credentialRefused, trouble: .hold(.human))

    /// The bytes that carry the job, stored and resent unchanged on every try.
    static func render(_ job: SendJob) -> [UInt8] { EZWhatsApp.textRequestBody(job) }

    static func health(_ result: Result<HTTPResponse, HTTPFailure>) -> HealthVerdict {
        switch result {
        case .success(let response): EZWhatsApp.health(status: response.status, body: response.body)
        case .failure(let failure): EZWhatsApp.health(failure: failure)
        }
    }

    /// What a 409 means, once the lane's health is known.
    static func outcome(ofConflict verdict: HealthVerdict) -> Outcome { EZWhatsApp.outcome(ofConflict: verdict) }
}

extension Evidence {
    /// As one text column: PostgreSQL's text cannot hold a NUL.
    var stored: String {
        let text = [failure, body.isEmpty ? nil : bodyText].compactMap { $0 }.joined(separator: "\n")
        return text.contains("\0") ? text.replacing("\0", with: "\u{FFFD}") : text
    }
}
