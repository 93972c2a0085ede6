-- When each person of some shards was last written to, for the gap between two messages to one person: as far back as the
-- gap of each lane reaches. Of jobs that ended or were parked; for the others it stands in their own row (load).
--
-- Locks: none.
-- Needs: shard_of.
create or replace function trunkline.last_sends(p_shard_count int, p_shards int[])
returns table (lane int, person bigint, ago_ms bigint) language plpgsql stable
-- Only a plan for this very moment knows how few of the day's rows are that young.
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    lanes int[];
    horizon timestamptz;
    first_day date;
begin
    select coalesce(array_agg(n.number), '{}'), now() - make_interval(secs => max(n.recipient_gap_ms) / 1000.0)
    into lanes, horizon
    from trunkline.lanes n
    where trunkline.shard_of(n.shard_hash, p_shard_count) = any (p_shards) and n.recipient_gap_ms > 0;
    first_day := (horizon at time zone 'UTC')::date;
    return query
    select s.lane, s.person, min((extract(epoch from now() - s.at) * 1000)::bigint)
    from (
        -- The bytes left at some time between claim and end.
        select f.lane, f.person, f.ended_at as at from trunkline.finished f
        where f.ended_on >= first_day and f.ended_at > horizon and f.claimed_at is not null
        union all
        select j.lane, j.person, j.parked_claim from trunkline.jobs j
        where j.lane = any (lanes) and j.parked_claim > horizon
    ) s join trunkline.lanes n on n.number = s.lane
    where n.number = any (lanes) and s.at > now() - make_interval(secs => n.recipient_gap_ms / 1000.0)
    group by s.lane, s.person;
end $$;
