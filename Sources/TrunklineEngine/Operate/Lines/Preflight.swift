internal import CurlDriver
internal import EventLoop
package import TrunklineCore
package import TrunklineIntegrations

/// Asks a line's API once whether it can send (`GET /health?wakeup=false`, which changes nothing), on a loop of its own:
/// for commands. Workers ask on theirs.
package struct Preflight: Sendable {
    /// What the answer means for the line's gate.
    package let verdict: HealthVerdict
    /// What a person who has just set up the line would do about it; nil when the line is sendable.
    package let advice: String?

    private init(_ result: Result<HTTPResponse, HTTPFailure>, _ base: EZWhatsApp.BaseURL) {
        switch result {
        case .success(let response):
            verdict = EZWhatsApp.health(status: response.status, body: response.body)
            advice = Self.advice(status: response.status, verdict, base)
        case .failure(let failure):
            verdict = EZWhatsApp.health(failure: failure)
            advice = Self.advice(failure.cause, base)
        }
    }

    /// - Parameter certificateAuthorities: a PEM file of authorities to trust instead of the system's.
    package static func ask(
        base: EZWhatsApp.BaseURL,
        token: EZWhatsApp.Token,
        certificateAuthorities: String? = nil
    ) async -> Preflight {
        let loop = EventLoop(name: "preflight")
        loop.start()
        let request = EZWhatsApp.healthRequest(base: base, token: token)
        let answer: Preflight = await withCheckedContinuation { continuation in
            loop.run {
                let curl = CurlDriver(loop: loop, maximumCalls: 1, certificateAuthorities: certificateAuthorities)
                curl.send(HTTPRequest(request), mayLeave: { true }) { result in
                    curl.close()
                    continuation.resume(returning: Preflight(result, base))
                }
            }
        }
        loop.stop()
        loop.join()
        return answer
    }

    // MARK: Mends

    /// The path under which EZWhatsApp's Channel API lives.
    private static let usualPath = "/api/v1"

    private static func advice(status: Int, _ verdict: HealthVerdict, _ base: EZWhatsApp.BaseURL) -> String? {
        if case .open = verdict { return nil }
        switch status {
        case 200:
            switch verdict {
            case .held(_, .unclearHealth, _): return "is this the Channel API? " + address(base)
            case .held(.human, _, _):
                return "somebody must look at the line at EZWhatsApp: does its phone ask to be linked again?"
            default: return "it may clear by itself; workers ask again while there is work"
            }
        case 401:
            return
                "is it this line's token, and still the present one? Give another with --token-file or another --token-…"
        case 402, 403: return "look at the line and its account at EZWhatsApp"
        case 404, 405, 410: return address(base)
        case 300...399: return "redirects are never followed: give the address that it leads to with --base-url"
        case 429: return "workers ask again by themselves"
        case 500...599: return "if it stays, look at the API's own state; workers ask again by themselves"
        default: return address(base)
        }
    }

    private static func advice(_ cause: HTTPFailure.Cause, _ base: EZWhatsApp.BaseURL) -> String {
        switch cause {
        case .resolve: "the host of \(base.origin) has no address: is it spelled rightly?"
        case .connect:
            "nobody can be reached at \(base.origin): are host and port right, and does a firewall let this host out?"
        case .tls:
            "the certificate of \(base.origin) is not for this host, has expired, or is of an authority that is not trusted here "
                + "(--ca-file, for the workers too)"
        case .timeout:
            "\(base.origin) did not answer in time: is it the right host, and does a firewall let this host out?"
        case .broken: "\(base.origin) does not speak HTTP as it should: are scheme and port right?"
        case .shortage:
            "this machine has no descriptor or port left for the question: 'trunkline doctor' shows its limits"
        case .refused, .held, .replay, .cancelled: "look at the base URL"
        }
    }

    private static func address(_ base: EZWhatsApp.BaseURL) -> String {
        base.value.hasSuffix(usualPath)
            ? "look at the base URL \(base)"
            : "the base URL \(base) does not end with \(usualPath), as EZWhatsApp's does: try --base-url \(base.origin + usualPath)"
    }
}
