package import Foundation
package import TrunklineCore

/// How long before an appointment: `24h`, `90m`, or `1d`, which keeps the hour of the clock over a change of clocks.
package struct Offset: Sendable, Hashable, CustomStringConvertible {
    package enum Unit: String, Sendable, Hashable { case minutes = "m", hours = "h", days = "d" }

    package let count: Int
    package let unit: Unit

    /// 1 minute to 60 days; nil for anything else.
    package init?(_ text: String) {
        guard let last = text.last, let unit = Unit(rawValue: String(last)) else { return nil }
        let digits = text.dropLast()
        guard (1...5).contains(digits.utf8.count), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let count = Int(digits), count > 0
        else { return nil }
        self.count = count
        self.unit = unit
        guard duration <= .seconds(60 * 86_400) else { return nil }
    }

    /// Days counted as 24 hours.
    package var duration: Duration {
        switch unit {
        case .minutes: .seconds(count * 60)
        case .hours: .seconds(count * 3_600)
        case .days: .seconds(count * 86_400)
        }
    }

    /// The moment that lies so long before another: minutes and hours as they pass, days by the calendar of the zone.
    package func before(_ moment: Timestamp, in zone: TimeZone) -> Timestamp {
        guard unit == .days else { return moment - duration }
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = zone
        guard let date = calendar.date(byAdding: .day, value: -count, to: moment.date) else { return moment - duration }
        return Timestamp(date)
    }

    /// The word in keys.
    package var description: String { "\(count)\(unit.rawValue)" }
}

/// The hours of the day in which nobody is written to: from the first to just before the last, over midnight where the first is
/// the later one.
package struct QuietHours: Sendable, Hashable, CustomStringConvertible {
    /// Minutes since midnight.
    let from: Int
    let until: Int

    /// `22:00-08:00`; nil for anything else, and for two times that are the same.
    package init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let from = Self.minutes(parts[0]), let until = Self.minutes(parts[1]), from != until
        else { return nil }
        self.from = from
        self.until = until
    }

    private static func minutes(_ text: Substring) -> Int? {
        let bytes = Array(text.utf8)
        guard bytes.count == 5, bytes[2] == 0x3A else { return nil }
        let digits = [bytes[0], bytes[1], bytes[3], bytes[4]].map { Int($0) - 0x30 }
        guard digits.allSatisfy({ (0...9).contains($0) }) else { return nil }
        let (hour, minute) = (digits[0] * 10 + digits[1], digits[2] * 10 + digits[3])
        return hour < 24 && minute < 60 ? hour * 60 + minute : nil
    }

    /// When they end, if `moment` lies in them; nil otherwise. Where a change of clocks leaves the end out, the moment after it.
    package func end(after moment: Timestamp, in zone: TimeZone) -> Timestamp? {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = zone
        let parts = calendar.dateComponents([.hour, .minute], from: moment.date)
        let now = (parts.hour ?? 0) * 60 + (parts.minute ?? 0)
        let isQuiet = from < until ? (from..<until).contains(now) : now >= from || now < until
        guard isQuiet else { return nil }
        let end = calendar.nextDate(
            after: moment.date,
            matching: DateComponents(hour: until / 60, minute: until % 60, second: 0),
            matchingPolicy: .nextTime
        )
        return end.map { Timestamp($0) }
    }

    package var description: String {
        [from, until].map { minutes in
            let (hour, minute) = (minutes / 60, minutes % 60)
            return (hour < 10 ? "0\(hour)" : "\(hour)") + (minute < 10 ? ":0\(minute)" : ":\(minute)")
        }.joined(separator: "-")
    }
}

extension Timestamp {
    /// To the microsecond.
    var date: Date { Date(timeIntervalSince1970: Double(microseconds) / 1_000_000) }

    /// To the second, which is all that calendars are asked for.
    init(_ date: Date) { self.init(microseconds: Int64(date.timeIntervalSince1970.rounded()) * 1_000_000) }
}
