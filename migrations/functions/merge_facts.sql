-- What was said about a record, on top of what is known: each field keeps the newest fact by the sender's clock. Of two facts
-- of the same moment the one that came later is kept: senders that write whole seconds say the newer thing last.
--
-- Verdicts: stored (something changed); older (nothing changed, and a newer fact stands against something that was said);
-- same (all of it was known). older names the fields that a newer fact keeps.
-- Locks: none.
-- Needs: nothing.
create or replace function trunkline.merge_facts(p_facts jsonb, p_times jsonb, p_given jsonb, p_at bigint) returns trunkline.merged_facts
language plpgsql immutable parallel safe as $$
begin
    return (select row(
        p_facts || coalesce(jsonb_object_agg(f.field, f.value) filter (where f.wins), '{}'),
        p_times || coalesce(jsonb_object_agg(f.field, p_at) filter (where f.wins), '{}'),
        case when bool_or(f.wins and f.differs) then 'stored'
             when bool_or(not f.wins and f.differs) then 'older'
             else 'same' end,
        coalesce(array_agg(f.field order by f.field) filter (where not f.wins and f.differs), '{}')
    )::trunkline.merged_facts
    from (
        select g.key as field, g.value, p_at >= coalesce((p_times ->> g.key)::bigint, p_at) as wins,
            p_facts -> g.key is distinct from g.value as differs
        from jsonb_each(p_given) g
    ) f);
end $$;
