-- Stores what is said about orders: p_facts is an object per element, by field (OrderFacts.fields). The newest fact wins, field by
-- field, by p_fact_at; who does not say when says now. Several elements about one order count in their order.
--
-- Verdicts: those of merge_facts.
-- Locks: orders by workspace and id.
-- Needs: merge_facts.
create or replace function trunkline.put_orders(p_workspace text[], p_id text[], p_facts text[], p_fact_at timestamptz[])
returns table (item int, verdict text, older text[]) language plpgsql as $$
#variable_conflict use_column
declare
    -- Which element about its order each is.
    turns int[] := array(
        select row_number() over (partition by i.workspace, i.id order by i.item)
        from unnest(p_workspace, p_id) with ordinality as i (workspace, id, item) order by i.item
    );
begin
    insert into trunkline.orders (workspace, id)
    select distinct i.workspace, i.id from unnest(p_workspace, p_id) as i (workspace, id) order by 1, 2
    on conflict on constraint orders_key do nothing;
    perform from trunkline.orders r
    where (r.workspace, r.id) in (select i.workspace, i.id from unnest(p_workspace, p_id) as i (workspace, id))
    order by r.workspace, r.id for no key update of r;

    for this_turn in 1 .. (select coalesce(max(t), 0) from unnest(turns) t) loop
        return query
        with given as (
            select i.item::int, i.workspace, i.id, i.facts::jsonb as facts,
                (extract(epoch from coalesce(i.fact_at, clock_timestamp())) * 1000000)::bigint as at
            from unnest(p_workspace, p_id, p_facts, p_fact_at, turns) with ordinality
                as i (workspace, id, facts, fact_at, turn, item)
            where i.turn = this_turn
        ), merged as (
            select g.item, g.workspace, g.id, m.*
            from given g
            join trunkline.orders r on r.workspace = g.workspace and r.id = g.id
            cross join lateral trunkline.merge_facts(r.facts, r.times, g.facts, g.at) m
        ), written as (
            update trunkline.orders r
            set facts = m.facts, times = m.times,
                updated_at = case when m.verdict = 'stored' then clock_timestamp() else r.updated_at end
            from merged m
            where r.workspace = m.workspace and r.id = m.id and (r.facts <> m.facts or r.times <> m.times)
        )
        select m.item, m.verdict, m.older from merged m;
    end loop;
end $$;
