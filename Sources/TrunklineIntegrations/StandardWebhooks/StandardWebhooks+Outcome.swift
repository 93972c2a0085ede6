package import TrunklineCore

extension StandardWebhooks {
    /// What an answer means: the specification's table, made finer where automation services answer in their own way.
    ///
    /// - Parameter now: the time of the answer, for a `Retry-After` that is a date.
    package static func outcome(_ answer: OutsideAnswer, now: Timestamp) -> Outcome {
        let pause = LaneTrouble.pause(for: RetryAfter.pause(answer.header("Retry-After"), now: now))
        switch answer.status {
        case 200...299:
            return .sent(remoteID: nil, note: nil)
        case 300...399:
            return .park(reason: .redirected)
        case 400 where saysQueueIsFull(answer.body), 429:
            return .laneUnhealthy(reason: .slowDown, trouble: pause)
        case 400, 413, 415, 422:
            return .park(reason: .messageRefused)
        case 401:
            return .laneUnhealthy(reason: .credentialRefused, trouble: .hold(.human))
        case 402, 403:
            return .laneUnhealthy(reason: .lineRefused, trouble: .hold(.human))
        case 404:
            // n8n answers so while a workflow is switched off or being edited.
            return .laneUnhealthy(reason: .endpointMissing, trouble: .hold(.transient))
        case 405:
            return .laneUnhealthy(reason: .endpointMissing, trouble: .hold(.human))
        case 410:
            // The receiver wants no more of it, ever.
            return .laneUnhealthy(reason: .endpointGone, trouble: .hold(.human))
        case 408:
            return .unknown(reason: .serverTimeout)
        case 409:
            return .park(reason: .conflict)
        case 423:
            return .laneUnhealthy(reason: .lineLocked, trouble: .hold(.transient))
        case 425:
            return .unknown(reason: .tooEarly)
        case 400...499:
            return .park(reason: .unexpectedStatus)
        case 502, 503, 504:
            // Overload, most often: the whole endpoint is given the time that it asks for. Whoever stands before it cannot
            // say whether it was delivered.
            return .laneUnhealthy(reason: .serverError, trouble: pause)
        case 500...599:
            return .unknown(reason: .serverError)
        default:
            // 1xx is no final answer, and nothing above 599 is HTTP.
            return .unknown(reason: .unexpectedStatus)
        }
    }

    /// What a person who has just set up the destination would do about an answer; nil when it took the event.
    package static func advice(status: Int) -> String? {
        switch status {
        case 200...299: nil
        case 300...399: "redirects are never followed: give the address that it leads to with --url"
        case 401: "the receiver does not take the signature: has it the same secret? Give another with --secret-file"
        case 402, 403: "the receiver does not take events from here: look at its settings"
        case 404: "nothing listens at that URL: is it spelled rightly, and is the workflow behind it switched on?"
        case 405, 410: "the receiver wants no more events at this URL: give another with --url"
        case 429: "workers send again by themselves"
        case 500...599: "if it stays, look at the receiver's own state; workers send again by themselves"
        default: "look at what the receiver says"
        }
    }

    /// Make refuses so while a scenario has too much to do.
    private static func saysQueueIsFull(_ body: [UInt8]) -> Bool {
        String(decoding: body.prefix(Evidence.maximumBodyBytes), as: UTF8.self).lowercased().contains("queue is full")
    }
}
