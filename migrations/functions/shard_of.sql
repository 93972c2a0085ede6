-- The shard of a lane. Rows store the lane, never the shard. Inlined where it is used, so that plans see through it.
--
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.shard_of(p_shard_hash bigint, p_shard_count int) returns int language sql immutable as $$
    select (p_shard_hash % p_shard_count)::int;
$$;
