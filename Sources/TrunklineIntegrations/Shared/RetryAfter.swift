package import TrunklineCore

/// The `Retry-After` header (RFC 9110, section 10.2.3): seconds, or an HTTP date in one of its three forms.
package enum RetryAfter {
    /// Used when the header is absent or unreadable.
    package static let usual: Duration = .seconds(30)
    /// Never longer, whatever the header says.
    package static let longest: Duration = .seconds(3_600)
    /// Never shorter: a `0` must not become a tight loop.
    package static let shortest: Duration = .seconds(1)

    /// How long to pause. A date that has passed counts as unreadable: then one of the two clocks is wrong.
    package static func pause(_ header: String?, now: Timestamp) -> Duration {
        guard let text = header?.drop(while: { $0 == " " || $0 == "\t" }), !text.isEmpty else { return usual }
        let value = String(text).trimmingEnd()
        if value.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            // More digits than an Int64 holds still mean "long".
            guard let seconds = Int64(value), seconds < 3_600 else { return longest }
            return max(shortest, .seconds(seconds))
        }
        guard let moment = date(value), moment > now else { return usual }
        return min(longest, max(shortest, moment - now))
    }

    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// Reads `Sun, 06 Nov 1994 08:49:37 GMT` and the two obsolete forms that a recipient must accept:
    /// `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`. Always UTC.
    static func date(_ text: String) -> Timestamp? {
        let parts = text.split(whereSeparator: { $0 == " " || $0 == "," || $0 == "-" }).map(String.init)
        let day: String
        let month: String
        let year: String
        let clock: String
        if parts.count == 6, parts[5] == "GMT" {
            (day, month, year, clock) = (parts[1], parts[2], parts[3], parts[4])
        } else if parts.count == 5 {
            (day, month, year, clock) = (parts[2], parts[1], parts[4], parts[3])
        } else {
            return nil
        }
        let time = clock.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard
            let d = number(day, 1...2), let m = months.firstIndex(of: month).map({ $0 + 1 }),
            var y = number(year, 2...4), time.count == 3, let hour = number(time[0], 2...2),
            let minute = number(time[1], 2...2), let second = number(time[2], 2...2)
        else { return nil }
        // Two digits: the century that brings it closest is good enough for a header that means "soon".
        if year.utf8.count == 2 { y += y < 70 ? 2_000 : 1_900 }
        guard y >= 1_970, (1...Timestamp.daysInMonth(y, m)).contains(d), hour < 24, minute < 60, second <= 60 else {
            return nil
        }
        return Timestamp(year: y, month: m, day: d, secondOfDay: hour * 3_600 + minute * 60 + second)
    }

    private static func number(_ text: String, _ digits: ClosedRange<Int>) -> Int? {
        guard digits.contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int(text)
    }
}

extension String {
    fileprivate func trimmingEnd() -> String {
        var text = self
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }
}
