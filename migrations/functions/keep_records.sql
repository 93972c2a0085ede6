-- Keeps what events say of their records (an order, an appointment), for the plans of later events: the newer on top of the
-- older, whichever came first. ends: from then on nothing about the order is news but its end. p_plan: an EventPlan's document
-- per event, null for none; p_workspace: of its source.
--
-- Locks: records by workspace and subject.
-- Needs: nothing.
create or replace function trunkline.keep_records(p_workspace text[], p_plan jsonb[]) returns void language plpgsql as $$
declare
    r record;
begin
    -- One by one: an event may say several things of one record.
    for r in
        select w.workspace, f.fact ->> 'subject' as subject, (f.fact ->> 'at')::timestamptz as at, f.fact -> 'facts' as facts,
            (f.fact -> 'ends')::boolean as ends
        from unnest(p_workspace, p_plan) with ordinality as w (workspace, plan, item)
        cross join lateral jsonb_array_elements(w.plan -> 'records') with ordinality as f (fact, number)
        order by 1, 2, w.item, f.number
    loop
        insert into trunkline.records as k (workspace, subject, facts, fact_at, ended_at)
        values (r.workspace, r.subject, r.facts, r.at, case when r.ends then r.at end)
        on conflict on constraint records_key do update
        set facts = case when excluded.fact_at >= k.fact_at then k.facts || excluded.facts else excluded.facts || k.facts end,
            fact_at = greatest(k.fact_at, excluded.fact_at), ended_at = greatest(k.ended_at, excluded.ended_at);
    end loop;
end $$;
