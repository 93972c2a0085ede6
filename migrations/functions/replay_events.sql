-- Has events of a source run anew, each by a job of its own, in the order given. What they did already is not done twice:
-- facts by their times, notices by their keys.
--
-- Verdicts: replayed; unfinished (the job that runs it has not ended); emptied (retention has dropped its bytes);
-- unknown_event; unknown_lane, removed_lane (of the source).
-- Locks: inbox by source and event; ledger by scope and key; new jobs.
-- Needs: event_job_key.
create or replace function trunkline.replay_events(p_source text, p_event_key text[], p_person bigint[])
returns table (item int, verdict text, job bigint) language plpgsql as $$
#variable_conflict use_column
declare
    numbers bigint[];
    made int[];
begin
    numbers := array(select nextval('trunkline.job_number') from generate_series(1, cardinality(p_event_key)));
    perform from trunkline.inbox b where b.source = p_source and b.event_key = any (p_event_key)
    order by b.event_key for no key update of b;

    with chosen as (
        select distinct on (i.event_key) i.*, b.digest, n.number as lane, n.scope,
            trunkline.event_job_key(i.event_key, b.replays + 1) as job_key
        from unnest(p_event_key, p_person) with ordinality as i (event_key, person, item)
        join trunkline.inbox b on b.source = p_source and b.event_key = i.event_key
        join trunkline.lanes n on n.name = 'source:' || p_source and n.removed_at is null
        where b.emptied_at is null and not exists (select from trunkline.jobs j where j.id = b.job)
        order by i.event_key, i.item
    ), entered as (
        insert into trunkline.ledger (scope, key_digest, content_digest, job, lane)
        select c.scope, substring(sha256(convert_to(c.job_key, 'UTF8')) for 16), substring(c.digest for 16), numbers[c.item], c.lane
        from chosen c order by 1, 2
        returning ledger.job, ledger.key_digest
    ), queued as (
        insert into trunkline.jobs (id, lane, scope, key, key_digest, person, request, state, arrival)
        select e.job, c.lane, c.scope, c.job_key, e.key_digest, c.person, convert_to(c.event_key, 'UTF8'), 'accepted', e.job
        from chosen c join entered e on e.job = numbers[c.item] order by e.job
    ), marked as (
        update trunkline.inbox b set job = numbers[c.item], replays = b.replays + 1
        from chosen c where b.source = p_source and b.event_key = c.event_key
    )
    select coalesce(array_agg(c.item::int), '{}') into made from chosen c;

    return query
    select i.item::int,
        case when i.item = any (made) then 'replayed'
             when n.number is null then 'unknown_lane'
             when n.removed_at is not null then 'removed_lane'
             when b.event_key is null then 'unknown_event'
             when b.emptied_at is not null then 'emptied'
             else 'unfinished' end,
        case when i.item = any (made) then numbers[i.item] end
    from unnest(p_event_key) with ordinality as i (event_key, item)
    left join trunkline.lanes n on n.name = 'source:' || p_source
    left join trunkline.inbox b on b.source = p_source and b.event_key = i.event_key;
end $$;
