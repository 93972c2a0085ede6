-- Makes jobs of the notices that were planned of events. Each is remembered before it is sent: `planned_notices` has one of a
-- key, and one first touch of a person on a line and day. Who plans it a second time, in another event or beside this one, sends
-- nothing. p_plan and p_workspace as of keep_records.
--
-- Verdicts: new; repeat (planned before, or given by somebody else); once (another first touch of the day); those of accept:
-- conflict, unknown_lane, removed_lane. item: of which event; number: which of its notices, from 1.
-- Locks: planned_notices by workspace and key; those of accept.
-- Needs: accept.
create or replace function trunkline.plan_notices(p_source text[], p_event_key text[], p_workspace text[], p_plan jsonb[])
returns table (item int, number int, verdict text, job bigint, lane int) language plpgsql as $$
#variable_conflict use_column
declare
    items trunkline.planned_item[];
    -- Which of them, from 1, in the order in which they get their numbers.
    fresh int[];
    n jsonb[];
    answers trunkline.planned_answer[];
begin
    select coalesce(array_agg(row(w.item, t.number, w.source, w.event_key, w.workspace, (w.plan ->> 'rules')::bigint,
            t.notice)::trunkline.planned_item
            order by w.item, t.number), '{}') into items
    from unnest(p_source, p_event_key, p_workspace, p_plan) with ordinality as w (source, event_key, workspace, plan, item)
    cross join lateral jsonb_array_elements(w.plan -> 'notices') with ordinality as t (notice, number);
    if cardinality(items) = 0 then
        return;
    end if;

    -- In the order of their keys: whoever plans the same beside this one is waited for.
    with firsts as (
        select distinct on (i.workspace, i.notice ->> 'key') i.* from unnest(items) with ordinality as i
        order by i.workspace, i.notice ->> 'key', i.ordinality
    ), remembered as (
        insert into trunkline.planned_notices (workspace, notice_key, source, event_key, rule, rules, moment, subject, line,
            recipient, once, supersede_key, fact_at, tracking_number)
        select f.workspace, f.notice ->> 'key', f.source, f.event_key, f.notice ->> 'rule', f.rules,
            f.notice ->> 'moment', f.notice ->> 'subject', f.notice ->> 'line', f.notice ->> 'recipient', f.notice ->> 'once',
            f.notice ->> 'supersedeKey', (f.notice ->> 'factAt')::timestamptz, f.notice ->> 'tracking'
        from firsts f order by f.workspace, f.notice ->> 'key'
        on conflict do nothing
        returning workspace, notice_key
    )
    select coalesce(array_agg(f.ordinality::int order by f.ordinality), '{}') into fresh
    from firsts f join remembered m on m.workspace = f.workspace and m.notice_key = f.notice ->> 'key';

    n := array(select items[f.i].notice from unnest(fresh) with ordinality as f (i, at) order by f.at);
    select coalesce(array_agg(row(fresh[a.item], a.verdict, a.job, a.lane)::trunkline.planned_answer), '{}') into answers
    from trunkline.accept(
        0,
        -- A line of somebody else is none.
        array(select (select l.name from trunkline.lanes l
                      where l.name = 'line:' || (items[f.i].notice ->> 'line') and l.workspace = items[f.i].workspace)
              from unnest(fresh) with ordinality as f (i, at) order by f.at),
        array(select t ->> 'key' from unnest(n) with ordinality as u (t, at) order by u.at),
        array(select decode(t ->> 'keyDigest', 'hex') from unnest(n) with ordinality as u (t, at) order by u.at),
        array(select decode(t ->> 'contentDigest', 'hex') from unnest(n) with ordinality as u (t, at) order by u.at),
        array(select (t ->> 'person')::bigint from unnest(n) with ordinality as u (t, at) order by u.at),
        array(select t ->> 'recipient' from unnest(n) with ordinality as u (t, at) order by u.at),
        array(select convert_to(t ->> 'request', 'UTF8') from unnest(n) with ordinality as u (t, at) order by u.at),
        array(select t ->> 'purpose' from unnest(n) with ordinality as u (t, at) order by u.at),
        array(select t ->> 'tags' from unnest(n) with ordinality as u (t, at) order by u.at),
        array(select (t ->> 'notBefore')::timestamptz from unnest(n) with ordinality as u (t, at) order by u.at),
        array(select (t ->> 'sendBefore')::timestamptz from unnest(n) with ordinality as u (t, at) order by u.at),
        array(select t ->> 'supersedeKey' from unnest(n) with ordinality as u (t, at) order by u.at),
        array(select (t ->> 'factAt')::timestamptz from unnest(n) with ordinality as u (t, at) order by u.at)
    ) a;

    update trunkline.planned_notices p set job = a.job
    from unnest(answers) a
    where p.workspace = items[a.item].workspace and p.notice_key = items[a.item].notice ->> 'key' and a.verdict in ('new', 'repeat');
    -- What nobody sends may be planned again when that was mended.
    delete from trunkline.planned_notices p using unnest(answers) a
    where p.workspace = items[a.item].workspace and p.notice_key = items[a.item].notice ->> 'key'
      and a.verdict not in ('new', 'repeat');

    return query
    select i.item, i.number, coalesce(a.verdict, case when p.notice_key is null then 'once' else 'repeat' end),
        coalesce(a.job, p.job), a.lane
    from unnest(items) with ordinality as i
    left join unnest(answers) a on a.item = i.ordinality
    left join trunkline.planned_notices p on p.workspace = i.workspace and p.notice_key = i.notice ->> 'key';
end $$;
