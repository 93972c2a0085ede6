public import PostgresDriver
public import TrunklineCore

/// The conservation proof: ledger, jobs, finished rows, tallies of dropped days and attempts are written at different
/// steps, so that what one of them lost, doubled or changed, the others show. All of it is read in one snapshot; nothing is
/// written or locked.
public struct CheckReport: Sendable, Hashable {
    /// What does not add up.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// A key was accepted, and its job is nowhere: neither unfinished nor finished nor in the tally of a dropped day.
        case lost
        /// A job stands twice: unfinished and finished, finished twice, or one key with two jobs.
        case doubled
        /// Ledger and row tell different stories of one job: its end, lane, key or content.
        case flipped
        /// A row or an attempt whose job no ledger entry knows.
        case orphan
        /// Attempts are missing, doubled, or more than the row says.
        case attempts
        /// A row that no step can have written.
        case impossible
        /// The tally of a dropped day counts more than the ledger remembers.
        case tally
    }

    /// One fault.
    public struct Finding: Sendable, Hashable {
        public let kind: Kind
        /// Nil when the fault is one of numbers only.
        public let job: JobID?
        /// The line, or another lane's name; nil when unknown.
        public let lane: String?
        /// One phrase, without customers' data.
        public let detail: String
    }

    /// How the counts of one lane stand: `ledger` is what was accepted and must be the sum of the others.
    public struct Lane: Sendable, Hashable {
        /// The line's id, or another lane's name.
        public let name: String
        public let ledger: Int64
        /// Unfinished jobs by state.
        public let unfinished: [String: Int64]
        /// Finished rows by state.
        public let finished: [String: Int64]
        /// Finished jobs of dropped days.
        public let tallied: Int64
        /// Rows in `attempts`.
        public let attempts: Int64

        public var unfinishedCount: Int64 { unfinished.values.reduce(0, +) }
        public var finishedCount: Int64 { finished.values.reduce(0, +) }
        public var addsUp: Bool { ledger == unfinishedCount + finishedCount + tallied }
    }

    /// The snapshot's time, by the database's clock.
    public let readAt: Timestamp
    public let lanes: [Lane]
    /// At most `Check.listed` per question asked; `counts` has them all.
    public let findings: [Finding]
    /// How many findings there are of each kind.
    public let counts: [Kind: Int64]

    public var addsUp: Bool { counts.isEmpty && lanes.allSatisfy(\.addsUp) }
}

/// Runs the proof.
public enum Check {
    /// How many findings of one question are listed by id.
    public static let listed: Int64 = 1_000

    /// Reads everything once (a million jobs take some seconds). Any time, also while workers run.
    public static func run(_ session: PostgresSession) async throws -> CheckReport {
        try await session.transaction { session in
            try await session.query("set transaction isolation level repeatable read, read only")
            // A million rows are hashed, not sorted on disk.
            try await session.query("set local work_mem = '128MB'")
            try await session.query("set local jit = off")
            // A database that cuts long statements short means those of a service.
            try await session.query("set local statement_timeout = 0")
            var collector = Collector()
            let now = try await session.query("select now()")
            for question in Question.all {
                try await collector.add(session.query(question.sql, [.int8(listed)]), of: question)
            }
            try await compareContents(session, &collector)
            let lanes = try await lanes(session)
            return CheckReport(
                readAt: Timestamp(microseconds: now.timestamp(0, 0) ?? 0),
                lanes: lanes,
                findings: collector.findings,
                counts: collector.counts
            )
        }
    }

    // MARK: Questions

    /// Each gives rows of: kind, job (or null), lane number (or null), detail, and how many there are of its kind in all.
    private struct Question {
        let sql: String

        init(_ body: String) {
            sql = """
                select q.kind, q.job, coalesce(l.id, n.name), q.detail, q.total
                from (
                    select f.*, count(*) over (partition by f.kind) as total,
                           row_number() over (partition by f.kind order by f.job) as position
                    from (\(body)) f
                ) q
                left join trunkline.lanes n on n.number = q.lane
                left join trunkline.lines l on l.lane = q.lane
                where q.position <= $1
                order by q.kind, q.job
                """
        }

