-- Does what cancel_look said of jobs that the caller has locked.
--
-- Locks: jobs (already locked), ledger, finished.
-- Needs: finish.
create or replace function trunkline.cancel_looked(p_looked trunkline.cancel_look[]) returns void language plpgsql as $$
begin
    perform trunkline.finish(array(select k.job from unnest(p_looked) k where k.verdict = 'cancelled' order by 1),
        'cancelled', 'cancelled');
    update trunkline.jobs j set cancel_wanted = true
    from unnest(p_looked) k
    where j.id = k.job and j.id = any (array(select l.job from unnest(p_looked) l)) and k.verdict = 'in_the_air'
      and not j.cancel_wanted;
end $$;
