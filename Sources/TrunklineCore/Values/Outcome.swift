/// How one attempt ended, as the carrier understood the answer. The engine decides what each outcome does.
package enum Outcome: Sendable, Hashable {
    /// Accepted by the other side: final. `remoteID` is the id it gave, if one was found; `note` names an oddity worth
    /// one line in the log.
    case sent(remoteID: String?, note: String?)
    /// Surely not accepted this time; worth another try with the same key and bytes.
    /// `after` is the other side's wish, nil for the usual back-off.
    case retry(after: Duration?, reason: Reason, cause: RetryCause)
    /// No further try by itself: a person or a fix must look.
    case park(reason: Reason)
    /// Not the job's fault: the try is given back, the job keeps its place, the lane pauses or is held.
    case laneUnhealthy(reason: Reason, trouble: LaneTrouble)
    /// The request left us and no usable answer came: it may have been sent.
    case unknown(reason: Reason)
    /// The answer alone does not decide: ask the lane's health, then call the carrier's rule for it.
    /// Never stored; the attempt is not settled before the answer.
    case recheckHealth(reason: Reason)

    /// The outcome's word in metrics: `sent`, `retry`, `park`, `lane_unhealthy`, `unknown`, `recheck_health`.
    package var code: String {
        switch self {
        case .sent: "sent"
        case .retry: "retry"
        case .park: "park"
        case .laneUnhealthy: "lane_unhealthy"
        case .unknown: "unknown"
        case .recheckHealth: "recheck_health"
        }
    }

    /// The reason, nil for `sent`.
    package var reason: Reason? {
        switch self {
        case .sent: nil
        case .retry(_, let reason, _), .park(let reason), .laneUnhealthy(let reason, _), .unknown(let reason),
            .recheckHealth(let reason):
            reason
        }
    }

    /// Whether this attempt may have reached a person without being known to have: such an attempt stamps its job.
    package var mayHaveSent: Bool {
        switch self {
        case .sent, .retry: false
        case .unknown: true
        case .park(let reason), .laneUnhealthy(let reason, _), .recheckHealth(let reason): reason.mayHaveSent
        }
    }

    /// What the outcome says about the lane beyond this job: nil for nothing.
    package var laneTrouble: LaneTrouble? {
        switch self {
        case .laneUnhealthy(_, let trouble): trouble
        // A redirect is a wrong base URL: without the hold every job of the line would be parked behind this one.
        case .park(.redirected): .hold(.human)
        case .sent, .retry, .park, .unknown, .recheckHealth: nil
        }
    }

    /// Whether the call says something about the provider or the network: no answer at all, or a 5xx.
    package var isProviderFailure: Bool {
        switch reason {
        case .serverError, .serverTimeout, .timedOut, .connectionLost, .unreachable: true
        default: false
        }
    }

    /// Whether a cached OPEN answer of the lane's health must be dropped: any failure other than one about the message.
    package var dropsHealth: Bool {
        switch self {
        case .sent, .park(.messageRefused): false
        case .retry(_, let reason, _) where reason.isOurOwn: false
        case .retry, .park, .laneUnhealthy, .unknown, .recheckHealth: true
        }
    }
}

/// Why a try does not count the way an answer does.
package enum RetryCause: String, Sendable, Hashable, CaseIterable {
    /// The other side said no: counts as one of the job's tries.
    case definiteRefusal = "definite_refusal"
    /// No byte of the request was allowed to leave: the try is given back.
    case notSent = "not_sent"
}

/// What a lane must do.
package enum LaneTrouble: Sendable, Hashable {
    /// Send nothing for that long; no probe is needed afterwards.
    case pause(for: Duration)
    /// Hold the gate.
    case hold(HoldKind)
}

/// Who can end a hold.
package enum HoldKind: String, Sendable, Hashable, CaseIterable {
    /// It may pass by itself: probe with back-off.
    case transient
    /// A person must act (scan a code, change a token, fix the address): alert at once.
    case human
}

/// What a lane's own health answer means for its gate.
package enum HealthVerdict: Sendable, Hashable {
    /// Sendable. `note` names a disagreement inside the answer worth one line in the log.
    case open(note: String?)
    /// Not sendable, or the answer is not clear enough to send. `detail` holds the state words, cleaned, at most
    /// 120 characters, safe to log.
    case held(HoldKind, reason: Reason, detail: String?)
    /// No answer about the line: keep the last OPEN answer until it is 30 s old, then hold (transient).
    case keepLast(reason: Reason)

    /// Whether the call says something about the provider or the network: no answer at all, or a 5xx.
    package var isProviderFailure: Bool {
        if case .keepLast(let reason) = self { return reason != .slowDown && !reason.isOurOwn }
        return false
    }

    /// Whether the question never got as far as the provider, for a reason of our own.
    package var isOurOwn: Bool {
        if case .keepLast(let reason) = self { return reason.isOurOwn }
        return false
    }
}