        static let all = [
            doubledRows, doubledKeys, ledgerAgainstRows, droppedDays, attempts, lonelyAttempts, impossible, twoAtOnce,
            facts,
        ]

        private static let rows = """
            select id, lane, scope, key, key_digest, null::text as final_state, null::timestamptz as ended_at, 'jobs' as place
            from trunkline.jobs
            union all
            select id, lane, scope, key, key_digest, state, ended_at, 'finished' from trunkline.finished
            """

        static let doubledRows = Question(
            """
            select 'doubled' as kind, r.id as job, min(r.lane) as lane,
                   'the job stands ' || count(*) filter (where r.place = 'jobs') || ' times in jobs and '
                   || count(*) filter (where r.place = 'finished') || ' times in finished' as detail
            from (\(rows)) r group by r.id having count(*) > 1
            union all
            select 'doubled', l.job, min(l.lane), count(*) || ' ledger entries name the job'
            from trunkline.ledger l group by l.job having count(*) > 1
            """
        )

        static let doubledKeys = Question(
            """
            select 'doubled' as kind, max(r.id) as job, min(r.lane) as lane,
                   'its key has ' || count(distinct r.id) || ' jobs; the first is ' || min(r.id) as detail
            from (\(rows)) r group by r.scope, r.key_digest having count(distinct r.id) > 1
            """
        )

        /// A job that stands twice is not told a second time as flipped: the collector drops that.
        static let ledgerAgainstRows = Question(
            """
            select d.kind, d.job, d.lane, d.detail from (
                select coalesce(l.job, r.id) as job, coalesce(l.lane, r.lane) as lane,
                    case
                        when l.job is null then 'orphan'
                        when r.id is null then 'lost'
                        else 'flipped'
                    end as kind,
                    case
                        when l.job is null then 'no ledger entry names the job, which stands in ' || r.place
                        when r.id is null then 'accepted, and neither unfinished nor finished'
                        when l.scope <> r.scope or l.key_digest <> r.key_digest then 'ledger and row have different keys'
                        when substring(sha256(convert_to(r.key, 'UTF8')) for 16) <> r.key_digest then 'the key is not the one of its digest'
                        when l.lane <> r.lane then 'ledger and row name different lanes'
                        when r.place = 'jobs' and l.final_state is not null then 'the ledger says ' || l.final_state || ', the job is unfinished'
                        when r.place = 'finished' and l.final_state is null then 'the job is finished (' || r.final_state || '), the ledger does not know'
                        when l.final_state <> r.final_state then 'the ledger says ' || l.final_state || ', the finished row ' || r.final_state
                        when l.final_at <> r.ended_at then 'ledger and finished row have different end times'
                    end as detail
                from trunkline.ledger l full join (\(rows)) r on r.id = l.job
                where r.id is not null or l.final_state is null
            ) d where d.detail is not null
            """
        )

        /// Ended jobs without a row must be in the tally of their day, lane and state. Which of several is missing cannot be
        /// told when the numbers differ; when there is no tally at all, it is each of them.
        static let droppedDays = Question(
            """
            with gone as (
                select (l.final_at at time zone 'UTC')::date as day, l.lane, l.final_state as state, l.job
                from trunkline.ledger l
                where l.final_state is not null
                  and not exists (select from trunkline.finished f where f.id = l.job)
                  and not exists (select from trunkline.jobs j where j.id = l.job)
            ), counted as (
                select g.day, g.lane, g.state, count(*) as jobs from gone g group by 1, 2, 3
            )
            select 'lost' as kind, g.job, g.lane, 'ended as ' || g.state || ', and its finished row is gone' as detail
            from gone g
            where not exists (
                select from trunkline.tallies t where t.ended_on = g.day and t.lane = g.lane and t.state = g.state
            )
            union all
            select case when coalesce(c.jobs, 0) > t.jobs then 'lost' else 'tally' end, null::bigint, t.lane,
                   'of the dropped day ' || t.ended_on || ' the ledger remembers ' || coalesce(c.jobs, 0) || ' jobs '
                   || t.state || ', its tally ' || t.jobs
            from trunkline.tallies t
            left join counted c on c.day = t.ended_on and c.lane = t.lane and c.state = t.state
            where coalesce(c.jobs, 0) <> t.jobs
            """
        )

