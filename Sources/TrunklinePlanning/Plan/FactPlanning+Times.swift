internal import Foundation
internal import TrunklineCore

/// When a notice may go.
struct NoticeTimes {
    var notBefore: Timestamp?
    let sendBefore: Timestamp?
    var quiet: Plan.Quiet?
}

extension FactPlanning {
    enum Timing {
        case times(NoticeTimes)
        /// Nothing went wrong: its time was over before anybody could know of it.
        case past(String)
    }

    func times(_ rule: NoticeRule) throws(Refusal) -> Timing {
        // Before anything is asked of a calendar, which counts its way through any number of years.
        for (moment, field) in [(factAt, "factAt"), (start, "start")] {
            guard let moment, (try? SendJob.checkYear(ofNotBefore: moment)) == nil else { continue }
            throw Refusal(kind: .invalid, field: field, reason: "\(field) is not in the years 2000 to 2100")
        }
        var wanted: Timestamp?
        if let before = rule.before {
            guard let start else {
                throw Refusal(kind: .invalid, field: "notBefore", reason: "the appointment does not say when it begins")
            }
            let moment = before.before(start, in: readingZone(rule))
            guard moment > now else {
                return .past("the reminder's time, \(moment), had passed when the appointment came")
            }
            wanted = moment
        }
        let sendBefore = sendBefore(rule, wanted)
        if sendBefore <= now {
            throw Refusal(
                kind: .late,
                field: "sendBefore",
                reason: "the notice is stale: it was worthless from \(sendBefore) on"
            )
        }
        var times = NoticeTimes(notBefore: wanted, sendBefore: sendBefore)
        if let quiet = source.lines[rule.line]?.quietHours, let zone = customerZone(rule),
            let end = quiet.end(after: wanted ?? now, in: zone)
        {
            guard end < sendBefore else {
                throw Refusal(
                    kind: .late,
                    field: "sendBefore",
                    reason: "quiet hours last until \(end), and the notice is worthless from \(sendBefore) on"
                )
            }
            times.notBefore = end
            times.quiet = Plan.Quiet(hours: quiet, timeZone: zone)
        }
        return .times(times)
    }

    private func sendBefore(_ rule: NoticeRule, _ wanted: Timestamp?) -> Timestamp {
        let end = (wanted ?? factAt) + (rule.lifetime ?? rule.moment.lifetime)
        // Nobody wants to hear of an appointment that has begun, not even that it was cancelled.
        guard rule.moment.kind == .appointment, let start else { return end }
        return min(end, start)
    }

    private var start: Timestamp? {
        guard case .appointment(let appointment) = fact else { return nil }
        if let start = appointment.start { return start }
        guard case .appointment(let before)? = known.record else { return nil }
        return before.start
    }

    // MARK: Zones

    /// In which the customer reads times.
    func readingZone(_ rule: NoticeRule) -> TimeZone {
        appointmentZone ?? source.timeZone ?? lineZone(rule) ?? .gmt
    }

    /// In which the customer sleeps, as far as anybody knows.
    private func customerZone(_ rule: NoticeRule) -> TimeZone? {
        known.contact?.timeZone ?? appointmentZone ?? lineZone(rule)
    }

    func lineZone(_ rule: NoticeRule) -> TimeZone? { source.lines[rule.line]?.timeZone ?? source.timeZone }

    private var appointmentZone: TimeZone? {
        guard case .appointment(let appointment) = fact else { return nil }
        var name = appointment.timeZone
        if name == nil, case .appointment(let before)? = known.record { name = before.timeZone }
        return name.flatMap { TimeZone(identifier: $0) }
    }
}
