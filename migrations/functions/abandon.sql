-- Attempts of silent workers that the owner has seen expired and unchanged. One that had made no call yet that may take effect
-- is a plain retry, and its try is given back: nobody refused anything. Any other one may have been sent. The third time that
-- a worker was lost with it as the only suspect of its process parks it as poison, also in a look-up.
--
-- Locks: shards (for share), jobs by id, those that are free; ledger; lane_state by lane; finished; attempts.
-- Needs: finish, give_back_cap, held_shards, seen, shard_of.
create or replace function trunkline.abandon(
    p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_jobs bigint[], p_attempts int[]
) returns setof trunkline.seen_job language plpgsql as $$
declare
    held int[] := trunkline.held_shards(p_boot, p_shards, p_fences);
    looked trunkline.abandon_look[];
begin
    select coalesce(array_agg(row(j.id, j.attempt, j.claimed_at, j.claimed_by,
            case
                when j.quiet and j.maybe_sent_since is null and j.cancel_wanted then 'cancelled'
                when j.suspect and j.crashes >= 2 then 'parked'
                when j.quiet and j.maybe_sent_since is null then 'waiting'
                else 'unknown'
            end, j.quiet and j.maybe_sent_since is null)::trunkline.abandon_look), '{}') into looked
    from (
        select j.* from trunkline.jobs j
        join unnest(p_jobs, p_attempts) as w (id, attempt) on w.id = j.id and w.attempt = j.attempt
        join trunkline.lanes n on n.number = j.lane
        where j.id = any (p_jobs) and j.state = 'sending' and j.lease_until < now()
          and trunkline.shard_of(n.shard_hash, p_shard_count) = any (held)
        order by j.id
        for no key update of j skip locked
    ) j;

    -- The worker may have died of it: from now on it runs as the only suspect of its process, and only what happens to it
    -- then counts against it.
    update trunkline.jobs j
    set state = case k.verdict when 'cancelled' then 'waiting' else k.verdict end,
        reason = case k.verdict when 'parked' then 'poison' else 'worker_lost' end,
        parked_at = case k.verdict when 'parked' then now() end,
        due_at = now(), tries = j.tries - j.quiet::int,
        maybe_sent_since = case when not k.harmless then coalesce(j.maybe_sent_since, j.claimed_at) end,
        crashes = j.crashes + j.suspect::int, suspect = true
    from unnest(looked) k where j.id = k.job and j.id = any (p_jobs);

    perform trunkline.give_back_cap(array(select k.job from unnest(looked) k where k.harmless order by 1));
    perform trunkline.finish(array(select k.job from unnest(looked) k where k.verdict = 'cancelled' order by 1), 'cancelled', 'cancelled');

    insert into trunkline.attempts (job, number, started_at, started_on, worker, outcome, reason)
    select k.job, k.attempt, k.claimed_at, (k.claimed_at at time zone 'UTC')::date, k.claimed_by, 'abandoned', 'worker_lost'
    from unnest(looked) k
    order by k.job
    on conflict on constraint attempts_key do nothing;

    return query
    select (trunkline.seen(j)).* from trunkline.jobs j
    where j.id = any (p_jobs) and j.id = any (array(select k.job from unnest(looked) k where k.verdict <> 'cancelled'));
end $$;
