internal import HTTPTypes
internal import Synchronization
internal import TrunklineCore

/// How often each API key may ask: a bucket per key, of this process alone.
final class RateLimiter: Sendable {
    /// What became of one request.
    struct State: Sendable, Hashable {
        let limit: Int
        /// Requests that may come at once now.
        let left: Int
        /// Seconds until the bucket is full again.
        let reset: Int
        /// Seconds until the next request may come; nil: this one may.
        let retryAfter: Int?

        /// https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-10.html
        var headers: [Answer.Header] {
            [
                Answer.Header(.rateLimitPolicy, "\"key\";q=\(limit);w=60"),
                Answer.Header(.rateLimit, "\"key\";r=\(left);t=\(reset)"),
            ]
        }
    }

    /// The bucket of a key that may ask `perMinute` times: full at first, and filled evenly.
    struct Bucket: Sendable, Hashable {
        /// What is missing, in requests.
        private(set) var missing: Double = 0
        private(set) var at: ContinuousClock.Instant

        init(at now: ContinuousClock.Instant) { at = now }

        mutating func take(perMinute limit: Int, at now: ContinuousClock.Instant) -> State {
            let perSecond = Double(limit) / 60
            missing = max(0, missing - perSecond * ((now - at) / .seconds(1)))
            at = now
            let isAllowed = missing + 1 <= Double(limit)
            if isAllowed { missing += 1 }
            return State(
                limit: limit,
                left: max(0, Int(Double(limit) - missing)),
                reset: Int((missing / perSecond).rounded(.up)),
                retryAfter: isAllowed ? nil : max(1, Int(((missing + 1 - Double(limit)) / perSecond).rounded(.up)))
            )
        }
    }

    private let buckets = Mutex<[APIKeyID: Bucket]>([:])

    func take(_ key: APIKeyID, perMinute limit: Int) -> State {
        let now = ContinuousClock.now
        return buckets.withLock { $0[key, default: Bucket(at: now)].take(perMinute: limit, at: now) }
    }
}
