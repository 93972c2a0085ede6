-- Ends what an already accepted newer fact replaces: never begun, or come back surely unsent. Only a courtesy, so that a
-- replaced notice does not stand in line: claim decides. Rows that somebody works on are left to it.
--
-- Locks: jobs by id, those that are free; ledger, finished.
-- Needs: finish.
create or replace function trunkline.supersede(p_facts trunkline.fact_key[]) returns void language plpgsql as $$
declare
    old bigint[];
begin
    select array_agg(o.id) into old from (
        select j.id from unnest(p_facts) k
        join trunkline.facts f on f.scope = k.scope and f.supersede_key = k.supersede_key
        join trunkline.jobs j on j.scope = k.scope and j.supersede_key = k.supersede_key
        where j.fact_at < f.fact_at and j.state in ('accepted', 'waiting') and j.maybe_sent_since is null
        order by j.id for update of j skip locked
    ) o;
    if old is not null then
        perform trunkline.finish(old, 'superseded', 'newer_fact');
    end if;
end $$;