/// A stable word for each reason. The raw value is stored in the database and used as a metric's label: words are added,
/// never renamed.
package enum Reason: String, Sendable, Hashable, CaseIterable {
    // About the message.
    case messageRefused = "message_refused"
    case conflict
    // About the line.
    case credentialRefused = "credential_refused"
    case lineRefused = "line_refused"
    case endpointMissing = "endpoint_missing"
    case endpointGone = "endpoint_gone"
    case lineLocked = "line_locked"
    case slowDown = "slow_down"
    case lineNotSendable = "line_not_sendable"
    case lineNeedsPerson = "line_needs_person"
    case lineUnusable = "line_unusable"
    case unclearHealth = "unclear_answer"
    // About the call.
    case redirected
    case unexpectedStatus = "unexpected_status"
    case serverError = "server_error"
    case serverTimeout = "server_timeout"
    case tooEarly = "too_early"
    case timedOut = "timed_out"
    case connectionLost = "connection_lost"
    case unreachable
    case withdrawn
    case localShortage = "local_shortage"
    // Found by the engine.
    case triesSpent = "tries_spent"
    case workerLost = "worker_lost"
    case poison
    case unknownHorizon = "unknown_horizon"
    case claimReplyLost = "claim_reply_lost"
    case eventUnreadable = "event_unreadable"
    case eventNeedsFetch = "event_needs_fetch"
    case eventFailed = "event_failed"
    case deadLettered = "dead_lettered"
    case late
    // Found by its own conditions.
    case sendBeforePassed = "send_before_passed"
    case sendBeforePassedUnknown = "send_before_passed_unknown"
    case newerFact = "newer_fact"
    case supersededUnknown = "superseded_unknown"
    // Said by people.
    case cancelled
    case discarded
    case saidSent = "said_sent"
    case saidNotSent = "said_not_sent"

    /// The word as stored.
    package var code: String { rawValue }

    /// True when an attempt that ended so may still have reached a person. Definite refusals are only 400 to 405, 410,
    /// 413, 415, 422, 423, 429 and whatever failed before the bytes were allowed to leave.
    package var mayHaveSent: Bool {
        switch self {
        case .conflict, .redirected, .unexpectedStatus, .serverError, .serverTimeout, .tooEarly, .timedOut,
            .connectionLost, .workerLost, .unknownHorizon, .poison, .sendBeforePassedUnknown, .supersededUnknown:
            true
        case .messageRefused, .credentialRefused, .lineRefused, .endpointMissing, .endpointGone, .lineLocked, .slowDown,
            .lineNotSendable, .lineNeedsPerson, .lineUnusable, .unclearHealth, .unreachable, .withdrawn, .localShortage,
            .triesSpent, .claimReplyLost, .eventUnreadable, .eventNeedsFetch, .eventFailed, .deadLettered, .late,
            .sendBeforePassed, .newerFact, .cancelled, .discarded,
            .saidSent, .saidNotSent:
            false
        }
    }

    /// Whether the call never began for a reason of our own, which says nothing about the other side.
    package var isOurOwn: Bool { self == .withdrawn || self == .localShortage }

    /// One sentence for people.
    package var sentence: String {
        switch self {
        case .messageRefused: "the API refused the message itself"
        case .conflict: "the API answered 409: the key was used before, or the line's state forbids it"
        case .credentialRefused: "the API refused the line's token"
        case .lineRefused: "the API refused the line or its account"
        case .endpointMissing: "nothing takes calls at that address: look at the URL"
        case .endpointGone: "the address is gone for good, as its own server says; only a person can resume it"
        case .lineLocked: "the line is locked"
        case .slowDown: "the API asked to slow down"
        case .lineNotSendable: "the line is not sendable at the moment"
        case .lineNeedsPerson: "the line needs a person"
        case .lineUnusable: "the line's stored address or token cannot be used"
        case .unclearHealth: "the health answer is not clear enough to send"
        case .redirected: "the API answered with a redirect, which is never followed"
        case .unexpectedStatus: "the API answered with a status that has no rule"
        case .serverError: "the API failed inside; the message may have been sent"
        case .serverTimeout: "the API gave up waiting for the request; the message may have been sent"
        case .tooEarly: "the API answered 425; the message may have been sent"
        case .timedOut: "no answer in time; the message may have been sent"
        case .connectionLost: "the connection ended without an answer; the message may have been sent"
        case .unreachable: "the API could not be reached; nothing was sent"
        case .withdrawn: "the call was called off before anything was sent"
        case .localShortage: "the worker's machine had no descriptor or port for the call; nothing was sent"
        case .triesSpent: "all tries are spent"
        case .poison: "three workers died while they were sending it and nothing else suspect"
        case .workerLost: "its worker was lost in the middle of the call"
        case .unknownHorizon: "nobody could say in time whether it was sent"
        case .claimReplyLost: "its worker did not learn that the attempt had begun"
        case .eventUnreadable: "the event is not what its kind of source sends, or breaks a rule"
        case .eventNeedsFetch: "the event only points at a record, and nothing here can fetch it"
        case .eventFailed: "the event could not be run"
        case .deadLettered: "its message came back to the broker too often"
        case .late: "the answer came after its worker had been given up for lost"
        case .sendBeforePassed: "its sendBefore had passed"
        case .sendBeforePassedUnknown: "its sendBefore has passed, and an earlier attempt may have sent it"
        case .newerFact: "a notice with a newer fact replaced it"
        case .supersededUnknown: "a newer fact replaced it, and an earlier attempt may have sent it"
        case .cancelled: "somebody cancelled it"
        case .discarded: "somebody discarded it"
        case .saidSent: "somebody said that it was sent"
        case .saidNotSent: "somebody said that it was not sent, and has not replayed or discarded it yet"
        }
    }
}
