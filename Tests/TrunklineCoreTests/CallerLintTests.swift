import TestKit
import Testing

@testable import TrunklineCore

@Suite struct CallerLintTests {
    /// 2026-12-01T09:00:00Z is 1796115600.
    private static let now = Timestamp(rfc3339: "2026-12-01T09:00:00Z")!

    @Test(
        "what a key tells of its caller",
        arguments: [
            // The documented patterns, with ids as senders have them.
            ("order:acme.1042:ready", []), ("order:acme.5512345678901:shipped:4025621234567", []),
            ("order:acme.3f2a9c1e-77aa-4b2c-9d3e-0123456789ab:ready", []),
            ("lead:form.65f1c0a2b3d4e5f601234567:first-touch", []),
            ("order:acme.1:shipped:3f2a9c1e-77aa-4b2c-9d3e-0123456789ab", []),
            ("order:acme.1:tracking:ab12cd34ef56ab12cd", []),
            ("order:acme.1:invoice:20261201T090000Z", []), ("order:acme.1:invoice:1796115600", []),
            ("appointment:cal.77:24h:20261201T093000Z", []), ("appointment:cal.77:moved:2026-12-01T09:30:00Z", []),
            ("h:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", []), ("order:1042", []), ("a", []),
            ("order:acme.1:status-deadbeefdeadbeef", []), ("order:acme.1:refunded:1796115600123456789", []),
            ("order:65f1c0a2b3d4e5f601234567", []), ("12345678901234567890", []),
            // Moments of long ago or of another day name something.
            ("order:acme.1:1700000000", []), ("report:2026-11-03:daily", []), ("order:acme.1:2020-12-01T09:00:00Z", []),
            ("order:acme.1796122801", []),
            // The moment of the call.
            ("order:acme.1:ready:1796115600", [.keyHoldsTime]), ("order:acme.1:ready:1796115601123", [.keyHoldsTime]),
            ("order:acme.1:ready.1796115601123456", [.keyHoldsTime]), ("1796115300-order", [.keyHoldsTime]),
            ("order:acme.1:2026-12-01T08:59:58Z", [.keyHoldsTime]), ("order:acme.1:20261201T085958Z", [.keyHoldsTime]),
            ("order.2026-12-01_10-59-58", [.keyHoldsTime]), ("order-20261201085958", [.keyHoldsTime]),
            ("msg:2026-12-01T09:00", [.keyHoldsTime]),
            // A random id that names nothing.
            ("3f2a9c1e-77aa-4b2c-9d3e-0123456789ab", [.keyIsRandom]),
            ("msg-3F2A9C1E-77AA-4B2C-9D3E-0123456789AB", [.keyIsRandom]),
            ("order:acme.1:ready:3f2a9c1e-77aa-4b2c-9d3e-0123456789ab", [.keyIsRandom]),
            ("9f86d081884c7d65", [.keyIsRandom]), ("9f86d081884c7d6", []), ("deadbeefdeadbeef", []),
            ("order:acme.1:1796115600:3f2a9c1e77aa4b2c9d3e", [.keyHoldsTime, .keyIsRandom]),
        ] as [(String, [CallerLint.Rule])]
    )
    func keys(_ key: String, _ expected: [CallerLint.Rule]) throws {
        #expect(try CallerLint.findings(IdempotencyKey(key), now: Self.now) == expected, "\(key)")
    }

    @Test func anyKeyHasAnAnswer() throws {
        try withSeeds { _, random in
            let letters = Array("0123456789abcdefABCDEFTZz:.-_20261201T")
            for _ in 0..<20_000 {
                let key = String((0..<Int.random(in: 1...128, using: &random)).map { _ in random.pick(letters) })
                _ = try CallerLint.findings(IdempotencyKey(key), now: Self.now)
            }
        }
    }

    @Test func theSameTextUnderAnotherKeyIsSeenForADay() throws {
        var texts = RecentTexts()
        let (line, other) = (LaneName.line(try LineID("a")), LaneName.line(try LineID("b")))
        let text = Array(repeating: UInt8(1), count: 16)
        func see(_ content: [UInt8], _ lane: LaneName, _ key: String, hours: Int) throws -> Bool {
            texts.see(content, on: lane, key: try IdempotencyKey(key), now: Self.now + .seconds(hours * 3_600))
        }
        #expect(try !see(text, line, "k1", hours: 0))
        #expect(try !see(text, line, "k1", hours: 1))
        #expect(try !see(text, other, "k2", hours: 1))
        #expect(try !see(Array(repeating: 2, count: 16), line, "k2", hours: 1))
        #expect(try see(text, line, "k2", hours: 2))
        #expect(try see(text, line, "k3", hours: 25))
        #expect(try !see(text, line, "k4", hours: 49))
    }

    @Test func memoryIsBounded() throws {
        var texts = RecentTexts(capacity: 100)
        let line = LaneName.line(try LineID("a"))
        for number in 0..<1_000 {
            let content = (0..<16).map { UInt8(truncatingIfNeeded: number >> ($0 % 2 * 8)) }
            #expect(texts.see(content, on: line, key: try IdempotencyKey("k\(number)"), now: Self.now) == false)
            #expect(texts.count <= 100)
        }
        // The newest fifty at least are still known.
        let content = (0..<16).map { UInt8(truncatingIfNeeded: 960 >> ($0 % 2 * 8)) }
        #expect(texts.see(content, on: line, key: try IdempotencyKey("again"), now: Self.now))
    }
}
