-- Attempts that are about to make their first call that may take effect: no longer quiet, with their lease begun anew, so that
-- what came before has cost nothing of it. Only those that are returned may make the call. Not returned: one that is over or
-- was taken over, one whose cancel came in time, and one whose row somebody else has locked. Asked again it says the same.
--
-- Locks: jobs by id, those that are free.
-- Needs: nothing.
create or replace function trunkline.begin_effect(p_boot uuid, p_jobs bigint[], p_attempts int[], p_lease_ms int)
returns table (job bigint, attempt int) language plpgsql as $$
begin
    return query
    with mine as (
        select j.id from trunkline.jobs j
        join unnest(p_jobs, p_attempts) as w (id, attempt) on w.id = j.id and w.attempt = j.attempt
        where j.id = any (p_jobs) and j.state = 'sending' and j.claimed_by = p_boot
          and (not j.cancel_wanted or j.maybe_sent_since is not null)
        order by j.id
        for no key update of j skip locked
    )
    update trunkline.jobs j set quiet = false, lease_until = now() + make_interval(secs => p_lease_ms / 1000.0)
    from mine m where j.id = m.id and j.id = any (p_jobs)
    returning j.id, j.attempt;
end $$;