        /// Which attempts a row must have, by the functions that write them (`settle`, `abandon`):
        /// every attempt that ended has one; an attempt that runs has none; a first attempt that was sent lives in the
        /// finished row, and has one only if it was given up for lost before; when a late answer of an earlier attempt
        /// ended the job, the one that was running may still bring its own, or never will.
        ///
        /// Days of attempts that retention dropped are not missed.
        static let attempts = Question(
            """
            with kept as (
                select min(to_date(right(c.relname, 8), 'YYYYMMDD')) as since
                from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'trunkline.attempts'::regclass and c.relname ~ '_[0-9]{8}$'
            ), a as (
                select t.job, count(*) as rows, count(distinct t.number) as numbers, min(t.number) as lowest,
                       max(t.number) as highest, bool_or(t.outcome = 'sent') as says_sent
                from trunkline.attempts t group by t.job
            ), r as (
                select j.id, j.lane, j.state, j.attempt, null::text as reason, j.accepted_at, false as is_finished from trunkline.jobs j
                union all
                select f.id, f.lane, f.state, f.attempt, f.reason, f.accepted_at, true from trunkline.finished f
            )
            select d.kind, d.job, d.lane, d.detail from (
                select 'attempts' as kind, r.id as job, r.lane,
                    case
                        when a.rows > a.numbers then 'an attempt is recorded twice'
                        when a.lowest < 1 then 'an attempt has the number ' || a.lowest
                        when a.highest > r.attempt then 'attempt ' || a.highest || ' is recorded, the row says ' || r.attempt
                        when r.state = 'sending' and a.highest = r.attempt then 'attempt ' || r.attempt || ' is recorded and still runs'
                        when a.says_sent and r.state <> 'sent' then 'an attempt was sent, the job is ' || r.state
                        when (r.accepted_at at time zone 'UTC')::date < k.since then null
                        when coalesce(a.numbers, 0) < r.attempt - case
                                when r.state = 'sending' then 1
                                when r.state = 'sent' and (r.attempt = 1 or r.reason = 'late' and coalesce(a.highest, 0) < r.attempt) then 1
                                else 0 end
                            then 'the row says ' || r.attempt || ' attempts, recorded are ' || coalesce(a.numbers, 0)
                    end as detail
                from r cross join kept k left join a on a.job = r.id
                where r.attempt > 0 or a.job is not null
            ) d where d.detail is not null
            """
        )

        static let lonelyAttempts = Question(
            """
            select 'orphan' as kind, t.job, null::int as lane, count(*) || ' attempts of a job that no ledger entry names' as detail
            from trunkline.attempts t
            where not exists (select from trunkline.ledger l where l.job = t.job)
              and not exists (select from trunkline.jobs j where j.id = t.job)
              and not exists (select from trunkline.finished f where f.id = t.job)
            group by t.job
            """
        )

        static let impossible = Question(
            """
            select d.kind, d.job, d.lane, d.detail from (
                select 'impossible' as kind, f.id as job, f.lane,
                    case
                        when f.state = 'sent' and f.attempt = 0 then 'sent without an attempt'
                        when f.state in ('expired', 'cancelled', 'superseded') and f.maybe_sent_since is not null
                            then f.state || ', although it may have been sent'
                        when f.tries > f.attempt then 'more tries than attempts'
                        when f.attempt > 0 and f.claimed_at is null then 'an attempt without a claim'
                    end as detail
                from trunkline.finished f
                union all
                select 'impossible', j.id, j.lane,
                    case
                        when j.state in ('sending', 'waiting', 'unknown') and j.place = 0 then j.state || ' without a place'
                        when j.state = 'accepted' and j.attempt > 0 and j.arrival = j.id then 'accepted after an attempt'
                        when j.maybe_sent_since is not null and j.attempt = 0 then 'may have been sent without an attempt'
                        when j.attempt > 0 and j.claimed_at is null then 'an attempt without a claim'
                        when j.cancel_wanted and j.state in ('accepted', 'waiting') and j.maybe_sent_since is null
                            then 'a cancel came, its attempt is over and surely sent nothing, and it waits again'
                    end
                from trunkline.jobs j
            ) d where d.detail is not null
            """
        )

