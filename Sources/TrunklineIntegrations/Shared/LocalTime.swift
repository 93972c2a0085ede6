internal import Foundation
internal import TrunklineCore

/// Times of day that people write, and the zone in which they mean them.
enum LocalTime {
    /// Whether that is the name of a zone (IANA): `Europe/Madrid`.
    static func isZone(_ name: String) -> Bool { TimeZone(identifier: name) != nil }

    /// The moment of `2026-11-03T09:30` (with seconds or without, a blank for the `T`) in a zone; of one that a change of clocks
    /// leaves out, the moment after it. Nil for what is no such time and for zones that nobody knows.
    static func moment(_ text: String, zone name: String) -> Timestamp? {
        var text = text.replacing(" ", with: "T")
        if text.utf8.count == 16 { text += ":00" }
        guard let asUTC = Timestamp(rfc3339: text + "Z"), let zone = TimeZone(identifier: name) else { return nil }
        var calendar = Calendar(identifier: .gregorian)
        guard let utc = TimeZone(identifier: "UTC") else { return nil }
        calendar.timeZone = utc
        let wanted = Date(timeIntervalSince1970: Double(asUTC.microseconds / 1_000_000))
        let parts = calendar.dateComponents([.year, .month, .day, .hour, .minute, .second], from: wanted)
        calendar.timeZone = zone
        guard let date = calendar.date(from: parts) else { return nil }
        return Timestamp(microseconds: Int64(date.timeIntervalSince1970.rounded()) * 1_000_000)
    }
}
