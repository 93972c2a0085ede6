-- Attempts of silent workers that the owner has seen expired and unchanged: they may have been sent. The third time that a
-- worker was lost with it as the only suspect of its process parks it as poison.
--
-- Locks: shards (for share), jobs by id; attempts.
-- Needs: held_shards, seen, shard_of.
create or replace function trunkline.abandon(
    p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_jobs bigint[], p_attempts int[]
) returns setof trunkline.seen_job language plpgsql as $$
declare
    held int[] := trunkline.held_shards(p_boot, p_shards, p_fences);
begin
    return query
    with expired as (
        select j.* from trunkline.jobs j
        join unnest(p_jobs, p_attempts) as w (id, attempt) on w.id = j.id and w.attempt = j.attempt
        join trunkline.lanes n on n.number = j.lane
        where j.id = any (p_jobs) and j.state = 'sending' and j.lease_until < now()
          and trunkline.shard_of(n.shard_hash, p_shard_count) = any (held)
        order by j.id
        for no key update of j
    ), marked as (
        -- The worker may have died of it: from now on it runs as the only suspect of its process, and only what happens
        -- to it then counts against it.
        update trunkline.jobs j
        set state = case when j.suspect and j.crashes >= 2 then 'parked' else 'unknown' end,
            reason = case when j.suspect and j.crashes >= 2 then 'poison' else 'worker_lost' end,
            parked_at = case when j.suspect and j.crashes >= 2 then now() end,
            due_at = now(), maybe_sent_since = coalesce(j.maybe_sent_since, j.claimed_at),
            crashes = j.crashes + j.suspect::int, suspect = true
        from expired e where j.id = e.id and j.id = any (p_jobs)
        returning j.*
    ), noted as (
        insert into trunkline.attempts (job, number, started_at, started_on, worker, outcome, reason)
        select e.id, e.attempt, e.claimed_at, (e.claimed_at at time zone 'UTC')::date, e.claimed_by, 'abandoned', 'worker_lost'
        from expired e
        on conflict on constraint attempts_key do nothing
    )
    select (trunkline.seen(m::trunkline.jobs)).* from marked m;
end $$;