        static let twoAtOnce = Question(
            """
            select 'impossible' as kind, max(j.id) as job, j.lane,
                   count(*) || ' jobs of one person are under way at once; the first is ' || min(j.id) as detail
            from trunkline.jobs j where j.state in ('sending', 'unknown')
            group by j.lane, j.person having count(*) > 1
            """
        )

        /// The newest fact of each thing is raised with the job that brings it, and decides what is superseded.
        static let facts = Question(
            """
            select 'impossible' as kind, r.id as job, r.lane,
                case when f.fact_at is null then 'its fact is not remembered'
                     else 'its fact is newer than the newest that is remembered' end as detail
            from (
                select id, lane, scope, supersede_key, fact_at from trunkline.jobs where supersede_key is not null
                union all
                select id, lane, scope, supersede_key, fact_at from trunkline.finished where supersede_key is not null
            ) r
            left join trunkline.facts f on f.scope = r.scope and f.supersede_key = r.supersede_key
            where f.fact_at is null or f.fact_at < r.fact_at
            union all
            select 'impossible', r.id, r.lane, 'superseded, and no newer fact is remembered'
            from trunkline.finished r
            where r.state = 'superseded' and not exists (
                select from trunkline.facts f
                where f.scope = r.scope and f.supersede_key = r.supersede_key and f.fact_at > r.fact_at)
            union all
            select 'orphan', f.job, null::int, 'a fact is remembered of a job that no ledger entry names'
            from trunkline.facts f
            where not exists (select from trunkline.ledger l where l.job = f.job)
            """
        )
    }

    private struct Collector {
        private(set) var findings: [CheckReport.Finding] = []
        private(set) var counts: [CheckReport.Kind: Int64] = [:]
        private var doubled: Set<JobID> = []

        mutating func add(_ rows: PostgresRows, of question: Question) {
            var totals: [CheckReport.Kind: Int64] = [:]
            for row in 0..<rows.count {
                guard let kind = rows.text(row, 0).flatMap(CheckReport.Kind.init(rawValue:)) else { continue }
                let job = rows.int8(row, 1).map(JobID.init)
                let total = totals[kind] ?? rows.int8(row, 4) ?? 0
                totals[kind] = total
                if kind == .doubled, let job { doubled.insert(job) }
                if kind == .flipped || kind == .attempts, let job, doubled.contains(job) {
                    totals[kind] = total - 1
                    continue
                }
                append(kind, job, rows.text(row, 2), rows.text(row, 3) ?? "")
            }
            for (kind, total) in totals where total > 0 { counts[kind, default: 0] += total }
        }

        mutating func add(_ kind: CheckReport.Kind, _ job: JobID, _ lane: String?, _ detail: String) {
            if doubled.contains(job) { return }
            counts[kind, default: 0] += 1
            if counts[kind, default: 0] <= Check.listed { append(kind, job, lane, detail) }
        }

        private mutating func append(_ kind: CheckReport.Kind, _ job: JobID?, _ lane: String?, _ detail: String) {
            findings.append(CheckReport.Finding(kind: kind, job: job, lane: lane, detail: detail))
        }
    }

    // MARK: Contents

