-- The shards of the caller whose fence still stands.
--
-- Locks: their rows (for share), by number, against a take-over until the transaction ends.
-- Needs: nothing.
create or replace function trunkline.held_shards(p_boot uuid, p_shards int[], p_fences bigint[]) returns int[] language plpgsql as $$
declare
    held int[];
begin
    select coalesce(array_agg(f.shard), '{}') into held from (
        select s.shard from trunkline.shards s
        join unnest(p_shards, p_fences) as mine (shard, fence) on mine.shard = s.shard and mine.fence = s.fence
        where s.owner = p_boot
        order by s.shard
        for share of s
    ) f;
    return held;
end $$;
