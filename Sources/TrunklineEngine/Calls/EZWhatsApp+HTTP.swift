internal import CurlDriver
internal import TrunklineCore
internal import TrunklineIntegrations

// For the callers that do not speak to the carriers' port yet.

extension EZWhatsApp {
    static func outcome(failure: HTTPFailure) -> Outcome { Outcome(noAnswer: OutsideFailure(failure)) }
    static func health(failure: HTTPFailure) -> HealthVerdict { HealthVerdict(noAnswer: OutsideFailure(failure)) }
}
