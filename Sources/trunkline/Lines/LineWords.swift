internal import TrunklineCore
internal import TrunklineEngine

/// A line as people read it.
enum LineWords {
    /// `1/3s, 1 at once, 10s per person`.
    static func pace(_ pace: Pace) -> String {
        let interval = pace.interval / .milliseconds(1)
        let rate = pace.isUnlimited ? "unlimited" : "1/" + span(interval)
        return "\(rate), \(pace.concurrency) at once, \(span(pace.recipientGap / .milliseconds(1))) per person"
    }

    /// `, 500 a day of Asia/Jerusalem`, or nothing.
    static func cap(_ line: Line) -> String {
        line.dailyCap == .unlimited ? "" : ", \(line.dailyCap) a day of \(line.timeZone)"
    }

    private static func span(_ milliseconds: Double) -> String {
        let whole = Int64(milliseconds)
        if whole == 0 { return "0" }
        if whole % 3_600_000 == 0 { return "\(whole / 3_600_000)h" }
        if whole % 60_000 == 0 { return "\(whole / 60_000)min" }
        return whole % 1_000 == 0 ? "\(whole / 1_000)s" : "\(whole)ms"
    }

    static func token(_ line: Line) -> String {
        switch line.tokenPlace {
        case .sealed: line.tokenHint
        case .reference(let reference): reference + (line.tokenHint.isEmpty ? "" : " (\(line.tokenHint))")
        }
    }

    static func state(_ line: Line) -> String {
        if line.removedAt != nil { return "removed" }
        if line.isHeld(at: line.readAt) { return "held by hand" }
        return line.gate
    }
}
