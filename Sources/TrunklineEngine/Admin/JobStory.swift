public import PostgresDriver
public import TrunklineCore

/// The life of one job, for `trunkline why`: what state it is in, since when, why, and what releases it.
public struct JobStory: Sendable, Hashable {
    /// An attempt that has a row of its own.
    public struct Attempt: Sendable, Hashable {
        public let number: Int32
        public let startedAt: Timestamp
        public let endedAt: Timestamp
        public let outcome: String
        public let reason: String?
        public let status: Int32?
    }

    /// Another job that must be done first.
    public struct Ahead: Sendable, Hashable {
        public let job: JobID
        public let state: String
    }

    /// The newer notice that replaced a job.
    public struct Replacement: Sendable, Hashable {
        public let job: JobID
        /// When its fact happened.
        public let factAt: Timestamp
    }

    /// Where a job waits, as far as others decide it.
    public struct Lane: Sendable, Hashable {
        public var name: String
        public var isLine: Bool
        public var shard: Int
        /// `host (process pid)` of the live worker that owns the shard.
        public var owner: String?
        public var holdReason: String?
        public var heldSince: Timestamp?
        public var heldUntil: Timestamp?
        public var gate: String
        public var gateReason: String?
        public var gateSince: Timestamp?
        public var pausedUntil: Timestamp?
        public var nextSendAt: Timestamp?
        public var paceInterval: Duration
        /// When a held line is asked next.
        public var nextProbeAt: Timestamp?
        /// When the line began to go on after a hold, while it ramps.
        public var rampBegan: Timestamp?
        public var dailyCap: DailyCap = .unlimited
        public var timeZone = "UTC"
        /// The line's next midnight, when it has sent what it may today.
        public var cappedUntil: Timestamp?
        public var breaker: OpenBreaker?
    }

    public var readAt: Timestamp
    public var id: JobID
    /// Nil when the row was dropped by retention.
    public var key: String?
    /// Masked; nil when the row was dropped.
    public var recipient: String?
    public var purpose: String?
    public var lane: Lane
    public var state: String
    public var reason: String?
    public var acceptedAt: Timestamp?
    public var endedAt: Timestamp?
    public var dueAt: Timestamp?
    public var sendBefore: Timestamp?
    public var isScheduled = false
    public var isPlaced = true
    public var attempt: Int32 = 0
    public var tries: Int32 = 0
    public var claimedAt: Timestamp?
    public var claimedBy: String?
    public var leaseUntil: Timestamp?
    public var maybeSentSince: Timestamp?
    public var remoteID: String?
    /// A job of the same person that comes first, and its state.
    public var ahead: Ahead?
    /// Jobs of the lane with an earlier place.
    public var jobsBefore: Int64 = 0
    /// A cancel came while an attempt ran, or after one that may have sent it.
    public var isCancelWanted = false
    /// A worker was lost during its last attempt: it goes as the only such one of its process.
    public var isSuspect = false
    /// The job that its worker must be done with first, when it is one of those.
    public var suspectAhead: JobID?
    public var factAt: Timestamp?
    /// What replaced it, of a superseded job.
    public var replacement: Replacement?
    public var attempts: [Attempt] = []
    /// What people decided about it, first to last.
    public var actions: [OperatorAction] = []

    // MARK: The sentence

