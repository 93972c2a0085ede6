internal import PostgresDriver
package import TrunklineCore

extension Operator {
    /// The jobs that a person may mean: the one with that number, and those with that key in any workspace. In the order of
    /// their numbers, read in one snapshot.
    package func stories(_ name: String) async throws -> [JobStory] {
        try await transaction {
            try await query("set transaction isolation level repeatable read, read only")
            var ids: Set<Int64> = []
            if let id = JobID(text: name) { ids.insert(id.value) }
            if let key = try? IdempotencyKey(name) {
                let found = try await query(
                    "select job from trunkline.ledger where scope in (select number from trunkline.scopes) and key_digest = $1",
                    [.bytes(key.digest)]
                )
                for row in 0..<found.count { if let id = found.int8(row, 0) { ids.insert(id) } }
            }
            let shards = try await Install.shards(session())
            var stories: [JobStory] = []
            for id in ids.sorted() {
                if let story = try await story(JobID(id), shards, knownKey: name) { stories.append(story) }
            }
            return stories
        }
    }

    /// The story of one job, read in one snapshot; nil when nothing but its key is known any more, and not here.
    package func story(of job: WorkspaceJob) async throws -> JobStory? {
        try await transaction {
            try await query("set transaction isolation level repeatable read, read only")
            return try await story(job.id, Install.shards(session()), knownKey: job.key.value)
        }
    }

    /// $1: the job's number. One row, of wherever the job stands.
    private static let storyQuestion = """
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
        """

    private func story(_ id: JobID, _ shards: Int, knownKey: String) async throws -> JobStory? {
        let rows = try await query(Self.storyQuestion, [.int8(id.value)])
        guard rows.count == 1, let laneNumber = rows.int4(0, 3) else {
            return try await droppedStory(id, shards, knownKey: knownKey)
        }
        var story = JobStory(rows, id: id, lane: try await laneStory(laneNumber, shards))
        story.attempts = try await attempts(of: id)
        story.actions = try await actions(on: id)
        if let key = story.key { story.origin = try await origin(of: id, key) }
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
            try await look(before: place, of: person, lane: laneNumber, &story)
        }
        return story
    }

    /// The event that sends a notice, by the memory of what events have sent.
    private func origin(of id: JobID, _ key: String) async throws -> JobStory.Origin? {
        let rows = try await query(
            """
            select source, event_key, rule, rules from trunkline.planned_notices
            where workspace in (select substring(name from 11) from trunkline.scopes where name like 'workspace:%')
              and notice_key = $1 and job = $2
            """,
            [.text(key), .int8(id.value)]
        )
        guard rows.count == 1 else { return nil }
        return JobStory.Origin(
            source: rows.text(0, 0) ?? "",
            event: rows.text(0, 1) ?? "",
            rule: rows.text(0, 2) ?? "",
            rules: rows.int8(0, 3)
        )
    }

    /// What comes before a job that waits: of its person, and on its lane.
    private func look(before place: Int64, of person: Int64, lane: Int32, _ story: inout JobStory) async throws {
        let ahead = try await query(
            """
            select id, state from trunkline.jobs
            where lane = $1 and person = $2 and id <> $3
              and (state in ('sending', 'unknown') or state = 'waiting' and place > 0 and place < $4)
            order by state = 'waiting', place limit 1
            """,
            [.int4(lane), .int8(person), .int8(story.id.value), .int8(place)]
        )
        if ahead.count == 1, let first = ahead.int8(0, 0), let state = ahead.text(0, 1) {
            story.ahead = JobStory.Ahead(job: JobID(first), state: state)
        }
        let before = try await query(
            "select count(*) from trunkline.jobs where lane = $1 and state = 'waiting' and place > 0 and place < $2 and due_at <= now()",
            [.int4(lane), .int8(place)]
        )
        story.jobsBefore = before.int8(0, 0) ?? 0
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
        story.actions = try await actions(on: id)
        return story
    }

    private func laneStory(_ lane: Int32, _ shards: Int) async throws -> JobStory.Lane {
        let rows = try await query(
            """
            select n.name, n.unknown_horizon_ms::int8, (n.shard_hash % $2)::int,
                (select w.host || ' (process ' || w.pid || ')' from trunkline.shards h join trunkline.workers w on w.boot = h.owner
                 where h.shard = (n.shard_hash % $2)::int and w.renewed_at > now() - interval '7 seconds'),
                case when n.hold_reason is not null and (n.hold_until is null or n.hold_until > now()) then n.hold_reason end,
                n.held_at, n.hold_until, coalesce(s.gate, 'unknown'), s.gate_reason, s.gate_since,
                case when s.paused_until > now() and s.paused_until < 'infinity' then s.paused_until end,
                case when s.next_send_at > now() and s.next_send_at < 'infinity' then s.next_send_at end,
                n.pace_interval_ms, s.next_probe_at,
                case when s.gate = 'ramping' and s.ramp_started_at > now() - make_interval(secs => $3) then s.ramp_started_at end,
                n.daily_cap, n.time_zone,
                case when s.sent_today >= n.daily_cap and s.sent_on = (now() at time zone n.time_zone)::date
                    then (s.sent_on + 1)::timestamp at time zone n.time_zone end,
                b.origin, b.opened_at, b.reason, b.next_probe_at, b.prober is not null
            from trunkline.lanes n
            left join trunkline.lane_state s on s.lane = n.number
            left join trunkline.breakers b on b.origin = substring(n.address from '^https?://[^/]*') and b.opened_at is not null
            where n.number = $1
            """,
            [.int4(lane), .int8(Int64(shards)), .float8(Gate.rampLength / .seconds(1))]
        )
        guard rows.count == 1 else {
            return JobStory.Lane(
                label: LaneLabel(stored: "lane \(lane)"),
                shard: 0,
                gate: "unknown",
                paceInterval: .zero,
                unknownHorizon: .zero
            )
        }
        func moment(_ column: Int) -> Timestamp? { rows.timestamp(0, column).map(Timestamp.init(microseconds:)) }
        return JobStory.Lane(
            label: LaneLabel(stored: rows.text(0, 0) ?? ""),
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
            unknownHorizon: rows.milliseconds(0, 1) ?? .zero,
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
    package func actions(on id: JobID) async throws -> [OperatorAction] {
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
    package func attempts(of id: JobID) async throws -> [JobStory.Attempt] {
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

extension JobStory {
    /// The row of `Operator.storyQuestion`; the rest is looked up beside it.
    fileprivate init(_ rows: PostgresRows, id: JobID, lane: Lane) {
        func moment(_ column: Int) -> Timestamp? { rows.timestamp(0, column).map(Timestamp.init(microseconds:)) }
        self.init(
            readAt: moment(20) ?? Timestamp(microseconds: 0),
            id: id,
            key: rows.text(0, 0),
            recipient: rows.text(0, 1).map { JobStory.masked($0) },
            purpose: rows.text(0, 2),
            lane: lane,
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
        isCancelWanted = rows.bool(0, 22) ?? false
        isSuspect = rows.bool(0, 23) ?? false
        factAt = moment(24)
        if state == "superseded", let job = rows.int8(0, 25), let factAt = moment(26) {
            replacement = JobStory.Replacement(job: JobID(job), factAt: factAt)
        }
    }
}