    /// Every stored request must be the content that the ledger has the digest of. Read here and not in SQL, where one
    /// damaged row would fail the whole question.
    private static func compareContents(_ session: PostgresSession, _ collector: inout Collector) async throws {
        try await session.query(
            """
            declare contents no scroll cursor for
            select r.id, r.recipient, r.request, l.content_digest, coalesce(li.id, n.name)
            from (
                select id, lane, recipient, request from trunkline.jobs
                union all
                select id, lane, recipient, request from trunkline.finished
            ) r
            join trunkline.ledger l on l.job = r.id
            join trunkline.lanes n on n.number = r.lane
            left join trunkline.lines li on li.lane = r.lane
            where n.name like 'line:%'
            """
        )
        while true {
            let rows = try await session.query("fetch forward 5000 from contents")
            if rows.count == 0 { break }
            for row in 0..<rows.count {
                guard let id = rows.int8(row, 0), let recipient = rows.text(row, 1), let request = rows.bytes(row, 2),
                    let digest = rows.bytes(row, 3)
                else { continue }
                let lane = rows.text(row, 4)
                guard let content = StoredContent(request: request) else {
                    collector.add(.flipped, JobID(id), lane, "the stored request cannot be read")
                    continue
                }
                if content.recipient != recipient {
                    collector.add(
                        .flipped,
                        JobID(id),
                        lane,
                        "the stored request goes to another number than the row says"
                    )
                } else if content.digest != digest {
                    collector.add(.flipped, JobID(id), lane, "the content is not the one that the ledger remembers")
                }
            }
        }
        try await session.query("close contents")
    }

    /// What a stored request (`EZWhatsApp.textRequestBody`) says.
    private struct StoredContent {
        let recipient: String
        let digest: [UInt8]

        init?(request: [UInt8]) {
            guard let json = try? JSONValue(parsing: request), let to = json["to"]?.text, let body = json["body"]?.text
            else { return nil }
            let button = json["ctaUrlButton"]
            recipient = to
            digest = SendJob.contentDigest(
                to: to,
                body: body,
                buttonText: button?["displayText"]?.text,
                buttonURL: button?["url"]?.text
            )
        }
    }

    // MARK: Counts

    private static func lanes(_ session: PostgresSession) async throws -> [CheckReport.Lane] {
        struct Sums {
            var ledger: Int64 = 0
            var unfinished: [String: Int64] = [:]
            var finished: [String: Int64] = [:]
            var tallied: Int64 = 0
            var attempts: Int64 = 0
        }
        let rows = try await session.query(
            """
            select c.place, c.state, c.jobs, coalesce(l.id, n.name, 'lane ' || c.lane) from (
                select 'ledger' as place, null::text as state, lane, count(*) as jobs from trunkline.ledger group by lane
                union all
                select 'jobs', state, lane, count(*) from trunkline.jobs group by state, lane
                union all
                select 'finished', state, lane, count(*) from trunkline.finished group by state, lane
                union all
                select 'tallies', null, lane, sum(jobs)::bigint from trunkline.tallies group by lane
                union all
                select 'attempts', null, r.lane, sum(a.attempts)::bigint
                from (select job, count(*) as attempts from trunkline.attempts group by job) a
                join (select id, lane from trunkline.jobs union all select id, lane from trunkline.finished) r on r.id = a.job
                group by r.lane
            ) c
            left join trunkline.lanes n on n.number = c.lane
            left join trunkline.lines l on l.lane = c.lane
            """
        )
        var sums: [String: Sums] = [:]
        for row in 0..<rows.count {
            guard let place = rows.text(row, 0), let jobs = rows.int8(row, 2), let name = rows.text(row, 3) else {
                continue
            }
            let state = rows.text(row, 1) ?? ""
            switch place {
            case "ledger": sums[name, default: Sums()].ledger += jobs
            case "jobs": sums[name, default: Sums()].unfinished[state, default: 0] += jobs
            case "finished": sums[name, default: Sums()].finished[state, default: 0] += jobs
            case "tallies": sums[name, default: Sums()].tallied += jobs
            default: sums[name, default: Sums()].attempts += jobs
            }
        }
        return sums.sorted { $0.key < $1.key }.map { name, sum in
            CheckReport.Lane(
                name: name,
                ledger: sum.ledger,
                unfinished: sum.unfinished,
                finished: sum.finished,
                tallied: sum.tallied,
                attempts: sum.attempts
            )
        }
    }
}
