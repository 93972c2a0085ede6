internal import TrunklineCore

extension JobStory {
    /// State, since when, why, and what releases it: one sentence without customers' data.
    package var sentence: String {
        switch state {
        case "accepted": acceptedWords
        case "waiting": waitingWords
        case "sending": sendingWords
        case "unknown": unknownWords
        case "parked":
            "It is put aside for a person since \(time(attempts.last?.endedAt ?? dueAt)), because \(words(reason))"
                + (maybeSentSince == nil ? surelyNotWords : "; it may have been sent since \(time(maybeSentSince))")
                + cancelWords + ": see 'trunkline parked show \(id)'."
        case "sent" where reason == "said_sent":
            "It ended as sent at \(time(endedAt)), because somebody said that it was; it may have been sent since "
                + "\(time(maybeSentSince))."
        case "discarded" where maybeSentSince != nil:
            "It ended as discarded at \(time(endedAt)), because \(words(reason)); it may have been sent since "
                + "\(time(maybeSentSince))."
        case "sent":
            "It was \(lane.isRun ? "run" : "sent") at \(time(endedAt))"
                + (attempt > 0 ? " by attempt \(attempt)" : "")
                + (acceptedAt.map { accepted in endedAt.map { ", \(span($0 - accepted)) after it was accepted" } ?? "" }
                    ?? "")
                + (reason == "late" ? "; the answer came late, after its worker had been given up for lost" : "")
                + (key == nil ? "; its details were dropped by retention, its key is remembered" : "") + "."
        case "superseded" where replacement != nil:
            "It ended as superseded at \(time(endedAt)), because job \(replacement?.job ?? id) brought a newer fact (of "
                + "\(time(replacement?.factAt))\(factAt.map { ", its own is of \(time($0))" } ?? "")); nothing was sent."
        default:
            "It ended as \(state) at \(time(endedAt)), because \(words(reason)); nothing was sent"
                + (key == nil ? "; its details were dropped by retention, its key is remembered" : "") + "."
        }
    }

    private var surelyNotWords: String { lane.isRun ? "; nothing of it was done" : "; it was surely not sent" }

    private var isDue: Bool { dueAt.map { $0 <= readAt } ?? true }

    private var cancelWords: String { isCancelWanted ? "; a cancel came too late" : "" }

    private var scheduledWords: String? {
        guard isScheduled, let dueAt, !isDue else { return nil }
        guard let hold = lane.holdReason else {
            return "It is scheduled for \(time(dueAt)); nothing holds it but the time."
        }
        return "It is scheduled for \(time(dueAt)); besides, \(holdWords(hold))."
    }

    private func holdWords(_ hold: String) -> String {
        let end = lane.heldUntil.map { "until \(time($0)), or until" } ?? "until"
        return "the \(lane.words) is held by hand since \(time(lane.heldSince)) (\(hold)), \(end) "
            + "'trunkline \(lane.noun) resume \(lane.id)'"
    }

    private var acceptedWords: String {
        if let scheduledWords { return scheduledWords }
        guard let owner = lane.owner else {
            return
                "It is accepted since \(time(acceptedAt)) and no live worker owns shard \(lane.shard): a worker that runs takes it."
        }
        return
            "It is accepted since \(time(acceptedAt)) and not yet seen by \(owner), which owns its shard and takes it within seconds."
    }

    /// The worst obstacle first: what a person must do, then what takes care of itself.
    private var waitingWords: String {
        if let scheduledWords { return scheduledWords }
        let since = "It waits since \(time(attempts.last?.endedAt ?? acceptedAt))"
        if let hold = lane.holdReason { return "\(since), because \(holdWords(hold))." }
        guard let owner = lane.owner else {
            return "\(since), because no live worker owns shard \(lane.shard): a worker that runs takes it over."
        }
        if let closed = closedWords { return "\(since), because \(closed)." }
        if let ahead {
            return
                "\(since), behind job \(ahead.job) of the same \(lane.person), which is \(ahead.state); it goes when that one is done."
        }
        if let until = lane.cappedUntil {
            return
                "\(since), because the \(lane.words) has \(lane.isAsked ? "sent" : "been sent") what it may today (\(lane.dailyCap)); it goes on at \(time(until)), "
                + "midnight of \(lane.timeZone)."
        }
        if let dueAt, !isDue {
            let answer = attempts.last?.status.map { ", status \($0)" } ?? ""
            return
                "\(since), because attempt \(attempt) did not succeed (\(words(reason))\(answer)); \(tries) of \(Retry.maximumTries) "
                + "tries are used, and the next attempt is due at \(time(dueAt))."
        }
        if let suspectWords { return "\(since), because \(suspectWords)." }
        if lane.gate == "unknown", lane.isAsked {
            return "\(since) for the answer of \(owner) to the question whether the \(lane.words) is well."
        }
        if let began = lane.rampBegan {
            return
                "\(since) for its turn on the \(lane.words), which goes on slowly after a hold (since \(time(began)), "
                + "at full pace from \(time(began + Gate.rampLength)) on), with \(jobsBefore) jobs before it."
        }
        if lane.paceInterval > .zero {
            return
                "\(since) for the pace of the \(lane.words) (one \(lane.isAsked ? "send" : "delivery") per \(span(lane.paceInterval))), with \(jobsBefore) jobs before it."
        }
        return "\(since) for its turn on the \(lane.words), with \(jobsBefore) jobs before it."
    }

