-- Moves jobs that ended without an attempt that sent them, by the rows that the caller has locked.
--
-- Locks: those of end_jobs.
-- Needs: end_jobs.
create or replace function trunkline.finish(p_jobs bigint[], p_state text, p_reason text) returns void language plpgsql as $$
begin
    if cardinality(p_jobs) > 0 then
        perform trunkline.end_jobs(array(
            select row(u.id, p_state, p_reason, null, null, null)::trunkline.job_end from unnest(p_jobs) u (id)));
    end if;
end $$;
