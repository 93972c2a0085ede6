package import TrunklineCore

/// Asks a lane's own health once, which changes nothing: for commands.
package struct Preflight: Sendable {
    /// What the answer means for the lane's gate.
    package let verdict: HealthVerdict
    /// What a person who has just set up the lane would do about it; nil when it can send.
    package let advice: String?

    private init(_ result: CallResult, _ account: any CarrierAccount) {
        verdict = account.health(result)
        advice = account.advice(on: result)
    }

    /// - Parameters:
    ///   - account: of a carrier whose gate opens by health.
    ///   - certificateAuthorities: a PEM file of authorities to trust instead of the system's.
    package static func ask(_ account: any CarrierAccount, certificateAuthorities: String? = nil) async -> Preflight {
        guard let question = account.healthQuestion else { preconditionFailure("a lane without a health question") }
        return Preflight(
            await SingleCall.make(question, certificateAuthorities: certificateAuthorities),
            account
        )
    }
}
