-- Gives a job that has not begun another time (null: now); its owner sees it anew.
--
-- Verdicts: rescheduled; gone; ended; begun; after_send_before (sendBefore comes first: nothing changed).
-- Locks: the job.
-- Needs: nothing.
create or replace function trunkline.reschedule(p_job bigint, p_not_before timestamptz)
returns table (verdict text, state text, attempt int, due_at timestamptz, send_before timestamptz) language plpgsql
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    j trunkline.jobs;
    due timestamptz := greatest(coalesce(p_not_before, now()), now());
begin
    select * into j from trunkline.jobs where id = p_job for no key update;
    if not found then
        return query
        select coalesce(max('ended'), 'gone'), max(f.state), max(f.attempt), null::timestamptz, null::timestamptz
        from trunkline.finished f where f.id = p_job;
        return;
    end if;
    if j.state not in ('accepted', 'waiting') or j.attempt > 0 or j.maybe_sent_since is not null then
        return query select 'begun', j.state, j.attempt, j.due_at, j.send_before;
    elsif j.send_before <= due then
        return query select 'after_send_before', j.state, j.attempt, due, j.send_before;
    else
        update trunkline.jobs
        set state = 'accepted', place = 0, arrival = nextval('trunkline.job_number'), reason = null, not_before = due, due_at = due
        where id = p_job;
        return query select 'rescheduled', 'accepted', j.attempt, due, j.send_before;
    end if;
end $$;
