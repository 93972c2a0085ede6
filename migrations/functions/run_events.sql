-- Runs received events: what they say goes into contacts and orders, what was planned of them is done, the event is marked, and
-- its job ends as sent, in one commit. p_contact_item and p_order_item say of which element of p_jobs each record is; p_plan:
-- what commit_plans reads of each event, null for none.
--
-- What a run does, it does once for a job: whoever comes second, after a lost reply or beside an attempt that was given up
-- for lost, waits for the event's row and finds it done. A job that has ended otherwise does nothing any more.
--
-- Verdicts: those of settle for sent; and `new` for each job that was made, with its lane. None: somebody else has the job's row locked; what the event says is stored, and the
-- outcome is to be given again, to settle.
-- Locks: inbox by source and event; contacts, orders; those of commit_plans; those of settle.
-- Needs: commit_plans, put_contacts, put_orders, settle.
create or replace function trunkline.run_events(
    p_boot uuid, p_jobs bigint[], p_attempts int[], p_source text[], p_event_key text[], p_outcome text[], p_reason text[],
    p_contact_item int[], p_contact_workspace text[], p_contact_phone text[], p_contact_facts text[], p_contact_at timestamptz[],
    p_order_item int[], p_order_workspace text[], p_order_id text[], p_order_facts text[], p_order_at timestamptz[],
    p_plan text[]
) returns table (job bigint, verdict text, attempt int, lane int) language plpgsql as $$
#variable_conflict use_column
declare
    todo int[];
begin
    perform from trunkline.inbox b
    where (b.source, b.event_key) in (select i.source, i.event_key from unnest(p_source, p_event_key) as i (source, event_key))
    order by b.source, b.event_key for no key update of b;

    -- A later snapshot: it sees what the one that was waited for has done.
    select coalesce(array_agg(i.item::int order by i.item), '{}') into todo
    from unnest(p_jobs, p_source, p_event_key) with ordinality as i (job, source, event_key, item)
    join trunkline.inbox b on b.source = i.source and b.event_key = i.event_key
    where coalesce(b.ran_job < i.job, true)
      and exists (select from trunkline.jobs j where j.id = i.job and j.id = any (p_jobs));

    perform from trunkline.put_contacts(
        array(select p_contact_workspace[g.i] from generate_subscripts(p_contact_item, 1) as g (i) where p_contact_item[g.i] = any (todo) order by g.i),
        array(select p_contact_phone[g.i] from generate_subscripts(p_contact_item, 1) as g (i) where p_contact_item[g.i] = any (todo) order by g.i),
        array(select p_contact_facts[g.i] from generate_subscripts(p_contact_item, 1) as g (i) where p_contact_item[g.i] = any (todo) order by g.i),
        array(select p_contact_at[g.i] from generate_subscripts(p_contact_item, 1) as g (i) where p_contact_item[g.i] = any (todo) order by g.i)
    );
    perform from trunkline.put_orders(
        array(select p_order_workspace[g.i] from generate_subscripts(p_order_item, 1) as g (i) where p_order_item[g.i] = any (todo) order by g.i),
        array(select p_order_id[g.i] from generate_subscripts(p_order_item, 1) as g (i) where p_order_item[g.i] = any (todo) order by g.i),
        array(select p_order_facts[g.i] from generate_subscripts(p_order_item, 1) as g (i) where p_order_item[g.i] = any (todo) order by g.i),
        array(select p_order_at[g.i] from generate_subscripts(p_order_item, 1) as g (i) where p_order_item[g.i] = any (todo) order by g.i)
    );

    return query
    select c.job, 'new'::text, 0, c.lane from trunkline.commit_plans(
        array(select p_source[t] from unnest(todo) t order by t), array(select p_event_key[t] from unnest(todo) t order by t),
        array(select p_plan[t] from unnest(todo) t order by t)) c;

    update trunkline.inbox b set ran_job = i.job, ran_at = now(), outcome = i.outcome, reason = i.reason
    from unnest(p_jobs, p_source, p_event_key, p_outcome, p_reason) with ordinality
        as i (job, source, event_key, outcome, reason, item)
    where b.source = i.source and b.event_key = i.event_key and i.item = any (todo);

    return query
    select s.job, s.verdict, s.attempt, null::int from trunkline.settle(
        p_boot, p_jobs, p_attempts, array_fill('sent'::text, array[cardinality(p_jobs)]),
        array_fill(null::text, array[cardinality(p_jobs)]), array_fill(0, array[cardinality(p_jobs)]),
        array_fill(false, array[cardinality(p_jobs)]), array_fill(null::text, array[cardinality(p_jobs)]),
        array_fill(null::int, array[cardinality(p_jobs)]),
        array(select i.outcome || coalesce(': ' || i.reason, '')
              from unnest(p_outcome, p_reason) with ordinality as i (outcome, reason, item) order by i.item)) s;
end $$;