    /// State, since when, why, and what releases it: one sentence without customers' data.
    public var sentence: String {
        switch state {
        case "accepted": acceptedWords
        case "waiting": waitingWords
        case "sending": sendingWords
        case "unknown": unknownWords
        case "parked":
            "It is put aside for a person since \(time(attempts.last?.endedAt ?? dueAt)), because \(words(reason))"
                + (maybeSentSince == nil
                    ? "; it was surely not sent" : "; it may have been sent since \(time(maybeSentSince))")
                + cancelWords + ": see 'trunkline parked show \(id)'."
        case "sent" where reason == "said_sent":
            "It ended as sent at \(time(endedAt)), because somebody said that it was; it may have been sent since "
                + "\(time(maybeSentSince))."
        case "discarded" where maybeSentSince != nil:
            "It ended as discarded at \(time(endedAt)), because \(words(reason)); it may have been sent since "
                + "\(time(maybeSentSince))."
        case "sent":
            "It was sent at \(time(endedAt))"
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
        return "the line \(lane.name) is held by hand since \(time(lane.heldSince)) (\(hold)), \(end) "
            + "'trunkline line resume \(lane.name)'"
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
                "\(since), behind job \(ahead.job) of the same person, which is \(ahead.state); it goes when that one is done."
        }
        if let until = lane.cappedUntil {
            return
                "\(since), because the line \(lane.name) has sent what it may today (\(lane.dailyCap)); it goes on at \(time(until)), "
                + "midnight of \(lane.timeZone)."
        }
        if let dueAt, !isDue {
            let answer = attempts.last?.status.map { ", status \($0)" } ?? ""
            return
                "\(since), because attempt \(attempt) did not succeed (\(words(reason))\(answer)); \(tries) of \(Retry.maximumTries) "
                + "tries are used, and the next attempt is due at \(time(dueAt))."
        }
        if let suspectWords { return "\(since), because \(suspectWords)." }
        if lane.gate == "unknown" {
            return "\(since) for the answer of \(owner) to the question whether the line \(lane.name) is well."
        }
        if let began = lane.rampBegan {
            return
                "\(since) for its turn on the line \(lane.name), which goes on slowly after a hold (since \(time(began)), "
                + "at full pace from \(time(began + Gate.rampLength)) on), with \(jobsBefore) jobs before it."
        }
        if lane.paceInterval > .zero {
            return
                "\(since) for the pace of the line \(lane.name) (one send per \(span(lane.paceInterval))), with \(jobsBefore) jobs before it."
        }
        return "\(since) for its turn on the line \(lane.name), with \(jobsBefore) jobs before it."
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
        var next = "its health is asked again by itself"
        if let probe = lane.nextProbeAt, probe > readAt { next = "its health is asked again at \(time(probe))" }
        switch lane.gate {
        case "held_human":
            return "the line \(lane.name) cannot send since \(time(lane.gateSince)) (\(words(lane.gateReason))): "
                + "somebody must mend the line; \(next)"
        case "held_transient":
            return
                "the line \(lane.name) cannot send for now, since \(time(lane.gateSince)) (\(words(lane.gateReason))); \(next)"
        case "probing":
            return
                "the line \(lane.name) cannot send since \(time(lane.gateSince)) (\(words(lane.gateReason))); its health is "
                + "being asked at this moment"
        default: break
        }
        if let paused = lane.pausedUntil, paused > readAt {
            return "the API asked the line \(lane.name) to slow down until \(time(paused))"
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
            release = "when the line is resumed: \(holdWords(hold))"
        } else if lane.owner == nil {
            release = "when a worker runs: none owns shard \(lane.shard)"
        } else if let closedWords {
            release = "when the line can send again: \(closedWords)"
        } else if !isDue {
            release = "at \(time(dueAt))"
        } else if let suspectWords {
            release = "soon: \(suspectWords)"
        } else {
            release = "as soon as the line is free"
        }
        return
            "It may have been sent since \(time(maybeSentSince)) (\(words(reason))\(cancelWords)); it is asked again with the same "
            + "key and bytes \(release); if that does not tell by \(time(maybeSentSince.map { $0 + Retry.unknownHorizon })) (12 h after "
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

    /// A stored reason as a phrase; the word itself when it is none of ours.
    public static func words(forReason reason: String?) -> String {
        guard let reason else { return "no reason was recorded" }
        if let known = Reason(rawValue: reason) { return known.sentence }
        // A gate's reason is a word and what the line's health said.
        if let colon = reason.firstRange(of: ": "), let known = Reason(rawValue: String(reason[..<colon.lowerBound])) {
            return known.sentence + " (" + reason[colon.upperBound...] + ")"
        }
        switch reason {
        case "worker_lost": return "its worker was lost in the middle of the call"
        case "send_before_passed": return "its sendBefore had passed"
        case "send_before_passed_unknown": return "its sendBefore has passed, and an earlier attempt may have sent it"
        case "superseded_unknown": return "a newer fact replaced it, and an earlier attempt may have sent it"
        case "newer_fact": return "a notice with a newer fact replaced it"
        case "cancelled": return "somebody cancelled it"
        case "discarded": return "somebody discarded it"
        case "said_sent": return "somebody said that it was sent"
        case "said_not_sent": return "somebody said that it was not sent, and has not replayed or discarded it yet"
        case "claim_reply_lost": return "its worker did not learn that the attempt had begun"
        case "dead_lettered": return "its message came back to the broker too often"
        case "late": return "the answer came after its worker had been given up for lost"
        case "unknown_horizon": return "nobody could say for 12 h whether it was sent"
        default: return reason
        }
    }

    /// A stored number, masked.
    static func masked(_ number: String?) -> String {
        guard let number else { return "-" }
        return (try? PhoneNumber(number))?.masked ?? "•••"
    }
}

extension PostgresSession {
    /// The jobs that a person may mean: the one with that number, and those with that key in any workspace. In the order of
    /// their numbers, read in one snapshot.
    public func jobStories(_ name: String) async throws -> [JobStory] {
        try await transaction { session in
            try await session.query("set transaction isolation level repeatable read, read only")
            var ids: Set<Int64> = []
            if let id = JobID(text: name) { ids.insert(id.value) }
            if let key = try? IdempotencyKey(name) {
                let found = try await session.query(
                    "select job from trunkline.ledger where scope in (select number from trunkline.scopes) and key_digest = $1",
                    [.bytes(key.digest)]
                )
                for row in 0..<found.count { if let id = found.int8(row, 0) { ids.insert(id) } }
            }
            let shards = try await Install.shards(session)
            var stories: [JobStory] = []
            for id in ids.sorted() {
                if let story = try await session.story(JobID(id), shards, knownKey: name) { stories.append(story) }
            }
            return stories
        }
    }

