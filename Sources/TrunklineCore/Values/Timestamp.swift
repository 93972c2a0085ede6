/// A moment of wall-clock time: microseconds since 1970-01-01T00:00:00Z, leap seconds not counted, as in PostgreSQL.
public struct Timestamp: Sendable, Hashable, Comparable {
    /// Microseconds since 1970-01-01T00:00:00Z; negative before.
    public var microseconds: Int64

    public init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    public static func < (a: Timestamp, b: Timestamp) -> Bool { a.microseconds < b.microseconds }

    /// The moment `duration` later; fractions of a microsecond are dropped, an overflow saturates.
    public static func + (moment: Timestamp, duration: Duration) -> Timestamp {
        let (seconds, attoseconds) = duration.components
        let (whole, over) = seconds.multipliedReportingOverflow(by: 1_000_000)
        if over { return Timestamp(microseconds: seconds < 0 ? .min : .max) }
        let (part, partOver) = whole.addingReportingOverflow(attoseconds / 1_000_000_000_000)
        if partOver { return Timestamp(microseconds: seconds < 0 ? .min : .max) }
        let (sum, sumOver) = moment.microseconds.addingReportingOverflow(part)
        return Timestamp(microseconds: sumOver ? (part < 0 ? .min : .max) : sum)
    }

    public static func - (moment: Timestamp, duration: Duration) -> Timestamp {
        moment + (.zero - duration)
    }

    /// The time from `earlier` to `later`; negative when they are the other way round.
    public static func - (later: Timestamp, earlier: Timestamp) -> Duration {
        let (difference, over) = later.microseconds.subtractingReportingOverflow(earlier.microseconds)
        return .microseconds(over ? (later > earlier ? Int64.max : Int64.min) : difference)
    }

    /// Reads RFC 3339 with its offset (`2026-12-01T18:00:00Z`, `2026-12-01T20:00:00.25+02:00`), years 0001 to 9999.
    ///
    /// Digits beyond microseconds are dropped, as PostgreSQL's precision would. A leap second (`23:59:60` in UTC) is
    /// the first moment of the next day. Nil for anything else, also for a time without an offset: the sender's time zone is not guessed.
    public init?(rfc3339 text: some StringProtocol) {
        let text = String(text)
        guard let value = Timestamp.parse(text.utf8Span.span) else { return nil }
        self = value
    }

    /// The same for UTF-8 bytes.
    public init?(rfc3339 utf8: [UInt8]) {
        guard let value = Timestamp.parse(utf8.span) else { return nil }
        self = value
    }

    private static func parse(_ text: Span<UInt8>) -> Timestamp? {
        // The shortest form is 2026-12-01T18:00:00Z; the longest we care to read has nine digits and an offset.
        guard text.count >= 20, text.count <= 40 else { return nil }
        func number(_ at: Int, _ digits: Int) -> Int? {
            var value = 0
            for i in at..<at + digits {
                let digit = text[i] &- 0x30
                guard digit < 10 else { return nil }
                value = value * 10 + Int(digit)
            }
            return value
        }
        guard
            let year = number(0, 4), text[4] == 0x2D, let month = number(5, 2), text[7] == 0x2D,
            let day = number(8, 2), text[10] == 0x54 || text[10] == 0x74,
            let hour = number(11, 2), text[13] == 0x3A, let minute = number(14, 2), text[16] == 0x3A,
            let second = number(17, 2)
        else { return nil }
        guard year >= 1, (1...12).contains(month), day >= 1, day <= daysInMonth(year, month) else { return nil }
        guard hour < 24, minute < 60, second <= 60 else { return nil }
        var at = 19
        var fraction: Int64 = 0
        if text[at] == 0x2E {
            at += 1
            let first = at
            var scale: Int64 = 100_000
            while at < text.count, text[at] &- 0x30 < 10 {
                fraction += Int64(text[at] &- 0x30) * scale
                scale /= 10
                at += 1
            }
            guard at > first else { return nil }
        }
        guard at < text.count else { return nil }
        var offsetMinutes = 0
        switch text[at] {
        case 0x5A, 0x7A:
            guard at + 1 == text.count else { return nil }
        case 0x2B, 0x2D:
            guard at + 6 == text.count, text[at + 3] == 0x3A, let h = number(at + 1, 2), let m = number(at + 4, 2),
                h < 24, m < 60
            else { return nil }
            offsetMinutes = (h * 60 + m) * (text[at] == 0x2D ? -1 : 1)
        default:
            return nil
        }
        let minutes = daysSinceEpoch(year, month, day) * 1_440 + hour * 60 + minute - offsetMinutes
        // RFC 3339 section 5.7: a leap second exists only at 23:59:60 UTC.
        if second == 60 {
            let minuteOfDay = ((minutes % 1_440) + 1_440) % 1_440
            guard minuteOfDay == 1_439 else { return nil }
            return Timestamp(microseconds: Int64(minutes + 1) * 60_000_000)
        }
        return Timestamp(microseconds: (Int64(minutes) * 60 + Int64(second)) * 1_000_000 + fraction)
    }

