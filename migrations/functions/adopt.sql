-- The owner looks at rows that no owner has seen, oldest first, and gives each its place (scheduled ones later). It begins
-- behind p_after: while somebody holds an old snapshot, the index keeps an entry of every row that was ever unseen, and
-- each call would walk them all. What comes to light before p_after (a commit that took long) is found by a call with 0. A
-- row younger than p_min_age_ms is left to its wake-up, if it has one.
--
-- A row that somebody else has locked is left for a later call, and nobody waits for it: what comes after it of its person is
-- placed, and claim lets none of that begin before it.
--
-- Locks: shards (for share), jobs, those that are free.
-- Needs: held_shards, seen, shard_of.
create or replace function trunkline.adopt(
    p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_min_age_ms int, p_limit int, p_after bigint
) returns setof trunkline.seen_job language plpgsql as $$
declare
    held int[] := trunkline.held_shards(p_boot, p_shards, p_fences);
begin
    return query
    with found as materialized (
        select j.id from trunkline.jobs j join trunkline.lanes n on n.number = j.lane
        where j.place = 0 and j.parked_at is null and j.arrival > p_after and trunkline.shard_of(n.shard_hash, p_shard_count) = any (held)
          and (j.unannounced or j.accepted_at <= now() - make_interval(secs => p_min_age_ms / 1000.0))
        order by j.arrival limit p_limit
        -- Not in the order of ids: who waits for nobody is in no deadlock.
        for no key update of j skip locked
    ), placed as (
        -- The number it got when it was accepted (or put back by a person): what was answered before another began has the
        -- earlier place, whichever of the two the owner saw first. A scheduled one gets its place in the order of due times,
        -- also when it is late.
        update trunkline.jobs j
        set state = 'waiting', place = case when j.due_at > now() or j.not_before > j.accepted_at then -1 else j.arrival end
        where j.id = any (array(select f.id from found f))
        returning j.*
    )
    select (trunkline.seen(p::trunkline.jobs)).* from placed p;
end $$;
