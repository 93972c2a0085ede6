-- Stores received events.
--
-- Verdicts: new; repeat (no effect); conflict (the same delivery id with other bytes: a refusal).
-- Locks: inbox by source and event.
-- Needs: nothing.
create or replace function trunkline.take_events(
    p_source text[], p_event_key text[], p_headers text[], p_body bytea[], p_digest bytea[], p_received_at timestamptz[]
) returns table (item int, verdict text) language plpgsql as $$
#variable_conflict use_column
declare
    fresh int[];
begin
    with firsts as (
        select distinct on (i.source, i.event_key) i.*
        from unnest(p_source, p_event_key, p_headers, p_body, p_digest, p_received_at) with ordinality
            as i (source, event_key, headers, body, digest, received_at, item)
        order by i.source, i.event_key, i.item
    ), stored as (
        insert into trunkline.inbox (source, event_key, headers, body, digest, received_at)
        select f.source, f.event_key, f.headers::jsonb, f.body, f.digest, f.received_at
        from firsts f order by f.source, f.event_key
        on conflict on constraint inbox_source_event do nothing
        returning inbox.source, inbox.event_key
    )
    select coalesce(array_agg(f.item::int), '{}') into fresh from firsts f join stored s using (source, event_key);

    -- In a statement of its own: only a later snapshot sees the row that DO NOTHING waited for.
    return query
    select i.item::int,
        case when i.item = any (fresh) then 'new' when b.digest = i.digest then 'repeat' else 'conflict' end
    from unnest(p_source, p_event_key, p_digest) with ordinality as i (source, event_key, digest, item)
    join trunkline.inbox b on b.source = i.source and b.event_key = i.event_key;

    update trunkline.inbox b set repeats = b.repeats + 1
    from (select distinct i.source, i.event_key from unnest(p_source, p_event_key) with ordinality as i (source, event_key, item)
          where not i.item = any (fresh) order by 1, 2) r
    where b.source = r.source and b.event_key = r.event_key;
end $$;