    /// RFC 3339 in UTC: no fraction for whole seconds, three digits for whole milliseconds, else six. One moment has one text.
    public var rfc3339: String {
        func floorDivide(_ a: Int64, by b: Int64) -> (Int64, Int64) {
            let (q, r) = a.quotientAndRemainder(dividingBy: b)
            return r < 0 ? (q - 1, r + b) : (q, r)
        }
        let (seconds, micros) = floorDivide(microseconds, by: 1_000_000)
        let (days, secondOfDay) = floorDivide(seconds, by: 86_400)
        let (year, month, day) = Timestamp.civil(days: Int(days))
        var out: [UInt8] = []
        out.reserveCapacity(27)
        func put(_ value: Int, _ digits: Int) {
            var scale = 1
            for _ in 1..<digits { scale *= 10 }
            while scale > 0 {
                out.append(UInt8(value / scale % 10) + 0x30)
                scale /= 10
            }
        }
        if (0...9_999).contains(year) {
            put(year, 4)
        } else {
            out.append(contentsOf: String(year).utf8)
        }
        out.append(0x2D)
        put(month, 2)
        out.append(0x2D)
        put(day, 2)
        out.append(0x54)
        put(Int(secondOfDay / 3_600), 2)
        out.append(0x3A)
        put(Int(secondOfDay / 60 % 60), 2)
        out.append(0x3A)
        put(Int(secondOfDay % 60), 2)
        if micros != 0 {
            out.append(0x2E)
            if micros % 1_000 == 0 { put(Int(micros / 1_000), 3) } else { put(Int(micros), 6) }
        }
        out.append(0x5A)
        return String(decoding: out, as: UTF8.self)
    }

    /// The moment of a civil date and time in UTC, without any check of ranges.
    package init(year: Int, month: Int, day: Int, secondOfDay: Int) {
        microseconds = (Int64(Timestamp.daysSinceEpoch(year, month, day)) * 86_400 + Int64(secondOfDay)) * 1_000_000
    }

    package static func daysInMonth(_ year: Int, _ month: Int) -> Int {
        switch month {
        case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    // The two functions below are Howard Hinnant's days_from_civil and civil_from_days: the year begins in March, so
    // that the leap day is its last. https://howardhinnant.github.io/date_algorithms.html
    private static func daysSinceEpoch(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func civil(days: Int) -> (year: Int, month: Int, day: Int) {
        let z = days + 719_468
        let era = (z >= 0 ? z : z - 146_096) / 146_097
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let mp = (5 * dayOfYear + 2) / 153
        let month = mp < 10 ? mp + 3 : mp - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * mp + 2) / 5 + 1)
    }
}

extension Timestamp: CustomStringConvertible {
    public var description: String { rfc3339 }
}
