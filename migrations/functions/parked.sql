-- Ends parked jobs by a person's word, or puts them back, and writes down who said so and why. p_action: sent (it was: it
-- ends so), not_sent (it was not: it stays parked, in doubt no more), discard, replay (its tries begin anew and it takes a
-- new place, behind what waits). A worker that says after all that it was sent is believed.
--
-- Verdicts: those of parked_verdict, and gone, for a job that is not unfinished.
-- Locks: jobs by id; ledger, finished, actions.
-- Needs: finish, parked_verdict.
create or replace function trunkline.parked(p_action text, p_jobs bigint[], p_run uuid, p_by text, p_why text)
returns table (job bigint, verdict text, state text) language plpgsql
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    looked trunkline.cancel_look[];
    done bigint[];
    cancelled bigint[];
begin
    if p_action not in ('sent', 'not_sent', 'discard', 'replay') then
        raise exception 'nothing is called % here', p_action using errcode = '22023';
    end if;
    select coalesce(array_agg(row(j.id, j.key, j.lane, trunkline.parked_verdict(j::trunkline.jobs, p_action), j.state, j.attempt)
        ::trunkline.cancel_look order by j.id), '{}') into looked
    from (select * from trunkline.jobs where id = any (p_jobs) order by id for no key update) j;
    done := array(select k.job from unnest(looked) k where k.verdict = 'done' order by 1);
    cancelled := array(select k.job from unnest(looked) k where k.verdict = 'cancelled' order by 1);

    -- Before: what this very run has done already is told from the row that says so.
    return query
    select w.id, coalesce(case when a.id is not null then 'done' end, k.verdict, 'gone'), coalesce(k.state, l.final_state)
    from unnest(p_jobs) w (id)
    left join unnest(looked) k on k.job = w.id
    left join trunkline.actions a on a.job = w.id and a.run = p_run
    left join lateral (
        select f.state as final_state from trunkline.finished f where k.job is null and f.id = w.id limit 1
    ) l on true;

    case p_action
        when 'sent' then perform trunkline.finish(done, 'sent', 'said_sent');
        when 'discard' then perform trunkline.finish(done, 'discarded', 'discarded');
        when 'not_sent' then
            update trunkline.jobs set maybe_sent_since = null, reason = 'said_not_sent' where id = any (done);
        else
            perform trunkline.finish(cancelled, 'cancelled', 'cancelled');
            update trunkline.jobs j
            set state = 'accepted', parked_at = null, reason = null, place = 0, arrival = n.arrival, tries = 0, crashes = 0,
                due_at = greatest(now(), j.not_before)
            from (
                -- What stood in one order goes again in the same.
                select o.id, nextval('trunkline.job_number') as arrival
                from (select p.id from trunkline.jobs p where p.id = any (done) order by greatest(p.place, 0), p.id) o
            ) n where j.id = n.id and j.id = any (done);
    end case;
    insert into trunkline.actions (run, job, action, done_by, why)
    select p_run, u.id, p_action, p_by, p_why from unnest(done || cancelled) u (id);
end $$;
