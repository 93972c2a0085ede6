public import CurlDriver
public import TrunklineCore

extension EZWhatsApp {
    /// What a call without an answer means, by the driver's own account of it.
    public static func outcome(failure: HTTPFailure) -> Outcome {
        // The status alone decides, and it was read: only the body is missing.
        if let status = failure.status, (200...299).contains(status) {
            return .sent(remoteID: nil, note: "accepted with status \(status), but the answer broke off")
        }
        switch failure.cause {
        case .refused:
            // The driver will not make this call as it stands: the line's address is at fault, not the job.
            return .laneUnhealthy(reason: .endpointMissing, trouble: .hold(.human))
        case .shortage:
            // Not the provider's, not the line's and not the job's fault, and over as soon as a call ends.
            return .retry(after: .seconds(1), reason: .localShortage, cause: .notSent)
        case .held, .resolve, .connect, .tls, .timeout, .replay, .broken, .cancelled:
            return outcome(
                failure: failure.sent == .maybe,
                timedOut: failure.cause == .timeout,
                withdrawn: failure.cause == .held || failure.cause == .cancelled
            )
        }
    }

    /// What a preflight without an answer means: nothing about the line, whatever went wrong.
    public static func health(failure: HTTPFailure) -> HealthVerdict {
        switch failure.cause {
        case .refused: .held(.human, reason: .endpointMissing, detail: nil)
        case .shortage: .keepLast(reason: .localShortage)
        case .held, .resolve, .connect, .tls, .timeout, .replay, .broken, .cancelled:
            health(failureTimedOut: failure.cause == .timeout)
        }
    }
}

extension HTTPRequest {
    /// The call as the driver takes it, with the driver's usual time-outs.
    public init(_ request: EZWhatsApp.Request) {
        self.init(
            method: request.method == "GET" ? .get : .post,
            url: request.url,
            headers: request.headers.map { ($0.name, $0.value) },
            body: request.body
        )
    }
}
