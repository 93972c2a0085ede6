internal import TrunklineCore
internal import TrunklineEngine

/// A lane as people read it, whoever is at its end.
enum LaneWords {
    /// `1/3s, 1 at once, 10s per person`; without persons: `unlimited, 8 at once`.
    static func pace(_ pace: Pace, hasPersons: Bool = true) -> String {
        let interval = pace.interval / .milliseconds(1)
        let rate = pace.isUnlimited ? "unlimited" : "1/" + span(interval)
        let gap = hasPersons ? ", \(span(pace.recipientGap / .milliseconds(1))) per person" : ""
        return "\(rate), \(pace.concurrency) at once\(gap)"
    }

    /// `, 500 a day of Asia/Jerusalem`, or nothing.
    static func cap(_ lane: LaneRecord) -> String {
        lane.dailyCap == .unlimited ? "" : ", \(lane.dailyCap) a day of \(lane.timeZone)"
    }

    /// For tables.
    static func shortCap(_ lane: LaneRecord) -> String {
        lane.dailyCap == .unlimited ? "-" : "\(lane.dailyCap) (\(lane.timeZone))"
    }

    static func secret(_ lane: LaneRecord) -> String {
        switch lane.secretPlace {
        case .sealed: lane.secretHint
        case .reference(let reference): reference + (lane.secretHint.isEmpty ? "" : " (\(lane.secretHint))")
        }
    }

    /// Gate, and the hold while there is one.
    static func gate(_ lane: LaneRecord) -> [(String, String)] {
        var facts = [
            (
                "gate",
                lane.gate + (lane.gateReason.map { " (\($0))" } ?? "") + " since " + Output.time(lane.gateSince)
                    + (lane.nextProbeAt.map { ", asked again at \(Output.time($0)) while it has work" } ?? "")
            )
        ]
        facts += hold(lane)
        return facts
    }

    /// The hold while there is one.
    static func hold(_ lane: LaneRecord) -> [(String, String)] {
        guard let hold = lane.hold, lane.isHeld(at: lane.readAt) else { return [] }
        let until = hold.until.map { ", until \(Output.time($0))" } ?? ""
        return [("held", "\(hold.reason), since \(Output.time(hold.since))\(until)")]
    }

    /// What stands at the end: cap, history, work.
    static func rest(_ lane: LaneRecord) -> [(String, String)] {
        [
            (
                "daily cap",
                lane.dailyCap == .unlimited
                    ? "none" : "\(lane.dailyCap) a day of \(lane.timeZone), \(lane.capUsed) used today"
            )
        ] + history(lane)
    }

    /// History and work.
    static func history(_ lane: LaneRecord) -> [(String, String)] {
        var facts = [("added", Output.time(lane.createdAt))]
        if let removed = lane.removedAt { facts.append(("removed", Output.time(removed))) }
        let jobs = lane.unfinished.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
        facts.append(("unfinished", jobs.isEmpty ? "none" : jobs.joined(separator: ", ")))
        return facts
    }

    private static func span(_ milliseconds: Double) -> String {
        let whole = Int64(milliseconds)
        if whole == 0 { return "0" }
        if whole % 3_600_000 == 0 { return "\(whole / 3_600_000)h" }
        if whole % 60_000 == 0 { return "\(whole / 60_000)min" }
        return whole % 1_000 == 0 ? "\(whole / 1_000)s" : "\(whole)ms"
    }
}
