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
    public var attempts: [Attempt] = []

    // MARK: The sentence

    /// State, since when, why, and what releases it: one sentence without customers' data.
    public var sentence: String {
        switch state {
        case "accepted": acceptedWords
        case "waiting": waitingWords
        case "sending": sendingWords
        case "unknown":
            "It may have been sent since \(time(maybeSentSince)) (\(words(reason))); it is asked again with the same key and bytes "
                + (isDue ? "as soon as the line is free" : "at \(time(dueAt))")
                + ", until 12 h after that moment, and parked then."
        case "parked":
            "It is put aside for a person since \(time(attempts.last?.endedAt ?? dueAt)), because \(words(reason))"
                + (maybeSentSince == nil
                    ? "; it was surely not sent" : "; it may have been sent since \(time(maybeSentSince))")
                + ": see 'trunkline parked show \(id)'."
        case "sent":
            "It was sent at \(time(endedAt))"
                + (attempt > 0 ? " by attempt \(attempt)" : "")
                + (acceptedAt.map { accepted in endedAt.map { ", \(span($0 - accepted)) after it was accepted" } ?? "" }
                    ?? "")
                + (reason == "late" ? "; the answer came late, after its worker had been given up for lost" : "")
                + (key == nil ? "; its details were dropped by retention, its key is remembered" : "") + "."
        default:
            "It ended as \(state) at \(time(endedAt)), because \(words(reason)); nothing was sent"
                + (key == nil ? "; its details were dropped by retention, its key is remembered" : "") + "."
        }
    }

    private var isDue: Bool { dueAt.map { $0 <= readAt } ?? true }

    private var acceptedWords: String {
        if isScheduled, let dueAt, !isDue {
            return "It is accepted and scheduled for \(time(dueAt)); nothing holds it but the time."
        }
        guard let owner = lane.owner else {
            return
                "It is accepted since \(time(acceptedAt)) and no live worker owns shard \(lane.shard): a worker that runs takes it."
        }
        return
            "It is accepted since \(time(acceptedAt)) and not yet seen by \(owner), which owns its shard and takes it within seconds."
    }

    /// The worst obstacle first: what a person must do, then what takes care of itself.
    private var waitingWords: String {
        let since = "It waits since \(time(attempts.last?.endedAt ?? acceptedAt))"
        if let hold = lane.holdReason {
            let end = lane.heldUntil.map { "until \(time($0)), or until" } ?? "until"
            return
                "\(since), because the line \(lane.name) is held by hand since \(time(lane.heldSince)) (\(hold)), \(end) "
                + "'trunkline line resume \(lane.name)'."
        }
        guard let owner = lane.owner else {
            return "\(since), because no live worker owns shard \(lane.shard): a worker that runs takes it over."
        }
        if isScheduled, let dueAt, !isDue {
            return "It is scheduled for \(time(dueAt)); nothing holds it but the time."
        }
        switch lane.gate {
        case "held_human":
            return
                "\(since), because the line \(lane.name) cannot send since \(time(lane.gateSince)) (\(words(lane.gateReason))): "
                + "somebody must mend the line; its health is asked again by itself."
        case "held_transient":
            return
                "\(since), because the line \(lane.name) cannot send for now, since \(time(lane.gateSince)) (\(words(lane.gateReason))); "
                + "its health is asked again by itself."
        default: break
        }
        if let paused = lane.pausedUntil, paused > readAt {
            return "\(since), because the API asked the line \(lane.name) to slow down until \(time(paused))."
        }
        if let ahead {
            return
                "\(since), behind job \(ahead.job) of the same person, which is \(ahead.state); it goes when that one is done."
        }
        if let dueAt, !isDue {
            return
                "\(since), because attempt \(attempt) ended without success (\(words(reason))); the next one is due at \(time(dueAt))."
        }
        if lane.gate == "unknown" {
            return "\(since) for the answer of \(owner) to the question whether the line \(lane.name) is well."
        }
        if lane.paceInterval > .zero {
            return
                "\(since) for the pace of the line \(lane.name) (one send per \(span(lane.paceInterval))), with \(jobsBefore) jobs before it."
        }
        return "\(since) for its turn on the line \(lane.name), with \(jobsBefore) jobs before it."
    }

    private var sendingWords: String {
        let who = claimedBy ?? "a worker that is gone"
        guard let leaseUntil, leaseUntil <= readAt else {
            return "Attempt \(attempt) runs since \(time(claimedAt)) on \(who)."
        }
        return
            "Attempt \(attempt) began at \(time(claimedAt)) on \(who), which has not said how it ended; its time ran out at "
            + "\(time(leaseUntil)), and the owner of its shard takes it over soon after, as possibly sent."
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
        switch reason {
        case "worker_lost": return "its worker was lost in the middle of the call"
        case "send_before_passed": return "its sendBefore had passed"
        case "send_before_passed_unknown": return "its sendBefore has passed, and an earlier attempt may have sent it"
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
                   (select w.host || ' (process ' || w.pid || ')' from trunkline.workers w where w.boot = r.claimed_by)
            from (
                select key, recipient, purpose, lane, state, reason, accepted_at, null::timestamptz as ended_at, due_at, send_before,
                       coalesce(not_before > now(), false) as scheduled, place, attempt, tries, claimed_at, claimed_by, lease_until,
                       maybe_sent_since, null::text as remote_id, person
                from trunkline.jobs where id = $1
                union all
                select key, recipient, purpose, lane, state, reason, accepted_at, ended_at, null, send_before, false, 0, attempt, tries,
                       claimed_at, claimed_by, null, maybe_sent_since, remote_id, person
                from trunkline.finished where id = $1
            ) r limit 1
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
        story.attempts = try await attemptStories(id)
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
        return JobStory(
            readAt: Timestamp(microseconds: rows.timestamp(0, 3) ?? 0),
            id: id,
            lane: try await laneStory(laneNumber, shards),
            state: state,
            endedAt: rows.timestamp(0, 2).map(Timestamp.init(microseconds:))
        )
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
                coalesce(l.pace_interval_ms, 0)
            from trunkline.lanes n
            left join trunkline.lines l on l.lane = n.number
            left join trunkline.lane_state s on s.lane = n.number
            where n.number = $1
            """,
            [.int4(lane), .int8(Int64(shards))]
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
            paceInterval: .milliseconds(rows.int4(0, 12) ?? 0)
        )
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
