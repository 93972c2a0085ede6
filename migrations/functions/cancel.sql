-- Cancels a chunk of the jobs of one scope (null: of all) whose keys are LIKE the pattern: at most p_limit, with numbers
-- above p_after, in the order of their numbers. The caller goes on after the last one, each chunk in a transaction of its
-- own, until nothing comes back; after a deadlock or a lock time-out it gives the chunk again.
--
-- Verdicts: those of cancel_look.
-- Locks: jobs by id; ledger, finished.
-- Needs: cancel_look, cancel_looked.
create or replace function trunkline.cancel(p_pattern text, p_scope int, p_after bigint, p_limit int, p_dry_run boolean default false)
returns setof trunkline.cancel_look language plpgsql
-- Only a plan for this very pattern can use the index on keys.
set plan_cache_mode = force_custom_plan
set lock_timeout = '2s'
as $$
declare
    looked trunkline.cancel_look[];
begin
    if p_dry_run then
        return query
        select (trunkline.cancel_look(j)).* from trunkline.jobs j
        where j.key like p_pattern and (p_scope is null or j.scope = p_scope) and j.id > p_after
        order by j.id limit p_limit;
        return;
    end if;
    select coalesce(array_agg(trunkline.cancel_look(j::trunkline.jobs) order by j.id), '{}') into looked
    from (select * from trunkline.jobs
          where key like p_pattern and (p_scope is null or scope = p_scope) and id > p_after
          order by id limit p_limit
          for no key update) j;
    perform trunkline.cancel_looked(looked);
    return query select * from unnest(looked);
end $$;
