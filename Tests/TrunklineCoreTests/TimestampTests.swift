import Testing
import TrunklineCore

@Suite struct TimestampTests {
    @Test(
        arguments: [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-12-01T18:00:00Z", 1_796_148_000_000_000),
            ("2026-12-01T20:00:00+02:00", 1_796_148_000_000_000),
            ("2026-12-01T12:30:00-05:30", 1_796_148_000_000_000),
            ("2026-12-01t18:00:00z", 1_796_148_000_000_000),
            ("2026-12-01T18:00:00-00:00", 1_796_148_000_000_000),
            ("2026-12-01T18:00:00.25Z", 1_796_148_000_250_000),
            ("2026-12-01T18:00:00.123456789Z", 1_796_148_000_123_456),
            ("2024-02-29T23:59:59Z", 1_709_251_199_000_000),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
            ("2017-01-01T02:59:60+03:00", 1_483_228_800_000_000),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000_000),
        ] as [(String, Int64)]
    )
    func reads(_ text: String, _ microseconds: Int64) {
        #expect(Timestamp(rfc3339: text)?.microseconds == microseconds)
        #expect(Timestamp(rfc3339: Array(text.utf8))?.microseconds == microseconds)
    }

    @Test(arguments: [
        "", "2026", "2026-12-01", "2026-12-01T18:00:00", "2026-12-01 18:00:00Z", "2026-12-01T18:00Z",
        "2026-13-01T18:00:00Z", "2026-00-01T18:00:00Z", "2026-12-00T18:00:00Z", "2026-11-31T18:00:00Z",
        "2025-02-29T18:00:00Z", "1900-02-29T00:00:00Z", "2026-12-01T24:00:00Z", "2026-12-01T18:60:00Z",
        "2026-12-01T18:00:61Z", "2026-12-01T18:00:60Z", "2016-12-31T23:59:60+01:00", "2026-12-01T18:00:00.Z",
        "2026-12-01T18:00:00+2:00", "2026-12-01T18:00:00+0200", "2026-12-01T18:00:00+24:00",
        "2026-12-01T18:00:00+02:60", "2026-12-01T18:00:00Zz", " 2026-12-01T18:00:00Z", "2026-12-01T18:00:00Z ",
        "0000-12-01T18:00:00Z", "+026-12-01T18:00:00Z", "2026-1a-01T18:00:00Z", "２０２６-12-01T18:00:00Z",
        "2026-12-01T18:00:00.1234567890123456789012Z", "1796148000",
    ])
    func refuses(_ text: String) {
        #expect(Timestamp(rfc3339: text) == nil)
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59.999999Z"), (250_000, "1970-01-01T00:00:00.250Z"),
            (1, "1970-01-01T00:00:00.000001Z"), (951_782_400_000_000, "2000-02-29T00:00:00Z"),
        ] as [(Int64, String)]
    )
    func writes(_ microseconds: Int64, _ text: String) {
        #expect(Timestamp(microseconds: microseconds).rfc3339 == text)
    }

    @Test func roundTrips() {
        withSeeds { seed, generator in
            for _ in 0..<20_000 {
                let value = Int64.random(in: -62_135_596_800_000_000...253_402_300_799_999_999, using: &generator)
                let moment = Timestamp(microseconds: value)
                #expect(Timestamp(rfc3339: moment.rfc3339) == moment, "seed \(seed)")
            }
        }
    }

    @Test func arithmeticSaturates() {
        let moment = Timestamp(microseconds: 1_000_000)
        #expect((moment + .milliseconds(1_500)).microseconds == 2_500_000)
        #expect((moment - .seconds(2)).microseconds == -1_000_000)
        #expect(Timestamp(microseconds: 5_000_000) - moment == .seconds(4))
        #expect((moment + .seconds(Int64.max)).microseconds == .max)
        #expect((moment - .seconds(Int64.max)).microseconds == .min)
        #expect(Timestamp(microseconds: .max).rfc3339.hasSuffix("Z"))
        #expect(Timestamp(microseconds: .min).rfc3339.hasSuffix("Z"))
    }
}
