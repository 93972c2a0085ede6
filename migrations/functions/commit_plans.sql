-- Commits what follows from events beside facts about contacts and orders: records, cancellations, notices, refusals by policy;
-- and leaves with each event what became of it, rule by rule. p_plan: an EventPlan's document per event, null for none.
-- Yields a row per new job.
--
-- Locks: those of keep_records, cancel_planned and plan_notices; inbox (already locked), policy_decisions.
-- Needs: cancel_planned, keep_records, plan_notices.
create or replace function trunkline.commit_plans(p_source text[], p_event_key text[], p_plan text[])
returns table (job bigint, lane int) language plpgsql as $$
#variable_conflict use_column
declare
    workspaces text[] := array(
        select l.workspace from unnest(p_source) with ordinality as i (source, item)
        left join trunkline.lanes l on l.name = 'source:' || i.source order by i.item);
    plans jsonb[] := array(select p::jsonb from unnest(p_plan) with ordinality as u (p, item) order by u.item);
    ended jsonb[];
    made trunkline.planned_verdict[];
begin
    perform trunkline.keep_records(workspaces, plans);
    -- First what is not sent any more: what is planned next replaces nothing of it.
    ended := array(select to_jsonb(c) from trunkline.cancel_planned(workspaces, plans) c);
    select coalesce(array_agg(row(t.item, t.number, t.verdict, t.job, t.lane)::trunkline.planned_verdict), '{}') into made
    from trunkline.plan_notices(p_source, p_event_key, workspaces, plans) t;
    if cardinality(plans) > 1 then
        -- Also what another event of this call has just planned.
        ended := ended || array(select to_jsonb(c) from trunkline.cancel_planned(workspaces, plans) c where c.verdict = 'cancelled');
    end if;

    insert into trunkline.policy_decisions (workspace, source, event_key, ask, rule)
    select distinct on (i.source, i.event_key, a ->> 'ask') i.workspace, i.source, i.event_key, a ->> 'ask', a ->> 'rule'
    from unnest(workspaces, p_source, p_event_key, plans) as i (workspace, source, event_key, plan)
    cross join lateral jsonb_array_elements(i.plan -> 'asks') a
    order by i.source, i.event_key, a ->> 'ask', a ->> 'rule'
    on conflict on constraint policy_decisions_event do nothing;

    update trunkline.inbox b set plan = jsonb_build_object(
        'rules', i.plan -> 'rules',
        'notices', coalesce((
            select jsonb_agg(jsonb_build_object('rule', i.plan -> 'notices' -> m.number - 1 -> 'rule',
                'line', i.plan -> 'notices' -> m.number - 1 -> 'line', 'key', i.plan -> 'notices' -> m.number - 1 -> 'key',
                'verdict', m.verdict, 'job', m.job) order by m.number)
            from unnest(made) m where m.item = i.item), '[]'),
        'cancelled', coalesce((
            select jsonb_agg(jsonb_build_object('key', e -> 'key', 'verdict', e -> 'verdict') order by e ->> 'key')
            from unnest(ended) e where (e ->> 'item')::int = i.item), '[]'),
        'said', i.plan -> 'said')
    from unnest(p_source, p_event_key, plans) with ordinality as i (source, event_key, plan, item)
    where b.source = i.source and b.event_key = i.event_key and i.plan is not null;

    return query select m.job, m.lane from unnest(made) m where m.verdict = 'new';
end $$;