    /// Why nothing of the line is sent, as far as workers decide it; nil when something is.
    private var closedWords: String? {
        if let breaker = lane.breaker {
            return
                "nothing is sent to \(breaker.origin) since \(time(breaker.since)) (\(breaker.reason)): the provider or the "
                + "network is suspected; "
                + (breaker.isBeingAsked
                    ? "it is being asked at this moment" : "it is asked again at \(time(breaker.nextProbeAt))")
                + ", and all its lines go on when it answers"
        }
        let isAsked = lane.isAsked
        var next = isAsked ? "its health is asked again by itself" : "the next delivery is tried by itself"
        if let probe = lane.nextProbeAt, probe > readAt {
            next = (isAsked ? "its health is asked again at " : "one delivery is tried at ") + time(probe)
        }
        let cannot = isAsked ? "cannot send" : "takes nothing"
        switch lane.gate {
        case "held_human":
            return "the \(lane.words) \(cannot) since \(time(lane.gateSince)) (\(words(lane.gateReason))): "
                + "somebody must mend the \(lane.noun); \(next)"
        case "held_transient":
            return
                "the \(lane.words) \(cannot) for now, since \(time(lane.gateSince)) (\(words(lane.gateReason))); \(next)"
        case "probing":
            return
                "the \(lane.words) \(cannot) since \(time(lane.gateSince)) (\(words(lane.gateReason))); "
                + (isAsked ? "its health is being asked at this moment" : "one delivery is being tried")
        default: break
        }
        if let paused = lane.pausedUntil, paused > readAt {
            return isAsked
                ? "the API asked the \(lane.words) to slow down until \(time(paused))"
                : "the \(lane.words) asked to slow down until \(time(paused))"
        }
        return nil
    }

    private var suspectWords: String? {
        guard isSuspect else { return nil }
        return "a worker was lost during its last attempt, and it goes as the only such notice of its worker"
            + (suspectAhead.map { " (job \($0) is under way)" } ?? "")
    }

    private var unknownWords: String {
        let release: String
        if let hold = lane.holdReason {
            release = "when the \(lane.noun) is resumed: \(holdWords(hold))"
        } else if lane.owner == nil {
            release = "when a worker runs: none owns shard \(lane.shard)"
        } else if let closedWords {
            release = "when the \(lane.noun) \(lane.isAsked ? "can send" : "takes something") again: \(closedWords)"
        } else if !isDue {
            release = "at \(time(dueAt))"
        } else if let suspectWords {
            release = "soon: \(suspectWords)"
        } else {
            release = "as soon as the \(lane.noun) is free"
        }
        return
            "It may have been sent since \(time(maybeSentSince)) (\(words(reason))\(cancelWords)); it is asked again with the same "
            + "key and bytes \(release); if that does not tell by \(time(maybeSentSince.map { $0 + lane.unknownHorizon })) (\(span(lane.unknownHorizon)) after "
            + "the first such attempt), it is parked."
    }

    private var sendingWords: String {
        let who = claimedBy ?? "a worker that is gone"
        let cancel =
            isCancelWanted
            ? "; it was cancelled, too late for this attempt, and ends as cancelled if that comes back unsent" : ""
        guard let leaseUntil, leaseUntil <= readAt else {
            return "Attempt \(attempt) runs since \(time(claimedAt)) on \(who)\(cancel)."
        }
        return
            "Attempt \(attempt) began at \(time(claimedAt)) on \(who), which has not said how it ended; its time ran out at "
            + "\(time(leaseUntil)), and the owner of its shard takes it over soon after, as possibly sent\(cancel)."
    }

    private func time(_ moment: Timestamp?) -> String {
        guard let moment else { return "an unknown time" }
        return Timestamp(microseconds: moment.microseconds - moment.microseconds % 1_000_000).rfc3339
    }

    private func span(_ duration: Duration) -> String {
        let milliseconds = duration.components.seconds * 1_000 + duration.components.attoseconds / 1_000_000_000_000_000
        switch milliseconds {
        case ..<1_000: return "\(milliseconds) ms"
        case ..<120_000:
            return milliseconds % 1_000 == 0
                ? "\(milliseconds / 1_000) s" : "\(milliseconds / 1_000).\(milliseconds / 100 % 10) s"
        case ..<7_200_000: return "\(milliseconds / 60_000) min"
        default: return "\(milliseconds / 3_600_000) h"
        }
    }

    private func words(_ reason: String?) -> String { Self.words(forReason: reason) }
}

extension JobStory.Lane {
    /// `line acme-il`.
    var words: String { LaneName.shown(label.stored) }
    /// Whether its gate asks for health, or is opened and closed by what deliveries bring.
    var isAsked: Bool { label.name?.destination == nil && !isRun }
    /// Whether its jobs are received events: run here, never sent anywhere.
    var isRun: Bool { label.name?.source != nil }
    /// What keeps its jobs in order.
    var person: String { isAsked ? "person" : isRun ? "record" : "ordering key" }
    var noun: String { label.name?.noun ?? "lane" }
    var id: String { label.name?.id ?? label.stored }
}