    private func story(_ id: JobID, _ shards: Int, knownKey: String) async throws -> JobStory? {
        let rows = try await query(
            """
            select r.key, r.recipient, r.purpose, r.lane, r.state, r.reason, r.accepted_at, r.ended_at, r.due_at, r.send_before,
                   r.scheduled, r.place, r.attempt, r.tries, r.claimed_at, r.claimed_by, r.lease_until, r.maybe_sent_since,
                   r.remote_id, r.person, now(),
                   (select w.host || ' (process ' || w.pid || ')' from trunkline.workers w where w.boot = r.claimed_by),
                   r.cancel_wanted, r.suspect, r.fact_at, f.job, f.fact_at
            from (
                select key, recipient, purpose, lane, state, reason, accepted_at, null::timestamptz as ended_at, due_at, send_before,
                       coalesce(not_before > now(), false) as scheduled, place, attempt, tries, claimed_at, claimed_by, lease_until,
                       maybe_sent_since, null::text as remote_id, person, cancel_wanted, suspect, fact_at, scope, supersede_key
                from trunkline.jobs where id = $1
                union all
                select key, recipient, purpose, lane, state, reason, accepted_at, ended_at, null, send_before, false, 0, attempt, tries,
                       claimed_at, claimed_by, null, maybe_sent_since, remote_id, person, false, false, fact_at, scope, supersede_key
                from trunkline.finished where id = $1
            ) r
            left join trunkline.facts f on f.scope = r.scope and f.supersede_key = r.supersede_key and f.fact_at > r.fact_at
            limit 1
            """,
            [.int8(id.value)]
        )
        guard rows.count == 1, let laneNumber = rows.int4(0, 3) else {
            return try await droppedStory(id, shards, knownKey: knownKey)
        }
        func moment(_ column: Int) -> Timestamp? { rows.timestamp(0, column).map(Timestamp.init(microseconds:)) }
        var story = JobStory(
            readAt: moment(20) ?? Timestamp(microseconds: 0),
            id: id,
            key: rows.text(0, 0),
            recipient: JobStory.masked(rows.text(0, 1)),
            purpose: rows.text(0, 2),
            lane: try await laneStory(laneNumber, shards),
            state: rows.text(0, 4) ?? "",
            reason: rows.text(0, 5),
            acceptedAt: moment(6),
            endedAt: moment(7),
            dueAt: moment(8),
            sendBefore: moment(9),
            isScheduled: rows.bool(0, 10) ?? false,
            isPlaced: (rows.int8(0, 11) ?? 0) > 0,
            attempt: rows.int4(0, 12) ?? 0,
            tries: rows.int4(0, 13) ?? 0,
            claimedAt: moment(14),
            claimedBy: rows.text(0, 21),
            leaseUntil: moment(16),
            maybeSentSince: moment(17),
            remoteID: rows.text(0, 18)
        )
        story.isCancelWanted = rows.bool(0, 22) ?? false
        story.isSuspect = rows.bool(0, 23) ?? false
        story.factAt = moment(24)
        if story.state == "superseded", let job = rows.int8(0, 25), let factAt = moment(26) {
            story.replacement = JobStory.Replacement(job: JobID(job), factAt: factAt)
        }
        story.attempts = try await attemptStories(id)
        story.actions = try await operatorActions(id)
        if story.attempts.isEmpty, story.state == "sent", story.attempt == 1, let began = story.claimedAt,
            let ended = story.endedAt
        {
            // A first attempt that was sent has no row of its own.
            story.attempts = [
                JobStory.Attempt(number: 1, startedAt: began, endedAt: ended, outcome: "sent", reason: nil, status: nil)
            ]
        }
        if story.isSuspect { story.suspectAhead = try await suspectAhead(of: id, lane: laneNumber, shards) }
        if story.state == "waiting", story.isPlaced, let place = rows.int8(0, 11), let person = rows.int8(0, 19) {
            let ahead = try await query(
                """
                select id, state from trunkline.jobs
                where lane = $1 and person = $2 and id <> $3
                  and (state in ('sending', 'unknown') or state = 'waiting' and place > 0 and place < $4)
                order by state = 'waiting', place limit 1
                """,
                [.int4(laneNumber), .int8(person), .int8(id.value), .int8(place)]
            )
            if ahead.count == 1, let first = ahead.int8(0, 0), let state = ahead.text(0, 1) {
                story.ahead = JobStory.Ahead(job: JobID(first), state: state)
            }
            let before = try await query(
                "select count(*) from trunkline.jobs where lane = $1 and state = 'waiting' and place > 0 and place < $2 and due_at <= now()",
                [.int4(laneNumber), .int8(place)]
            )
            story.jobsBefore = before.int8(0, 0) ?? 0
        }
        return story
    }

