-- What workers say of attempts that were given up for lost, or overtaken, or whose job has ended. Such words are rare and
-- may be of any day. Each day is found by reading, and then written by name (hence `execute`), so that only its partition
-- is locked: `trunkline retain` and a late word meet at most over one and the same day.
--
-- Locks: ledger, sent_today; rows of attempts and finished, a day at a time.
-- Needs: nothing.
create or replace function trunkline.settle_late(p_boot uuid, p_looked trunkline.settle_look[]) returns void language plpgsql as $$
declare
    late record;
    today date := (now() at time zone 'UTC')::date;
begin
    for late in
        select k.job, k.attempt, k.job_attempt, k.outcome, k.reason, k.remote_id, k.status, k.evidence, k.verdict,
            f.ended_on, f.state as end_state, f.attempt as end_attempt, f.scope, f.key_digest, f.lane,
            (select min(a.started_on) from trunkline.attempts a where a.job = k.job and a.number = k.attempt) as recorded_on
        from unnest(p_looked) k
        left join trunkline.finished f on k.verdict = 'ended' and f.id = k.job
        where k.verdict in ('late_sent', 'ended') or k.attempt <> k.job_attempt
        order by k.job, k.attempt
    loop
        if late.outcome = 'sent' and late.end_state <> 'sent' then
            -- A job that had ended otherwise was sent after all: the end is corrected, visibly.
            update trunkline.ledger l set final_state = 'sent'
            where l.scope = late.scope and l.key_digest = late.key_digest and l.job = late.job;
            if late.ended_on = today then
                insert into trunkline.sent_today as t (lane, day, jobs) values (late.lane, today, 1)
                on conflict (lane) do update
                set day = excluded.day, jobs = 1 + case when t.day = excluded.day then t.jobs else 0 end;
            end if;
        end if;
        if late.recorded_on is null then
            -- The outcome of an attempt that another one overtook is evidence. The same outcome again is nothing.
            if late.verdict <> 'ended' and late.attempt <> late.job_attempt
                or late.verdict = 'ended' and late.ended_on is not null
                    and not (late.outcome = 'sent' and late.attempt = 1 and late.end_attempt = 1)
            then
                insert into trunkline.attempts (job, number, started_at, started_on, worker, outcome, reason, status, evidence)
                values (late.job, late.attempt, now(), today, p_boot,
                    case late.outcome when 'sent' then 'sent' else 'stale' end, late.reason, late.status, late.evidence)
                on conflict on constraint attempts_key do nothing;
            end if;
        elsif late.outcome = 'sent' then
            -- A worker that was given up for lost has spoken after all.
            execute 'update trunkline.attempts a
                set outcome = ''sent'', reason = $4, status = $5, evidence = $6, ended_at = now()
                where a.started_on = $1 and a.job = $2 and a.number = $3 and a.outcome = ''abandoned'''
                using late.recorded_on, late.job, late.attempt, late.reason, late.status, late.evidence;
        end if;
        if late.outcome = 'sent' and late.end_state <> 'sent' then
            execute 'update trunkline.finished f set state = ''sent'', reason = ''late'', remote_id = $3
                where f.ended_on = $1 and f.id = $2 and f.state <> ''sent'''
                using late.ended_on, late.job, late.remote_id;
        end if;
    end loop;
end $$;
