-- Accepts sends and deliveries. With p_boot null: rows first, every new job is `accepted`. With p_boot: rows of the caller's
-- shards are placed, and claimed at once where p_fast says so and nothing stands against it; rows of other shards are
-- `accepted`.
--
-- Verdicts: new, and those of take_known: repeat, conflict, unknown_lane, removed_lane, lost.
-- stored_digest is there for a conflict: of what content the job is.
-- Locks: shards (for share), ledger by scope and key, facts by scope and key, new jobs; then jobs that a newer fact
-- replaces, lane_state by lane.
-- Needs: held_shards, keep_pace, shard_of, supersede, take_known.
create or replace function trunkline.take(
    p_boot uuid, p_shard_count int, p_shards int[], p_fences bigint[], p_lease_ms int, p_class int, p_parked text,
    p_lane text[], p_key text[], p_key_digest bytea[], p_content_digest bytea[], p_person bigint[], p_recipient text[],
    p_request bytea[], p_purpose text[], p_tags text[], p_not_before timestamptz[], p_send_before timestamptz[],
    p_supersede_key text[], p_fact_at timestamptz[], p_fast boolean[],
    p_pace_lanes int[], p_pace_next_ms int[]
) returns table (
    item int, verdict text, job bigint, lane int, state text, place bigint, due_in_ms bigint, attempt int, final_state text,
    lane_of_job text, stored_digest bytea
) language plpgsql as $$
#variable_conflict use_column
declare
    held int[] := '{}';
    numbers bigint[];
    items trunkline.take_item[];
begin
    if p_boot is not null then
        held := trunkline.held_shards(p_boot, p_shards, p_fences);
    end if;
    -- Numbers in order of arrival, before anything is sorted.
    numbers := array(select nextval('trunkline.job_number') from generate_series(1, cardinality(p_key)));

    select coalesce(array_agg(row(i.item, numbers[i.item], i.lane_name, i.key, i.key_digest, i.content_digest, i.person, i.recipient,
           i.request, i.purpose, i.tags, i.not_before, i.send_before, i.supersede_key,
           -- Who does not say when the fact happened says it now, in order of arrival.
           case when i.supersede_key is not null then coalesce(i.fact_at, clock_timestamp() + make_interval(secs => i.item * 0.000001)) end,
           i.fast,
           n.number, n.scope, n.removed_at is not null,
           coalesce(trunkline.shard_of(n.shard_hash, p_shard_count) = any (held), false),
           p_boot is not null and coalesce(trunkline.shard_of(n.shard_hash, p_shard_count) = any (p_shards), false)
               and not coalesce(trunkline.shard_of(n.shard_hash, p_shard_count) = any (held), false),
           n.hold_reason is not null and (n.hold_until is null or n.hold_until > now()),
           n.daily_cap is not null or n.begins_quietly
        )::trunkline.take_item order by i.item), '{}') into items
    from unnest(p_lane, p_key, p_key_digest, p_content_digest, p_person, p_recipient, p_request, p_purpose, p_tags,
                p_not_before, p_send_before, p_supersede_key, p_fact_at, p_fast) with ordinality
         as i (lane_name, key, key_digest, content_digest, person, recipient, request, purpose, tags,
               not_before, send_before, supersede_key, fact_at, fast, item)
    left join trunkline.lanes n on n.name = i.lane_name;

    return query
    with entered as (
        -- Sorted, else two takes of the same keys deadlock even with DO NOTHING.
        insert into trunkline.ledger (scope, key_digest, content_digest, job, lane)
        select f.scope, f.key_digest, f.content_digest, f.number, f.lane
        from (select distinct on (t.scope, t.key_digest) t.* from unnest(items) t
              where t.lane is not null and not t.removed and not t.lost
              order by t.scope, t.key_digest, t.item) f
        order by f.scope, f.key_digest
        on conflict do nothing
        returning ledger.job
    ), raised as (
        -- Only by new jobs: a repeat brings no fact.
        insert into trunkline.facts (scope, supersede_key, fact_at, job)
        select f.scope, f.supersede_key, f.fact_at, f.number
        from (select distinct on (t.scope, t.supersede_key) t.* from unnest(items) t join entered e on e.job = t.number
              where t.supersede_key is not null
              order by t.scope, t.supersede_key, t.fact_at desc, t.number desc) f
        order by f.scope, f.supersede_key
        on conflict on constraint facts_scope_key do update set fact_at = excluded.fact_at, job = excluded.job
        where excluded.fact_at > facts.fact_at
    ), made as (
        insert into trunkline.jobs (id, lane, scope, key, key_digest, person, recipient, request, purpose, tags, not_before,
            send_before, supersede_key, fact_at, class, state, reason, place, due_at, attempt, tries, claimed_at, lease_until, claimed_by,
            arrival, parked_at)
        select n.number, n.lane, n.scope, n.key, n.key_digest, n.person, n.recipient, n.request, n.purpose, n.tags::jsonb,
            n.not_before, n.send_before, n.supersede_key, n.fact_at, p_class,
            case when p_parked is not null then 'parked' when n.begin then 'sending' when n.mine then 'waiting' else 'accepted' end,
            p_parked,
            case when p_parked is not null then -1 when not n.mine then 0 when n.not_before > now() then -1 else n.number end,
            greatest(n.not_before, now()),
            n.begin::int, n.begin::int,
            case when n.begin then now() end,
            case when n.begin then now() + make_interval(secs => p_lease_ms / 1000.0) end,
            case when n.begin then p_boot end,
            n.number, case when p_parked is not null then now() end
        from (
            -- What may be superseded or capped, or begins quietly, is looked at by claim.
            select t.*, t.mine and t.fast and not t.hold and p_parked is null and t.supersede_key is null and not t.by_claim
                    and coalesce(t.not_before <= now(), true) and coalesce(t.send_before > now(), true)
                    -- The person has nothing under way, nothing earlier, and nothing due that no owner has seen.
                    and not exists (
                        select from trunkline.jobs o
                        where o.lane = t.lane and o.person = t.person and o.parked_at is null
                          and not (o.place <= 0 and o.due_at > now())
                    ) as begin
            from unnest(items) t join entered e on e.job = t.number
        ) n
        order by n.number
        returning jobs.id, jobs.lane, jobs.state, jobs.place,
            ceil(extract(epoch from jobs.due_at - now()) * 1000)::bigint as due_in_ms, jobs.attempt
    )
    select t.item, 'new', m.id, m.lane, m.state, m.place, m.due_in_ms, m.attempt, null::text, t.lane_name, null::bytea
    from made m join unnest(items) t on t.number = m.id;

    return query select * from trunkline.take_known(items);

    if exists (select from unnest(items) t where t.supersede_key is not null) then
        perform trunkline.supersede(array(select distinct row(t.scope, t.supersede_key)::trunkline.fact_key from unnest(items) t
            where t.supersede_key is not null and t.lane is not null));
    end if;
    if p_boot is not null and cardinality(p_pace_lanes) > 0 then
        perform trunkline.keep_pace(p_pace_lanes, p_pace_next_ms);
    end if;
end $$;
