import Testing

@testable import TrunklineGateway

@Suite struct RateLimitTests {
    @Test func aBucketIsFullAtFirstAndFilledEvenly() {
        var now = ContinuousClock.now
        var bucket = RateLimiter.Bucket(at: now)
        for left in (0..<3).reversed() {
            let state = bucket.take(perMinute: 3, at: now)
            #expect(state.retryAfter == nil && state.left == left)
        }
        #expect(bucket.take(perMinute: 3, at: now).retryAfter == 20)
        now += .seconds(15)
        #expect(bucket.take(perMinute: 3, at: now).retryAfter == 5)
        now += .seconds(5)
        #expect(bucket.take(perMinute: 3, at: now).retryAfter == nil)
        now += .seconds(3_600)
        let state = bucket.take(perMinute: 3, at: now)
        #expect(state.left == 2 && state.reset == 20)
    }
}
