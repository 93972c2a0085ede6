-- Counts requests to sources that did not prove their sender, by source and reason; of a source that is not there nothing is
-- kept. With the rights of its owner, like accept.
--
-- Locks: source_forgeries by source and reason.
-- Needs: nothing.
create or replace function trunkline.note_forged(p_source text[], p_reason text[], p_times bigint[])
returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into trunkline.source_forgeries (source, reason, times)
    select s.id, f.reason, sum(f.times)
    from unnest(p_source, p_reason, p_times) as f (source, reason, times)
    join trunkline.sources s on s.id = f.source
    group by s.id, f.reason
    order by s.id, f.reason
    on conflict on constraint source_forgeries_key do update
    set times = source_forgeries.times + excluded.times, last_at = now();
$$;
