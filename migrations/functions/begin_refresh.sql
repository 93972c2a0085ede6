-- Begins to ask for a lane's next credentials: one worker at a time in the whole fleet, for as long as its lease lasts, because
-- what they are asked for with is often good for one question only.
--
-- Verdicts: begun; lost; behind (p_generation is not the one in force: read it again); busy (another worker asks).
-- Locks: shards (for share), lane_credentials.
-- Needs: held_shards, shard_of.
create or replace function trunkline.begin_refresh(
    p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_lane int, p_generation bigint, p_lease_ms int
) returns text language plpgsql as $$
declare
    held int[] := trunkline.held_shards(p_boot, p_shards, p_fences);
    kept trunkline.lane_credentials;
begin
    if not exists (select from trunkline.lanes n
                   where n.number = p_lane and trunkline.shard_of(n.shard_hash, p_shard_count) = any (held)) then
        return 'lost';
    end if;
    insert into trunkline.lane_credentials (lane) values (p_lane) on conflict (lane) do nothing;
    select * into kept from trunkline.lane_credentials c where c.lane = p_lane for no key update;
    if kept.generation <> p_generation then
        return 'behind';
    elsif kept.refresher <> p_boot and kept.refresh_until > now() then
        return 'busy';
    end if;
    update trunkline.lane_credentials c
    set refresher = p_boot, refresh_until = now() + make_interval(secs => p_lease_ms / 1000.0) where c.lane = p_lane;
    return 'begun';
end $$;
