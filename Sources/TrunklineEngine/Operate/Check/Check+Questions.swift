extension Check {
    /// Each gives rows of: kind, job (or null), lane number (or null), detail, and how many there are of its kind in all.
    struct Question {
        let sql: String

        init(_ body: String) {
            sql = """
                select q.kind, q.job, n.name, q.detail, q.total
                from (
                    select f.*, count(*) over (partition by f.kind) as total,
                           row_number() over (partition by f.kind order by f.job) as position
                    from (\(body)) f
                ) q
                left join trunkline.lanes n on n.number = q.lane
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
}
