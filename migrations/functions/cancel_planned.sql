-- Cancels notices that were planned earlier, because of what later events say: those about the record, of a fact that is not newer,
-- that have one of the keys or a key that is LIKE one of the patterns, and are not to be kept; none that the same event plans. As
-- cancel does. p_plan and p_workspace as of keep_records.
--
-- Verdicts: those of cancel_look; item: of which event.
-- Locks: jobs by id; ledger, finished.
-- Needs: cancel_look, cancel_looked.
create or replace function trunkline.cancel_planned(p_workspace text[], p_plan jsonb[])
returns table (item int, key text, verdict text) language plpgsql
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    wanted trunkline.planned_end[];
    looked trunkline.cancel_look[];
begin
    select coalesce(array_agg(row(w.item, p.job)::trunkline.planned_end), '{}') into wanted
    from unnest(p_workspace, p_plan) with ordinality as w (workspace, plan, item)
    cross join lateral jsonb_array_elements(w.plan -> 'cancellations') c
    join trunkline.planned_notices p on p.workspace = w.workspace and p.subject = c ->> 'subject'
    where p.job is not null and p.fact_at <= (c ->> 'factAt')::timestamptz and not c -> 'keeping' ? p.notice_key
      and (c -> 'keys' ? p.notice_key
           or exists (select from jsonb_array_elements_text(c -> 'patterns') t where p.notice_key like t))
      and not exists (select from jsonb_array_elements(w.plan -> 'notices') n where n ->> 'key' = p.notice_key);

    select coalesce(array_agg(trunkline.cancel_look(j::trunkline.jobs) order by j.id), '{}') into looked
    from (select * from trunkline.jobs where id = any (array(select e.job from unnest(wanted) e)) order by id for no key update) j;
    perform trunkline.cancel_looked(looked);
    return query
    select distinct on (k.job) e.item, k.key, k.verdict from unnest(looked) k join unnest(wanted) e on e.job = k.job
    order by k.job, e.item;
end $$;