    /// The suspect job that the owner of the lane's shard has in the air.
    private func suspectAhead(of id: JobID, lane: Int32, _ shards: Int) async throws -> JobID? {
        let rows = try await query(
            """
            select j.id from trunkline.jobs j
            where j.suspect and j.state = 'sending' and j.id <> $1 and j.claimed_by = (
                select h.owner from trunkline.lanes n join trunkline.shards h on h.shard = (n.shard_hash % $3)::int
                where n.number = $2)
            order by j.id limit 1
            """,
            [.int8(id.value), .int4(lane), .int8(Int64(shards))]
        )
        return rows.count == 1 ? rows.int8(0, 0).map(JobID.init) : nil
    }

    /// Of a job whose finished row was dropped, the ledger still knows the end.
    private func droppedStory(_ id: JobID, _ shards: Int, knownKey: String) async throws -> JobStory? {
        // By key: the ledger has no index on the job's number. A number alone finds only what still has a row.
        guard let key = try? IdempotencyKey(knownKey) else { return nil }
        let rows = try await query(
            """
            select lane, final_state, final_at, now() from trunkline.ledger
            where scope in (select number from trunkline.scopes) and key_digest = $1 and job = $2
            """,
            [.bytes(key.digest), .int8(id.value)]
        )
        guard rows.count == 1, let laneNumber = rows.int4(0, 0), let state = rows.text(0, 1) else { return nil }
        var story = JobStory(
            readAt: Timestamp(microseconds: rows.timestamp(0, 3) ?? 0),
            id: id,
            lane: try await laneStory(laneNumber, shards),
            state: state,
            endedAt: rows.timestamp(0, 2).map(Timestamp.init(microseconds:))
        )
        story.actions = try await operatorActions(id)
        return story
    }

