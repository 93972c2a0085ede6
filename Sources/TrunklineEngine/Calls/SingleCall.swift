internal import CurlDriver
internal import EventLoop
internal import TrunklineCore

/// One call on a loop of its own: for commands. Workers call on theirs.
enum SingleCall {
    /// - Parameter certificateAuthorities: a PEM file of authorities to trust instead of the system's.
    static func make(_ call: OutsideCall, certificateAuthorities: String?) async -> CallResult {
        let loop = EventLoop(name: "call")
        loop.start()
        let answer: CallResult = await withCheckedContinuation { continuation in
            loop.run {
                let curl = CurlDriver(loop: loop, maximumCalls: 1, certificateAuthorities: certificateAuthorities)
                curl.send(HTTPRequest(call), mayLeave: { true }) { result in
                    curl.close()
                    continuation.resume(returning: CallResult(result))
                }
            }
        }
        loop.stop()
        loop.join()
        return answer
    }
}
