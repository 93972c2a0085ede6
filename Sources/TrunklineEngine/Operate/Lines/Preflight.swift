internal import CurlDriver
internal import EventLoop
package import TrunklineCore

/// Asks a lane's own health once, which changes nothing, on a loop of its own: for commands. Workers ask on theirs.
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
        let loop = EventLoop(name: "preflight")
        loop.start()
        let answer: Preflight = await withCheckedContinuation { continuation in
            loop.run {
                let curl = CurlDriver(loop: loop, maximumCalls: 1, certificateAuthorities: certificateAuthorities)
                curl.send(HTTPRequest(question), mayLeave: { true }) { result in
                    curl.close()
                    continuation.resume(returning: Preflight(CallResult(result), account))
                }
            }
        }
        loop.stop()
        loop.join()
        return answer
    }
}
