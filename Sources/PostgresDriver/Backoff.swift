/// Waits between tries to connect: full jitter between a floor and a bound that doubles.
///
/// | failures in a row | wait, seconds |
/// | --- | --- |
/// | 1 | 0.1 to 0.2 |
/// | 2 | 0.1 to 0.4 |
/// | 3 | 0.1 to 0.8 |
/// | 4 | 0.1 to 1.6 |
/// | 5 and more | 0.1 to 3 |
///
/// No longer: a server that is there again must be found within seconds.
struct Backoff {
    static let floor = 100
    static let cap = 3_000

    private(set) var failures = 0

    mutating func reset() { failures = 0 }

    /// The next wait, to the millisecond.
    mutating func next(using generator: inout any RandomNumberGenerator) -> Duration {
        failures = min(failures + 1, 32)
        let bound = min(Self.floor << min(failures, 8), Self.cap)
        return .milliseconds(Int.random(in: Self.floor...bound, using: &generator))
    }
}
