-- Records outcomes, fenced by the attempt number and by nothing else. p_outcome: sent, retry, given_back, unknown, park.
-- `sent` counts from any attempt at any time; every other outcome only for the attempt that is current.
--
-- Verdicts: sent; late_sent (a later attempt runs or the job had ended otherwise); evidence (was sent already); waiting;
-- unknown; parked; cancelled (a cancel came during the attempt, and nothing was sent); stale (not the current attempt:
-- recorded as evidence only). None: somebody else has the row locked, and nothing of that outcome is recorded; it is to be
-- given again.
-- Locks: jobs by id, those that are free; ledger, finished, sent_today by lane, lane_state by lane, attempts.
-- Needs: end_jobs, finish, give_back_cap, settle_late.
create or replace function trunkline.settle(
    p_boot uuid, p_jobs bigint[], p_attempts int[], p_outcome text[], p_reason text[], p_due_ms int[], p_may_have_left boolean[],
    p_remote_id text[], p_status int[], p_evidence text[]
) returns table (job bigint, verdict text, attempt int) language plpgsql as $$
#variable_conflict use_column
declare
    looked trunkline.settle_look[];
begin
    select coalesce(array_agg(row(o.job, o.attempt, o.outcome, o.reason, o.due_ms, o.may_have_left, o.remote_id, o.status, o.evidence,
            j.attempt, j.state, j.claimed_at, j.maybe_sent_since,
            case
                when j.id is null then 'ended'
                when o.outcome = 'sent' and j.attempt = o.attempt and j.state = 'sending' then 'sent'
                when o.outcome = 'sent' then 'late_sent'
                when j.attempt <> o.attempt or j.state <> 'sending' then 'stale'
                when o.outcome = 'park' then 'parked'
                when j.cancel_wanted and j.maybe_sent_since is null and not o.may_have_left then 'cancelled'
                when j.maybe_sent_since is not null or o.may_have_left then
                    case when coalesce(j.maybe_sent_since, j.claimed_at) 
                            < now() - make_interval(secs => n.unknown_horizon_ms / 1000.0)
                        then 'parked_unknown' else 'unknown' end
                else 'waiting'
            end)::trunkline.settle_look), '{}') into looked
    from unnest(p_jobs, p_attempts, p_outcome, p_reason, p_due_ms, p_may_have_left, p_remote_id, p_status, p_evidence)
         as o (job, attempt, outcome, reason, due_ms, may_have_left, remote_id, status, evidence)
    left join (select * from trunkline.jobs where id = any (p_jobs) order by id for update skip locked) j on j.id = o.job
    left join trunkline.lanes n on n.number = j.lane
    where j.id is not null or not exists (select from trunkline.jobs e where e.id = o.job and e.id = any (p_jobs));

    -- Sent: the row leaves jobs, the ledger learns the end, in this statement or not at all.
    if exists (select from unnest(looked) k where k.verdict in ('sent', 'late_sent')) then
        insert into trunkline.sent_today as t (lane, day, jobs)
        select g.lane, (now() at time zone 'UTC')::date, count(*)
        from trunkline.end_jobs(array(
            select distinct on (k.job) row(k.job, 'sent', null, k.attempt, k.remote_id, k.evidence)::trunkline.job_end
            from unnest(looked) k where k.verdict in ('sent', 'late_sent') order by k.job, k.attempt)) g (lane)
        group by g.lane order by g.lane
        on conflict (lane) do update
        set day = excluded.day, jobs = excluded.jobs + case when t.day = excluded.day then t.jobs else 0 end
        -- A transaction that began before midnight does not undo the new day.
        where t.day <= excluded.day;
    end if;

    update trunkline.jobs j
    set state = case k.verdict when 'parked_unknown' then 'parked' when 'cancelled' then 'waiting' else k.verdict end,
        reason = case when k.verdict = 'parked_unknown' then 'unknown_horizon' else k.reason end,
        parked_at = case when k.verdict in ('parked', 'parked_unknown') then now() end,
        due_at = now() + make_interval(secs => k.due_ms / 1000.0),
        tries = j.tries - (k.outcome = 'given_back')::int,
        maybe_sent_since = case when k.may_have_left then coalesce(j.maybe_sent_since, j.claimed_at) else j.maybe_sent_since end,
        evidence = coalesce(k.evidence, j.evidence),
        suspect = j.suspect and k.outcome = 'given_back'
    from unnest(looked) k
    where j.id = k.job and j.id = any (p_jobs)
      and k.verdict in ('waiting', 'unknown', 'parked', 'parked_unknown', 'cancelled');

    perform trunkline.give_back_cap(array(
        select k.job from unnest(looked) k
        where k.stamp is null and not k.may_have_left and k.verdict in ('waiting', 'parked', 'cancelled') order by 1));

    perform trunkline.finish(array(select k.job from unnest(looked) k where k.verdict = 'cancelled' order by 1), 'cancelled', 'cancelled');

    -- A first attempt that was sent lives in the finished row; every other one has its own, in the day it began: no other
    -- day's partition is looked at, or locked. Recorded before: the key says so.
    insert into trunkline.attempts (job, number, started_at, started_on, worker, outcome, reason, status, evidence)
    select k.job, k.attempt, t.at, (t.at at time zone 'UTC')::date, p_boot,
        case k.verdict when 'stale' then 'stale' when 'parked' then 'parked' else k.outcome end, k.reason, k.status, k.evidence
    from unnest(looked) k
    cross join lateral (select coalesce(k.claimed_at, now()) as at) t
    where k.verdict <> 'ended' and k.attempt = k.job_attempt and not (k.verdict = 'sent' and k.attempt = 1)
    order by k.job, k.attempt
    on conflict on constraint attempts_key do nothing;

    if exists (select from unnest(looked) k where k.verdict in ('late_sent', 'ended') or k.attempt <> k.job_attempt) then
        perform trunkline.settle_late(p_boot, looked);
    end if;

    return query
    select k.job,
        case when k.verdict = 'ended' and k.outcome = 'sent' then 'evidence'
             when k.verdict = 'ended' then 'stale'
             when k.verdict = 'parked_unknown' then 'parked'
             else k.verdict end,
        k.attempt
    from unnest(looked) k;
end $$;
