-- Begins attempts: committed before anything leaves.
--
-- Verdicts: claimed; claimed_quietly (the same, and until begin_effect it is known that nothing took effect); lost; gone; busy (not claimable in this state); early (also: somebody else has the row locked); expired (sendBefore has passed) and superseded
-- (a newer fact was accepted): both ended here unless it may have been sent: then parked; held (the operator's hold);
-- horizon (may have been sent too long ago: parked); overtaken (a due row of that person comes first, perhaps one that no
-- owner has seen: adopt first); capped (the lane has had what it may today; wait_ms until its next midnight).
-- Locks: shards (for share), jobs by id, those that are free; ledger and finished of those that end; lane_state by lane where a lane has a cap
-- or a pace.
-- Needs: cap, finish, held_shards, keep_pace, shard_of.
create or replace function trunkline.claim(
    p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_lease_ms int, p_jobs bigint[],
    p_pace_lanes int[], p_pace_next_ms int[]
) returns table (job bigint, verdict text, attempt int, tries int, key text, request bytea, send_before timestamptz, wait_ms int)
language plpgsql as $$
#variable_conflict use_column
declare
    held int[] := trunkline.held_shards(p_boot, p_shards, p_fences);
    looked trunkline.claim_look[];
begin
    select coalesce(array_agg(row(j.id, j.lane, case
            when not coalesce(trunkline.shard_of(n.shard_hash, p_shard_count) = any (held), false) then 'lost'
            when j.state not in ('waiting', 'unknown') or j.place <= 0 then 'busy'
            when j.due_at > now() + interval '50 milliseconds' then 'early'
            when j.send_before <= now() then 'expired'
            when j.supersede_key is not null and exists (
                select from trunkline.facts f
                where f.scope = j.scope and f.supersede_key = j.supersede_key and f.fact_at > j.fact_at
            ) then 'superseded'
            when n.hold_reason is not null and (n.hold_until is null or n.hold_until > now()) then 'held'
            when j.maybe_sent_since < now() - make_interval(secs => n.unknown_horizon_ms / 1000.0) then 'horizon'
            when j.state <> 'unknown' and exists (
                -- Something of the person has an earlier place, or is due and no owner has seen it.
                select from trunkline.jobs o
                where o.lane = j.lane and o.person = j.person and o.place < j.place and o.parked_at is null
                  and (o.place > 0 or o.due_at <= now())
            ) then 'overtaken'
            when exists (
                -- Something of the person is in the air or unknown although its place is later. Such a one is near: it was
                -- the head when it began.
                select from (select o.id, o.state from trunkline.jobs o
                             where o.lane = j.lane and o.person = j.person and o.place > 0 and o.parked_at is null
                             order by o.place limit 64) o
                where o.id <> j.id and o.state in ('sending', 'unknown')
            ) then 'overtaken'
            else 'claimed' end, j.maybe_sent_since is not null, null, n.begins_quietly)::trunkline.claim_look), '{}') into looked
    from (select * from trunkline.jobs where id = any (p_jobs) order by id for no key update skip locked) j
    join trunkline.lanes n on n.number = j.lane;

    perform trunkline.finish(array(select k.job from unnest(looked) k where k.verdict = 'expired' and not k.stamped order by 1),
        'expired', 'send_before_passed');
    perform trunkline.finish(array(select k.job from unnest(looked) k where k.verdict = 'superseded' and not k.stamped order by 1),
        'superseded', 'newer_fact');
    update trunkline.jobs j set state = 'parked', parked_at = now(), due_at = now(),
        reason = case k.verdict when 'horizon' then 'unknown_horizon' when 'superseded' then 'superseded_unknown'
            else 'send_before_passed_unknown' end
    from unnest(looked) k
    where j.id = k.job and j.id = any (p_jobs) and (k.verdict in ('expired', 'superseded') and k.stamped or k.verdict = 'horizon');

    if exists (select from unnest(looked) k join trunkline.lanes l on l.number = k.lane where l.daily_cap is not null) then
        looked := trunkline.cap(looked, p_jobs);
    end if;

    return query
    with begun as (
        update trunkline.jobs j
        set state = 'sending', reason = null, attempt = j.attempt + 1, tries = j.tries + 1, claimed_at = now(), claimed_by = p_boot,
            lease_until = now() + make_interval(secs => p_lease_ms / 1000.0), quiet = k.quiet
        from unnest(looked) k where j.id = k.job and j.id = any (p_jobs) and k.verdict = 'claimed'
        returning j.id, j.attempt, j.tries, j.key, j.request, j.send_before, j.quiet
    )
    select w.id, case when b.quiet then 'claimed_quietly' else coalesce(k.verdict, case
            when exists (select from trunkline.jobs e where e.id = w.id and e.id = any (p_jobs)) then 'early' else 'gone' end) end, b.attempt, b.tries, b.key, b.request, b.send_before, k.wait_ms
    from unnest(p_jobs) w (id)
    left join unnest(looked) k on k.job = w.id
    left join begun b on b.id = w.id;

    if cardinality(p_pace_lanes) > 0 then
        perform trunkline.keep_pace(p_pace_lanes, p_pace_next_ms);
    end if;
end $$;
