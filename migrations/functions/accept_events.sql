-- Stores received events, and makes of each new one the job that runs it, in the lane of its source. p_person: what keeps it
-- in order. With the rights of its owner, like accept; for whoever has seen the proof of the sender.
--
-- Verdicts: new; repeat (counted, no effect); conflict (the same event with other bytes: a refusal); unknown_lane,
-- removed_lane (of the source).
-- Locks: inbox by source and event; ledger by scope and key; new jobs.
-- Needs: event_job_key.
create or replace function trunkline.accept_events(
    p_source text[], p_event_key text[], p_headers text[], p_body bytea[], p_digest bytea[], p_received_at timestamptz[],
    p_person bigint[]
) returns table (item int, verdict text, job bigint, lane int)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    numbers bigint[];
    fresh int[];
begin
    -- Numbers in order of arrival, before anything is sorted.
    numbers := array(select nextval('trunkline.job_number') from generate_series(1, cardinality(p_source)));

    with firsts as (
        select distinct on (i.source, i.event_key) i.*, n.number as lane, n.scope,
            trunkline.event_job_key(i.event_key, 0) as job_key
        from unnest(p_source, p_event_key, p_headers, p_body, p_digest, p_received_at, p_person) with ordinality
            as i (source, event_key, headers, body, digest, received_at, person, item)
        join trunkline.lanes n on n.name = 'source:' || i.source
        where n.removed_at is null
        order by i.source, i.event_key, i.item
    ), stored as (
        insert into trunkline.inbox (source, event_key, headers, body, digest, received_at, job)
        select f.source, f.event_key, f.headers::jsonb, f.body, f.digest, f.received_at, numbers[f.item]
        from firsts f order by f.source, f.event_key
        on conflict on constraint inbox_source_event do nothing
        returning inbox.job
    ), entered as (
        insert into trunkline.ledger (scope, key_digest, content_digest, job, lane)
        select f.scope, substring(sha256(convert_to(f.job_key, 'UTF8')) for 16), substring(f.digest for 16), s.job, f.lane
        from firsts f join stored s on s.job = numbers[f.item]
        order by 1, 2
        returning ledger.job, ledger.key_digest
    ), made as (
        insert into trunkline.jobs (id, lane, scope, key, key_digest, person, request, state, arrival)
        select e.job, f.lane, f.scope, f.job_key, e.key_digest, f.person, convert_to(f.event_key, 'UTF8'), 'accepted', e.job
        from firsts f join entered e on e.job = numbers[f.item]
        order by e.job
    )
    select coalesce(array_agg(f.item::int), '{}') into fresh from firsts f join stored s on s.job = numbers[f.item];

    -- In a statement of its own: only a later snapshot sees the row that DO NOTHING waited for.
    return query
    select i.item::int,
        case when i.item = any (fresh) then 'new'
             when n.number is null then 'unknown_lane'
             when n.removed_at is not null then 'removed_lane'
             when b.digest = i.digest then 'repeat'
             else 'conflict' end,
        case when i.item = any (fresh) then numbers[i.item] end, n.number
    from unnest(p_source, p_event_key, p_digest) with ordinality as i (source, event_key, digest, item)
    left join trunkline.lanes n on n.name = 'source:' || i.source
    left join trunkline.inbox b on b.source = i.source and b.event_key = i.event_key;

    -- A count is worth no wait: whoever has the row runs its event.
    update trunkline.inbox b set repeats = b.repeats + 1
    from (select x.source, x.event_key from trunkline.inbox x
          where (x.source, x.event_key) in (
              select i.source, i.event_key from unnest(p_source, p_event_key) with ordinality as i (source, event_key, item)
              join trunkline.lanes n on n.name = 'source:' || i.source
              where not i.item = any (fresh) and n.removed_at is null)
          order by x.source, x.event_key for no key update of x skip locked) r
    where b.source = r.source and b.event_key = r.event_key;
end $$;
