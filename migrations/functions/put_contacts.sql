-- Stores what is said about contacts: p_facts is an object per element, by field (ContactFacts.fields). The newest fact wins, field by
-- field, by p_fact_at; who does not say when says now. Several elements about one contact count in their order.
--
-- Verdicts: those of merge_facts.
-- Locks: contacts by workspace and phone.
-- Needs: merge_facts.
create or replace function trunkline.put_contacts(p_workspace text[], p_phone text[], p_facts text[], p_fact_at timestamptz[])
returns table (item int, verdict text, older text[]) language plpgsql as $$
#variable_conflict use_column
declare
    -- Which element about its contact each is.
    turns int[] := array(
        select row_number() over (partition by i.workspace, i.phone order by i.item)
        from unnest(p_workspace, p_phone) with ordinality as i (workspace, phone, item) order by i.item
    );
begin
    insert into trunkline.contacts (workspace, phone)
    select distinct i.workspace, i.phone from unnest(p_workspace, p_phone) as i (workspace, phone) order by 1, 2
    on conflict on constraint contacts_key do nothing;
    perform from trunkline.contacts r
    where (r.workspace, r.phone) in (select i.workspace, i.phone from unnest(p_workspace, p_phone) as i (workspace, phone))
    order by r.workspace, r.phone for no key update of r;

    for this_turn in 1 .. (select coalesce(max(t), 0) from unnest(turns) t) loop
        return query
        with given as (
            select i.item::int, i.workspace, i.phone, i.facts::jsonb as facts,
                (extract(epoch from coalesce(i.fact_at, clock_timestamp())) * 1000000)::bigint as at
            from unnest(p_workspace, p_phone, p_facts, p_fact_at, turns) with ordinality
                as i (workspace, phone, facts, fact_at, turn, item)
            where i.turn = this_turn
        ), merged as (
            select g.item, g.workspace, g.phone, m.*
            from given g
            join trunkline.contacts r on r.workspace = g.workspace and r.phone = g.phone
            cross join lateral trunkline.merge_facts(r.facts, r.times, g.facts, g.at) m
        ), written as (
            update trunkline.contacts r
            set facts = m.facts, times = m.times,
                updated_at = case when m.verdict = 'stored' then clock_timestamp() else r.updated_at end
            from merged m
            where r.workspace = m.workspace and r.phone = m.phone and (r.facts <> m.facts or r.times <> m.times)
        )
        select m.item, m.verdict, m.older from merged m;
    end loop;
end $$;
