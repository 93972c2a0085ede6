-- Scheduled jobs whose time has come get their place, in the order of their times. With each goes whatever else of its
-- person is scheduled and due, also what no owner has seen: it may have the earlier time. Where
-- somebody else has one of these locked, none of that person's gets a place: a later call gives them theirs in order.
--
-- Locks: shards (for share), jobs by id, those that are free.
-- Needs: held_shards, seen, shard_of.
create or replace function trunkline.place_due(p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_jobs bigint[])
returns setof trunkline.seen_job language plpgsql as $$
declare
    held int[] := trunkline.held_shards(p_boot, p_shards, p_fences);
begin
    return query
    with persons as materialized (
        select distinct j.lane, j.person from trunkline.jobs j join trunkline.lanes n on n.number = j.lane
        where j.id = any (p_jobs) and j.place = -1 and j.state = 'waiting' and j.due_at <= now()
          and trunkline.shard_of(n.shard_hash, p_shard_count) = any (held)
    ), found as materialized (
        select f.id, p.lane, p.person from persons p cross join lateral (
            select j.id from trunkline.jobs j
            where j.lane = p.lane and j.person = p.person and j.place between -1 and 0 and j.parked_at is null
              and j.due_at <= now() and (j.place = -1 or j.not_before > j.accepted_at)
            order by j.due_at, j.id limit 100
        ) f
    ), due as materialized (
        -- Locked in the order of ids, as everybody does.
        select j.id, j.due_at, j.lane, j.person from trunkline.jobs j
        where j.id = any (array(select f.id from found f)) and j.place between -1 and 0 and j.parked_at is null
          and j.due_at <= now()
        order by j.id
        for no key update of j skip locked
    ), held_up as materialized (
        select distinct f.lane, f.person from found f where f.id <> all (array(select d.id from due d))
    ), numbered as materialized (
        select o.id, nextval('trunkline.job_number') as place from (
            select d.id from due d
            where not exists (select from held_up h where h.lane = d.lane and h.person = d.person) order by d.due_at, d.id
        ) o
    ), placed as (
        update trunkline.jobs j set state = 'waiting', place = d.place from numbered d
        where j.id = d.id and j.id = any (array(select n.id from numbered n)) returning j.*
    )
    select (trunkline.seen(p::trunkline.jobs)).* from placed p;
end $$;