    private func laneStory(_ lane: Int32, _ shards: Int) async throws -> JobStory.Lane {
        let rows = try await query(
            """
            select coalesce(l.id, n.name), l.id is not null, (n.shard_hash % $2)::int,
                (select w.host || ' (process ' || w.pid || ')' from trunkline.shards h join trunkline.workers w on w.boot = h.owner
                 where h.shard = (n.shard_hash % $2)::int and w.renewed_at > now() - interval '7 seconds'),
                case when l.hold_reason is not null and (l.hold_until is null or l.hold_until > now()) then l.hold_reason end,
                l.held_at, l.hold_until, coalesce(s.gate, 'unknown'), s.gate_reason, s.gate_since,
                case when s.paused_until > now() and s.paused_until < 'infinity' then s.paused_until end,
                case when s.next_send_at > now() and s.next_send_at < 'infinity' then s.next_send_at end,
                coalesce(l.pace_interval_ms, 0), s.next_probe_at,
                case when s.gate = 'ramping' and s.ramp_started_at > now() - make_interval(secs => $3) then s.ramp_started_at end,
                l.daily_cap, l.time_zone,
                case when s.sent_today >= l.daily_cap and s.sent_on = (now() at time zone l.time_zone)::date
                    then (s.sent_on + 1)::timestamp at time zone l.time_zone end,
                b.origin, b.opened_at, b.reason, b.next_probe_at, b.prober is not null
            from trunkline.lanes n
            left join trunkline.lines l on l.lane = n.number
            left join trunkline.lane_state s on s.lane = n.number
            left join trunkline.breakers b on b.origin = substring(l.base_url from '^https?://[^/]*') and b.opened_at is not null
            where n.number = $1
            """,
            [.int4(lane), .int8(Int64(shards)), .float8(Gate.rampLength / .seconds(1))]
        )
        guard rows.count == 1 else {
            return JobStory.Lane(name: "lane \(lane)", isLine: false, shard: 0, gate: "unknown", paceInterval: .zero)
        }
        func moment(_ column: Int) -> Timestamp? { rows.timestamp(0, column).map(Timestamp.init(microseconds:)) }
        return JobStory.Lane(
            name: rows.text(0, 0) ?? "",
            isLine: rows.bool(0, 1) ?? false,
            shard: Int(rows.int4(0, 2) ?? 0),
            owner: rows.text(0, 3),
            holdReason: rows.text(0, 4),
            heldSince: moment(5),
            heldUntil: moment(6),
            gate: rows.text(0, 7) ?? "unknown",
            gateReason: rows.text(0, 8),
            gateSince: moment(9),
            pausedUntil: moment(10),
            nextSendAt: moment(11),
            paceInterval: .milliseconds(rows.int4(0, 12) ?? 0),
            nextProbeAt: moment(13),
            rampBegan: moment(14),
            dailyCap: DailyCap(stored: rows.int4(0, 15)),
            timeZone: rows.text(0, 16) ?? "UTC",
            cappedUntil: moment(17),
            breaker: rows.text(0, 18).map { origin in
                OpenBreaker(
                    origin: origin,
                    since: moment(19) ?? Timestamp(microseconds: 0),
                    reason: rows.text(0, 20) ?? "",
                    nextProbeAt: moment(21),
                    isBeingAsked: rows.bool(0, 22) ?? false
                )
            }
        )
    }

    /// What people decided about a job, first to last.
    public func operatorActions(_ id: JobID) async throws -> [OperatorAction] {
        let rows = try await query(
            "select at, action, done_by, why from trunkline.actions where job = $1 order by id",
            [.int8(id.value)]
        )
        return (0..<rows.count).map { row in
            OperatorAction(
                at: Timestamp(microseconds: rows.timestamp(row, 0) ?? 0),
                action: rows.text(row, 1) ?? "",
                by: rows.text(row, 2) ?? "",
                why: rows.text(row, 3)
            )
        }
    }

    /// The attempts that have a row, first to last.
    public func attemptStories(_ id: JobID) async throws -> [JobStory.Attempt] {
        let rows = try await query(
            "select number, started_at, ended_at, outcome, reason, status from trunkline.attempts where job = $1 order by number, started_at",
            [.int8(id.value)]
        )
        return (0..<rows.count).map { row in
            JobStory.Attempt(
                number: rows.int4(row, 0) ?? 0,
                startedAt: Timestamp(microseconds: rows.timestamp(row, 1) ?? 0),
                endedAt: Timestamp(microseconds: rows.timestamp(row, 2) ?? 0),
                outcome: rows.text(row, 3) ?? "",
                reason: rows.text(row, 4),
                status: rows.int4(row, 5)
            )
        }
    }
}
