-- Jobs that are not in the air and whose sendBefore has passed: they end as expired, or are parked when one may have been
-- sent; and those that may have been sent longer ago than their lane's horizon: parked. For jobs that no claim reaches:
-- their lane is held.
--
-- Locks: shards (for share), jobs by id, those that are free; ledger, finished.
-- Needs: finish, held_shards, shard_of.
create or replace function trunkline.expire(p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_limit int)
returns table (job bigint, lane int, person bigint) language plpgsql as $$
#variable_conflict use_column
declare
    held int[] := trunkline.held_shards(p_boot, p_shards, p_fences);
    late trunkline.late_job[];
    doubtful bigint[];
    shortest interval := (select make_interval(secs => min(unknown_horizon_ms) / 1000.0) from trunkline.lanes);
begin
    select coalesce(array_agg(row(d.id, d.lane, d.person, d.maybe_sent_since is not null,
            coalesce(d.send_before <= now(), false))::trunkline.late_job), '{}') into late
    from (
        select j.* from trunkline.jobs j join trunkline.lanes n on n.number = j.lane
        where j.id = any (array(
                (select j.id from trunkline.jobs j join trunkline.lanes n on n.number = j.lane
                 where j.parked_at is null and j.send_before <= now() and j.state in ('accepted', 'waiting', 'unknown')
                   and trunkline.shard_of(n.shard_hash, p_shard_count) = any (held)
                 order by j.send_before limit p_limit)
                union
                (select j.id from trunkline.jobs j join trunkline.lanes n on n.number = j.lane
                 -- What the shortest horizon of all leaves is little, and read in the order of its index.
                 where j.parked_at is null and j.maybe_sent_since < now() - shortest and j.state = 'unknown'
                   and j.maybe_sent_since < now() - make_interval(secs => n.unknown_horizon_ms / 1000.0)
                   and trunkline.shard_of(n.shard_hash, p_shard_count) = any (held)
                 order by j.maybe_sent_since limit p_limit)))
          and (j.send_before <= now() and j.state in ('accepted', 'waiting', 'unknown')
               or j.maybe_sent_since < now() - make_interval(secs => n.unknown_horizon_ms / 1000.0) and j.state = 'unknown')
        order by j.id
        for no key update of j skip locked
    ) d;
    perform trunkline.finish(array(select k.job from unnest(late) k where not k.stamped order by 1), 'expired', 'send_before_passed');
    doubtful := array(select k.job from unnest(late) k where k.stamped);
    update trunkline.jobs j set state = 'parked', parked_at = now(), due_at = now(),
        reason = case when k.late then 'send_before_passed_unknown' else 'unknown_horizon' end
    from unnest(late) k where j.id = k.job and j.id = any (doubtful);
    return query select k.job, k.lane, k.person from unnest(late) k;
end $$;
