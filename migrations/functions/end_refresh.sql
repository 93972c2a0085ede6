-- What asking for a lane's next credentials has brought: new ones, or nothing (p_sealed null). Fenced by the generation that
-- they follow and not by the shard: new ones are often the only ones that are still good, whoever owns the shard by now.
--
-- Verdicts: whether p_generation was still in force, and, where there are no new ones, the asking was the caller's. If not,
-- nothing has changed: what is in force is to be read.
-- Locks: lane_credentials.
-- Needs: nothing.
create or replace function trunkline.end_refresh(
    p_boot uuid, p_lane int, p_generation bigint, p_sealed bytea, p_key_version int, p_lasts_ms bigint
) returns boolean language plpgsql as $$
begin
    update trunkline.lane_credentials c
    set generation = c.generation + (p_sealed is not null)::int,
        sealed = coalesce(p_sealed, c.sealed), key_version = coalesce(p_key_version, c.key_version),
        expires_at = case when p_sealed is null then c.expires_at else now() + make_interval(secs => p_lasts_ms / 1000.0) end,
        refresher = null, refresh_until = null
    where c.lane = p_lane and c.generation = p_generation and (p_sealed is not null or c.refresher = p_boot);
    return found;
end $$;
