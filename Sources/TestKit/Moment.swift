private import Glibc

/// Times of one run, all by CLOCK_MONOTONIC, which the simulator's journal uses too: nothing is compared across clocks.
package enum Moment {
    /// CLOCK_MONOTONIC in nanoseconds.
    package static var now: Int64 { read(CLOCK_MONOTONIC) }

    /// Wall clock in microseconds since 1970: for what travels inside jobs.
    package static var wall: Int64 { read(CLOCK_REALTIME) / 1_000 }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// Nanoseconds of so many seconds.
    package static func seconds(_ seconds: Double) -> Int64 { Int64(seconds * 1_000_000_000) }

    /// RFC 3339 of microseconds since 1970, as jobs carry times.
    package static func rfc3339(microseconds: Int64) -> String {
        var seconds = time_t(microseconds / 1_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let fraction = String(microseconds % 1_000_000 + 1_000_000).dropFirst()
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
            + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)).\(fraction)Z"
    }
}
