internal import CurlDriver
internal import EventLoop
public import TrunklineCore
public import TrunklineIntegrations

/// Asks a line's API once whether it can send (`GET /health?wakeup=false`, which changes nothing), on a loop of its own:
/// for commands. Workers ask on theirs.
public enum Preflight {
    /// - Parameter certificateAuthorities: a PEM file of authorities to trust instead of the system's.
    public static func ask(
        base: EZWhatsApp.BaseURL,
        token: EZWhatsApp.Token,
        certificateAuthorities: String? = nil
    ) async -> HealthVerdict {
        let loop = EventLoop(name: "preflight")
        loop.start()
        let request = EZWhatsApp.healthRequest(base: base, token: token)
        let verdict: HealthVerdict = await withCheckedContinuation { continuation in
            loop.run {
                let curl = CurlDriver(loop: loop, maximumCalls: 1, certificateAuthorities: certificateAuthorities)
                curl.send(HTTPRequest(request), mayLeave: { true }) { result in
                    let verdict =
                        switch result {
                        case .success(let response): EZWhatsApp.health(status: response.status, body: response.body)
                        case .failure(let failure): EZWhatsApp.health(failure: failure)
                        }
                    curl.close()
                    continuation.resume(returning: verdict)
                }
            }
        }
        loop.stop()
        loop.join()
        return verdict
    }
}
